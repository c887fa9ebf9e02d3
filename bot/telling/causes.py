"""Turns that stopped for one cause, such as a provider's usage limit, ask with one card and one sound.

The card is about one of the tasks, names the others, and has buttons for all of them. When its task goes on alone,
the others get a card.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

from bot.telling import asks
from fleet.agent_events import TurnOutcome
from fleet.store import approvals, sessions, tasks
from fleet.store.approvals import Approval
from fleet.store.chat import cards as card_rows
from fleet.store.core import Tx
from fleet.store.states import ApprovalKind

SHARED: Final = frozenset({TurnOutcome.LIMITED, TurnOutcome.NOT_LOGGED_IN, TurnOutcome.OVERLOADED})
"""Outcomes whose cause is not in the task: the next task of the same agent meets it too."""


def together(tx: Tx, stall: Approval) -> list[Approval]:
    """The stalled turns that wait for the same, itself included, oldest first: of one agent, outcome, person and
    chat."""
    wanted = _cause(tx, stall)
    if wanted is None:
        return [stall]
    waiting = [asked for asked in approvals.waiting(tx) if asked.kind is ApprovalKind.STALL]
    return [asked for asked in waiting if asked.id == stall.id or _cause(tx, asked) == wanted] or [stall]


def shared(tx: Tx, stall: Approval) -> bool:
    """Whether its cause is not in its task."""
    return _cause(tx, stall) is not None


def head(tx: Tx, group: Sequence[Approval]) -> Approval:
    """The one whose card asks for all: the first that has a card, else the oldest."""
    return next((asked for asked in group if card_rows.by_key(tx, asks.key(asked))), group[0])


def others(tx: Tx, stall: Approval) -> tuple[str, ...]:
    """The other tasks that this one's card asks for: ``t5 shop``."""
    every = [tasks.task(tx, asked.task) for asked in together(tx, stall) if asked.id != stall.id]
    return tuple(f"{task.id} {task.repo}" for task in every)


def _cause(tx: Tx, stall: Approval) -> tuple[object, ...] | None:
    outcome = sessions.turns(tx, stall.session)[-1].outcome
    if outcome not in SHARED:
        return None
    task = tasks.task(tx, stall.task)
    return task.agent, outcome, task.state, task.requester, task.origin.adapter, task.origin.chat
