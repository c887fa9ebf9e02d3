"""The queue: what waits for a slot, the slots kept for tasks that start, and where nothing new may start."""

from __future__ import annotations

from collections.abc import Callable, Collection
from dataclasses import dataclass
from typing import Final

from sqlalchemy import bindparam, delete, func, insert, select, update

from fleet.events import FleetPaused, FleetPausedV2, FleetResumed, Refs, Source, TaskBumped
from fleet.model import Task, TaskState
from fleet.store import ledger
from fleet.store.core import Tx
from fleet.store.queue_tables import pauses as pauses_table
from fleet.store.queue_tables import reservations
from fleet.store.queue_tables import served as served_table
from fleet.store.records import columns, reader
from fleet.store.statements import Statement
from fleet.store.tables import tasks
from fleet.store.tasks import read_task
from fleet.turns import in_turn

FLEET: Final = ""
"""The name under which the whole fleet is paused; the others are machines."""

_WAITS = tasks.c.state == str(TaskState.QUEUED)
_LINE = Statement(select(tasks).where(_WAITS).order_by(tasks.c.rank, tasks.c.number))
_WAITING = Statement(select(tasks.c.id).where(_WAITS))
_FIRST_RANK = select(func.coalesce(func.min(tasks.c.rank), 0)).where(_WAITS)
_RANK = update(tasks).where(tasks.c.id == bindparam("key"))
_RESERVE = Statement(insert(reservations))
_RESERVED = Statement(select(reservations))
_RELEASE = Statement(delete(reservations).where(reservations.c.task == bindparam("key")))
_TURN = Statement(
    update(served_table).where(served_table.c.person == bindparam("of"), served_table.c.repo == bindparam("in"))
)
_SERVED = Statement(select(served_table))
_PAUSES = Statement(select(pauses_table).order_by(pauses_table.c.machine))
_PAUSE = insert(pauses_table)
_RESUME = delete(pauses_table).where(pauses_table.c.machine == bindparam("key"))


@dataclass(frozen=True, slots=True)
class Reserved:
    """A slot that is kept for a task until its session is there. ``passed_over``: why not the other machines."""

    machine: str
    login: str
    passed_over: tuple[str, ...]


_reserved = reader(Reserved)


@dataclass(frozen=True, slots=True)
class Pause:
    """Nothing new starts on ``machine`` (:data:`FLEET`: anywhere). ``by`` is ``str(PersonId)``."""

    machine: str
    by: str
    since_us: int
    reason: str = ""  # that person's words


def line(tx: Tx, whose: Callable[[str], str] = str) -> list[Task]:
    """The tasks that wait for a slot, in the order in which it is their turn. ``whose``: as of ``fleet.turns``."""
    return in_turn([read_task(row) for row in _LINE.all(tx.connection, {})], served(tx), whose)


def called(tx: Tx, standing: Collection[str]) -> list[str]:
    """Those of the tasks that wait to be told, and have a slot or are not in the queue any more."""
    if not standing:
        return []
    waiting = {row.id for row in _WAITING.all(tx.connection, {})} - reserved(tx).keys()
    return [task for task in standing if task not in waiting]


def reserve(tx: Tx, task: Task, slot: Reserved) -> None:
    """Keeps a slot for a task that waits, and counts this as the turn of its person and repository."""
    _RESERVE.run(tx.connection, {"task": task.id, **columns(slot), "since_us": tx.now_us()})
    turn = 1 + max(served(tx).values(), default=0)
    if not _TURN.run(tx.connection, {"of": task.requester, "in": task.repo, "turn": turn}):
        tx.connection.execute(insert(served_table), {"person": task.requester, "repo": task.repo, "turn": turn})


def release(tx: Tx, task_id: str) -> None:
    """Gives a slot back that was kept for a task; nothing happens if none was."""
    _RELEASE.run(tx.connection, {"key": task_id})


def reserved(tx: Tx) -> dict[str, Reserved]:
    """The slots that are kept, by the tasks which start."""
    return {row.task: _reserved(row) for row in _RESERVED.all(tx.connection, {})}


def served(tx: Tx) -> dict[tuple[str, str], int]:
    """When each person's tasks in each repository last got a slot: the highest is the latest."""
    return {(row.person, row.repo): row.turn for row in _SERVED.all(tx.connection, {})}


def bump(tx: Tx, task_id: str, by: str, whose: Callable[[str], str] = str) -> int:
    """Puts a task that waits for a slot first in line. Returns how many were ahead of it; none: nothing happens."""
    ahead = [task.id for task in line(tx, whose)].index(task_id)
    if ahead:
        rank = int(tx.connection.execute(_FIRST_RANK).scalar_one()) - 1
        tx.connection.execute(_RANK, {"key": task_id, "rank": rank})
        ledger.append(tx, TaskBumped(ahead), actor=by, source=Source.PERSON, refs=Refs(task=task_id))
    return ahead


def pauses(tx: Tx) -> dict[str, Pause]:
    """Where nothing new may start, by name."""
    return {row.machine: Pause(*row) for row in _PAUSES.all(tx.connection, {})}


def pause(tx: Tx, machine: str, by: str, reason: str = "") -> bool:
    """Lets nothing new start there. False if that was so already."""
    if machine in pauses(tx):
        return False
    row = {"machine": machine, "paused_by": by, "since_us": tx.now_us(), "reason": reason}
    tx.connection.execute(_PAUSE, row)
    event = FleetPausedV2(machine, reason) if reason else FleetPaused(machine)
    ledger.append(tx, event, actor=by, source=Source.PERSON)
    return True


def resume(tx: Tx, machine: str, by: str) -> bool:
    """Lets work start there again. False if nothing was paused."""
    if not tx.connection.execute(_RESUME, {"key": machine}).rowcount:
        return False
    ledger.append(tx, FleetResumed(machine), actor=by, source=Source.PERSON)
    return True
