"""The queue: the tasks that wait for a slot, in order, and where nothing new may start."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

from sqlalchemy import bindparam, delete, func, insert, select, update

from fleet.events import FleetPaused, FleetResumed, Refs, Source, TaskBumped
from fleet.model import Task, TaskState
from fleet.store import ledger
from fleet.store.core import Tx
from fleet.store.tables import pauses as pauses_table
from fleet.store.tables import tasks
from fleet.store.tasks import read_task

FLEET: Final = ""
"""The name under which the whole fleet is paused; the others are machines."""

_WAITS = tasks.c.state == str(TaskState.QUEUED)
_LINE = select(tasks).where(_WAITS).order_by(tasks.c.rank, tasks.c.number)
_FIRST_RANK = select(func.coalesce(func.min(tasks.c.rank), 0)).where(_WAITS)
_RANK = update(tasks).where(tasks.c.id == bindparam("key"))
_PAUSES = select(pauses_table).order_by(pauses_table.c.machine)
_PAUSE = insert(pauses_table)
_RESUME = delete(pauses_table).where(pauses_table.c.machine == bindparam("key"))


@dataclass(frozen=True, slots=True)
class Pause:
    """Nothing new starts on ``machine`` (:data:`FLEET`: anywhere). ``by`` is ``str(PersonId)``."""

    machine: str
    by: str
    since_us: int


def line(tx: Tx) -> list[Task]:
    """The tasks that wait for a slot, the next one first."""
    return [read_task(row) for row in tx.connection.execute(_LINE)]


def bump(tx: Tx, task_id: str, by: str) -> int:
    """Puts a task that waits for a slot first in line. Returns how many were ahead of it; none: nothing happens."""
    ahead = [task.id for task in line(tx)].index(task_id)
    if ahead:
        rank = int(tx.connection.execute(_FIRST_RANK).scalar_one()) - 1
        tx.connection.execute(_RANK, {"key": task_id, "rank": rank})
        ledger.append(tx, TaskBumped(ahead), actor=by, source=Source.PERSON, refs=Refs(task=task_id))
    return ahead


def pauses(tx: Tx) -> dict[str, Pause]:
    """Where nothing new may start, by name."""
    return {row.machine: Pause(*row) for row in tx.connection.execute(_PAUSES)}


def pause(tx: Tx, machine: str, by: str) -> bool:
    """Lets nothing new start there. False if that was so already."""
    if machine in pauses(tx):
        return False
    tx.connection.execute(_PAUSE, {"machine": machine, "paused_by": by, "since_us": tx.now_us()})
    ledger.append(tx, FleetPaused(machine), actor=by, source=Source.PERSON)
    return True


def resume(tx: Tx, machine: str, by: str) -> bool:
    """Lets work start there again. False if nothing was paused."""
    if not tx.connection.execute(_RESUME, {"key": machine}).rowcount:
        return False
    ledger.append(tx, FleetResumed(machine), actor=by, source=Source.PERSON)
    return True
