"""Attempts to move a base branch: recorded before the ref is touched, so that a crash in between can be settled."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum

from sqlalchemy import bindparam, insert, select, update

from fleet.store import leases
from fleet.store.core import Tx
from fleet.store.leases import Fence
from fleet.store.records import reader
from fleet.store.statements import Statement
from fleet.store.tables import landings

_BY_ID = Statement(select(landings).where(landings.c.id == bindparam("row")))
_ADD = Statement(insert(landings).returning(*landings.c))
_FINISH = Statement(update(landings).where(landings.c.id == bindparam("row")))
_OF_TASK = Statement(select(landings).where(landings.c.task == bindparam("of")).order_by(landings.c.id))


class IntentOutcome(StrEnum):
    """The result of an attempt. ``OPEN``: not recorded yet; the ref itself tells."""

    OPEN = ""
    DONE = "done"
    MISSED = "missed"


@dataclass(frozen=True, slots=True)
class Intent:
    """One attempt: ``ref`` from commit ``old`` to ``new``."""

    id: int
    task: str
    repo: str
    ref: str
    old: str
    new: str
    tree: str
    token: int
    outcome: IntentOutcome
    intended_us: int


_intent = reader(Intent, outcome=lambda row: IntentOutcome(row.outcome))


def intend(tx: Tx, fence: Fence, *, repo: str, ref: str, old: str, new: str, tree: str, task: str) -> Intent:
    """Records an attempt under a lease. Raises ``LeaseLost`` when the lease passed to another holder."""
    leases.check(tx, fence)
    row = {
        "task": task,
        "repo": repo,
        "ref": ref,
        "old": old,
        "new": new,
        "tree": tree,
        "fence": fence.name,
        "token": fence.token,
        "outcome": "",
        "intended_us": tx.now_us(),
        "finished_us": 0,
    }
    return _intent(_ADD.one(tx.connection, row))


def finish(tx: Tx, intent_id: int, outcome: IntentOutcome) -> None:
    """Records an attempt's result. Repeating it is fine; a different outcome raises ``ValueError``."""
    row = _BY_ID.one(tx.connection, {"row": intent_id})
    if row.outcome == outcome:
        return
    if row.outcome:
        raise ValueError(f"landing {intent_id} was {row.outcome} and cannot become {outcome}")
    _FINISH.run(tx.connection, {"row": intent_id, "outcome": str(outcome), "finished_us": tx.now_us()})


def may_have_landed(tx: Tx, task: str) -> bool:
    """Whether a task's change may be on the base branch: an attempt is open or succeeded."""
    return any(intent.outcome is not IntentOutcome.MISSED for intent in of_task(tx, task))


def of_task(tx: Tx, task: str) -> list[Intent]:
    """A task's attempts, oldest first."""
    return [_intent(row) for row in _OF_TASK.all(tx.connection, {"of": task})]
