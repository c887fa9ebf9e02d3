"""A night of twenty tasks, played on a store: three stay red, one is held, four meet a provider's usage limit."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass
from functools import partial
from typing import Final

from bot.outbox.posting import Outbox
from bot.registry import Context
from bot.requesting import request_task
from fleet.agent_events import TurnOutcome
from fleet.events import (
    Event,
    GateClosed,
    GateOpened,
    LandingDone,
    ReceiptIssued,
    Refs,
    SessionPlaced,
    Source,
    TurnStarted,
    VerdictGiven,
)
from fleet.exits import Exited
from fleet.flight.moves import settle_stall
from fleet.model import ChatRef, Isolation, PersonId, Session, TaskMode, TaskState, TurnCause
from fleet.store import approvals, ledger, sessions, stalls, tasks
from fleet.store.core import Store, Tx

TASKS: Final = 20
RED, HELD, LIMITED = ("t3", "t7", "t11"), "t13", ("t1", "t2", "t4", "t5")
NAMES: Final = tuple(f"t{number}" for number in range(1, TASKS + 1))
GREEN: Final = tuple(name for name in NAMES if name not in (*RED, HELD))
COMMIT, TREE, BASE = "c" * 40, "d" * 40, "b" * 40
LIMIT: Final = "You've hit your session limit · resets 3am (UTC)"


@dataclass
class Night:
    """The dispatcher's part of it. ``settled``: waits until every card has arrived."""

    store: Store
    context: Context
    outbox: Outbox
    person: PersonId
    chat: ChatRef
    settled: Callable[[], Awaitable[None]]

    async def play(self) -> None:
        """All of it, each stage of all tasks in one transaction: a notifier that was away sees the same."""
        flights = await self.store.write(self.begin)
        await self.settled()
        for stage in (self._limited, self._judged, self._sent_back, self._judged_again, self._landed):
            await self.store.write(partial(_each, stage, flights))
            await self.settled()

    def begin(self, tx: Tx) -> dict[str, Session]:
        """All tasks are asked for, and their agents are at work."""
        posts = self.outbox.open(tx)
        asked = [
            request_task(
                self.context, posts, repo="shop", agent="demo", machine="", prompt=f"job number {number}",
                mode=TaskMode.CHANGE, requester=str(self.person), origin=self.chat,
            )
            for number in range(TASKS)
        ]  # fmt: skip
        return {task.id: _placed(tx, task.id) for task in asked}

    def _limited(self, tx: Tx, task: str, session: Session) -> None:
        if task in LIMITED:
            self.meets_limit(tx, task, session)

    def meets_limit(self, tx: Tx, task: str, session: Session) -> None:
        """The task's turn stops at the provider's limit."""
        turn = sessions.turns(tx, session.id)[-1]
        sessions.update_turn(tx, turn.id, ended_us=tx.now_us(), outcome=TurnOutcome.LIMITED, error=LIMIT)
        approvals.open_stall(tx, session=session, commit=COMMIT, tree=TREE, reason=LIMIT)
        tasks.move(tx, task, TaskState.PARKED, LIMIT, "airboss")

    def _judged(self, tx: Tx, task: str, session: Session) -> None:
        if task in LIMITED:
            stalls.withdraw(tx, task, by="airboss", why="the limit was reset")
            settle_stall(tx, task)
            tasks.move(tx, task, TaskState.RUNNING, "", "airboss")
            sessions.create_turn(tx, session, TurnCause.RETRY, "go on")
            _note(tx, task, TurnStarted(2, "retry", "go on"))
        tasks.move(tx, task, TaskState.JUDGING, "", "airboss")
        _gate(tx, task, passed=task not in RED)
        if task == HELD:
            approvals.open_hold(tx, session=session, commit=COMMIT, tree=TREE, reason="touches tests/**")
            tasks.move(tx, task, TaskState.HELD, "touches tests/**", "airboss")

    def _sent_back(self, tx: Tx, task: str, session: Session) -> None:
        if task in RED:
            tasks.move(tx, task, TaskState.RUNNING, "", "airboss")
            _note(tx, task, TurnStarted(2, "rework", "The gate did not accept your change."))

    def _judged_again(self, tx: Tx, task: str, session: Session) -> None:
        if task in RED:
            tasks.move(tx, task, TaskState.JUDGING, "", "airboss")
            _gate(tx, task, passed=False)
            tasks.move(tx, task, TaskState.FAILED, "tests: exit status 1", "airboss")

    def _landed(self, tx: Tx, task: str, session: Session) -> None:
        if task in GREEN:
            tasks.move(tx, task, TaskState.LANDING, "", "airboss")
            _note(tx, task, LandingDone("refs/heads/main", BASE, COMMIT, TREE, 1))
            tasks.move(tx, task, TaskState.LANDED, "", "airboss")
            _note(tx, task, ReceiptIssued(COMMIT, "e" * 64, f"/receipts/{task}.json"))


def _each(stage: Callable[[Tx, str, Session], None], flights: Mapping[str, Session], tx: Tx) -> None:
    for task, session in flights.items():
        stage(tx, task, session)


def _placed(tx: Tx, task: str) -> Session:
    session = sessions.create_session(
        tx, task=task, machine="macbook", agent="demo", base=BASE, isolation=Isolation.UNSAFE_SAME_USER
    )
    _note(tx, task, SessionPlaced("macbook", "demo", BASE, "unsafe-same-user", ()))
    for state in (TaskState.PREPARING, TaskState.RUNNING):
        tasks.move(tx, task, state, "", "airboss")
    sessions.create_turn(tx, session, TurnCause.REQUEST, "job")
    _note(tx, task, TurnStarted(1, "request", "job"))
    return session


def _gate(tx: Tx, task: str, *, passed: bool) -> None:
    outcome, code = ("passed", 0) if passed else ("failed", 1)
    opened = GateOpened("tests", COMMIT, TREE, BASE, ("make", "test"), "", 1)
    closed = GateClosed("tests", outcome, "", Exited(code), code << 8, TREE, "gate", True, "", 9, 1, 2, None)
    tail = "" if passed else "E   assert 1 == 2"
    reasons = () if passed else ("tests: exit status 1",)
    run = f"{task}.1.1-tests"
    verdict = VerdictGiven(COMMIT, TREE, BASE, outcome, reasons, (run,), "unsafe-same-user", 1, tail)
    _note(tx, task, opened, closed, verdict)


def _note(tx: Tx, task: str, *events: Event) -> None:
    refs = Refs(task=task, session=f"{task}.1", gate_run=f"{task}.1.1-tests", machine="evo-x2")
    for event in events:
        ledger.append(tx, event, actor="airboss", source=Source.CONTROLLER, refs=refs)
