"""The tasks that wait for the end of an account's usage limit.

An account is an agent of ``fleet.toml`` on a machine, written ``claude@macbook``.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import tzinfo
from typing import Final

from bot import words
from bot.cards import Action, Card, Line, Tone, capped, footed, line, one_line
from fleet.agents.resets import clock_of, limit_ends_us
from fleet.model import ChatRef, Isolation, Session, Task, TaskState, Turn
from fleet.store import sessions, stalls, tasks
from fleet.store.approvals import Answer, Approval
from fleet.store.core import Tx

_SHOWN: Final = 6


@dataclass(frozen=True, slots=True)
class Account:
    """An agent on a machine."""

    agent: str
    machine: str

    def __str__(self) -> str:
        return f"{self.agent}@{self.machine}"


@dataclass(frozen=True, slots=True)
class ParkedTask:
    """A task that waits for a limit's end. ``asked``: the open question about it; ``decided``: its answer."""

    task: Task
    session: Session
    turn: Turn
    asked: Approval | None
    decided: Answer | None

    @property
    def account(self) -> Account:
        """Whose limit it is."""
        return Account(self.session.agent, self.session.machine)

    @property
    def until_us(self) -> int:
        """When the limit ends."""
        return limit_ends_us(self.turn)


def parked(tx: Tx) -> list[ParkedTask]:
    """Every parked task, oldest first."""
    found = []
    for task in tasks.open_tasks(tx):
        if task.state is TaskState.PARKED:
            session = sessions.of_task(tx, task.id)[-1]
            turn = sessions.turns(tx, session.id)[-1]
            asked, decided = stalls.waiting(tx, task.id), stalls.decision(tx, task.id)
            found.append(ParkedTask(task, session, turn, asked, decided))
    return found


def of_account(tx: Tx, account: Account, chat: ChatRef | None = None) -> list[ParkedTask]:
    """Those of an account; only a chat's, if it is given."""
    return [
        each
        for each in parked(tx)
        if each.account == account
        and (chat is None or (each.task.origin.adapter, each.task.origin.chat) == (chat.adapter, chat.chat))
    ]


def account_card(account: Account, found: list[ParkedTask], isolation: Isolation, zone: tzinfo) -> Card:
    """The account's limit, its tasks, and what a person can do about all of them at once."""
    if not found:
        return Card(line(f"{account.agent} on {account.machine} · no task is parked any more"), tone=Tone.GOOD)
    until = clock_of(max(each.until_us for each in found), zone)
    first = found[0].turn.error
    rows: list[Line] = [line("“", one_line(first, 160), "”")] if first else []
    rows += capped((_row(each) for each in found), "and {n} more tasks", _SHOWN)
    name = str(account)
    open_ = [each for each in found if each.asked is not None]
    ask = (
        *(
            Action(label, f"/go {open_[0].task.id} all {when}")
            for label, when in ((f"Resume {until}", "later"), ("Resume in my hours", "hours"))
            if open_
        ),
        Action("Other agent", f"/parked agent {name}", once=False),
    )
    count = words.count(len(found), "task")
    return Card(
        line(f"{account.agent} on {account.machine} · usage limit until {until} · {count} parked"),
        tuple(rows),
        actions=(*ask, Action("Drop", f"/parked drop {name}")),
        footer=footed(isolation, "/go TASK resumes one now"),
        tone=Tone.WAITING,
    )


def _row(each: ParkedTask) -> Line:
    then = f" · resumes {each.decided.reason}" if each.decided is not None else ""
    return line(f"{each.task.id} {each.task.repo} · ", one_line(each.task.prompt, 40), then)
