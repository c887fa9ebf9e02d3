"""Attempts to move a base branch: recorded before the ref is touched, so that a crash in between can be settled."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum
from typing import Any

from sqlalchemy import Row, bindparam, insert, select, update

from fleet.store import leases
from fleet.store.core import Tx
from fleet.store.leases import Fence
from fleet.store.tables import landings

_BY_ID = select(landings).where(landings.c.id == bindparam("row"))


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
    number = tx.connection.execute(insert(landings).returning(landings.c.id), row).scalar_one()
    return _intent(tx.connection.execute(_BY_ID, {"row": number}).one())


def finish(tx: Tx, intent_id: int, outcome: IntentOutcome) -> None:
    """Records an attempt's result. Repeating it is fine; a different outcome raises ``ValueError``."""
    row = tx.connection.execute(_BY_ID, {"row": intent_id}).one()
    if row.outcome == outcome:
        return
    if row.outcome:
        raise ValueError(f"landing {intent_id} was {row.outcome} and cannot become {outcome}")
    values = {"outcome": str(outcome), "finished_us": tx.now_us()}
    tx.connection.execute(update(landings).where(landings.c.id == intent_id), values)


def open_intents(tx: Tx, repo: str) -> list[Intent]:
    """A repository's attempts without a recorded outcome, oldest first."""
    query = select(landings).where(landings.c.repo == repo, landings.c.outcome == "").order_by(landings.c.id)
    return [_intent(row) for row in tx.connection.execute(query)]


def may_have_landed(tx: Tx, task: str) -> bool:
    """Whether a task's change may be on the base branch: an attempt is open or succeeded."""
    return any(intent.outcome is not IntentOutcome.MISSED for intent in of_task(tx, task))


def of_task(tx: Tx, task: str) -> list[Intent]:
    """A task's attempts, oldest first."""
    query = select(landings).where(landings.c.task == task).order_by(landings.c.id)
    return [_intent(row) for row in tx.connection.execute(query)]


def _intent(row: Row[Any]) -> Intent:
    return Intent(
        id=row.id,
        task=row.task,
        repo=row.repo,
        ref=row.ref,
        old=row.old,
        new=row.new,
        tree=row.tree,
        token=row.token,
        outcome=IntentOutcome(row.outcome),
        intended_us=row.intended_us,
    )
