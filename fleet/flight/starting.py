"""What a placement depends on, read from the store; and a placement, written to it."""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Final

from fleet.config import FleetConfig
from fleet.config.models import no_longer_named
from fleet.errors import Misused
from fleet.flight import budgeting
from fleet.flight.budgeting import ZoneOf, controllers_zone
from fleet.flight.halting import whose
from fleet.flight.moves import move
from fleet.flight.placement import Answer, FleetNow, Impossible, Placed, Waiting, plan
from fleet.flight.pool_placing import pools_now
from fleet.machines.watch import MachineSeen
from fleet.model import ENDS, Task, TaskState
from fleet.store import pool_slots, queue, sessions, tasks, windows
from fleet.store.core import Tx

SPENT: Final = "waiting: budget used up"
"""How the words of a task begin that a budget of this day keeps back."""

_DONE = (TaskState.LANDED, TaskState.ANSWERED)


@dataclass(frozen=True, slots=True)
class FleetSeen:
    """What a placement depends on beside the store. ``returning``: how many tasks that have started before wait for
    a slot, by machine. ``aside``: tasks that wait for something else first. ``troubles``: of pools."""

    config: FleetConfig
    seen: Mapping[str, MachineSeen] = field(default_factory=dict)
    full: Collection[str] = ()
    returning: Mapping[str, int] = field(default_factory=dict)
    aside: Collection[str] = ()
    troubles: Mapping[str, str] = field(default_factory=dict)
    zone: ZoneOf = controllers_zone


def answers(tx: Tx, known: FleetSeen) -> Iterator[tuple[Task, Answer]]:
    """What becomes of each task that waits for a slot, in order."""
    kept = queue.reserved(tx)
    line = [task for task in queue.line(tx) if task.id not in kept and task.id not in known.aside]
    if not line:
        return iter(())
    now = FleetNow(
        known.config,
        slots=sessions.slots_held(tx),
        logins=sessions.logins_in_use(tx),
        drained=queue.pauses(tx).keys(),
        full=known.full,
        seen=known.seen,
        spent=windows.spent(tx),
        returning=known.returning,
        pools=pools_now(known.config.pools, pool_slots.open_slots(tx), known.troubles),
    )
    return plan(
        line,
        now,
        queue.served(tx),
        {task.id: why for task in line if (why := not_yet(tx, task, known.config, known.zone))},
    )


def reserve(tx: Tx, known: FleetSeen) -> list[str]:
    """Keeps a slot for each task whose turn it is, says of the others why not, and ends those that no machine can
    ever take. Returns the tasks that can go on, in order."""
    ready = []
    for task, found in answers(tx, known):
        match found:
            case Placed():
                keep(tx, task, found)
                ready.append(task.id)
            case Impossible(why, hint):
                error = Misused(attempted="place the task", on=task.id, cause=why, hint=hint)
                move(tx, task.id, TaskState.REFUSED, str(error))
                ready.append(task.id)
            case Waiting(why=why) if why != task.why:
                tasks.explain(tx, task.id, why)
    return ready


def answer(tx: Tx, known: FleetSeen, task_id: str) -> Answer | None:
    """What becomes of one task now; ``None`` if it waits for no slot."""
    return next((found for task, found in answers(tx, known) if task.id == task_id), None)


def keep(tx: Tx, task: Task, placed: Placed) -> None:
    """Keeps the slot for the task."""
    queue.reserve(tx, task, queue.Reserved(placed.machine, placed.login, placed.passed_over))
    tasks.explain(tx, task.id, "")


def changes(tx: Tx, known: FleetSeen) -> bool:
    """Whether :func:`reserve` would write anything."""
    return any(not isinstance(found, Waiting) or found.why != task.why for task, found in answers(tx, known))


def wanted_of_pools(tx: Tx, known: FleetSeen) -> Mapping[str, int]:
    """How many tasks wait for a slot of each pool."""
    return Counter(found.pool for _, found in answers(tx, known) if isinstance(found, Waiting) and found.pool)


def landed(task: Task) -> bool:
    """Whether what was to start after this task may start."""
    return task.state in _DONE


def missed(tx: Tx, task: Task) -> Task | None:
    """The task that this one was to start after, if that ended without landing: a person decides what follows."""
    first = tasks.task(tx, task.after) if task.after else None
    return first if first is not None and first.state in ENDS and not landed(first) else None


def kept_back(tx: Tx, task: Task) -> str:
    """Why this task may not start now, wherever a slot is free; empty: it may."""
    if (first := missed(tx, task)) is not None:
        return f"was to start after {first.id}, which ended as {first.state}"
    if task.after and not landed(tasks.task(tx, task.after)):
        return f"starts after {task.after} has landed"
    paused = queue.pauses(tx).get(queue.FLEET)
    return f"the fleet is paused by {paused.by}{_because(paused)}" if paused else ""


def not_yet(tx: Tx, task: Task, config: FleetConfig, zone: ZoneOf) -> str:
    """The same, and whether its repository is missing, or a budget of this day is used up."""
    if task.repo not in config.repos:
        return f"waiting: {no_longer_named(task.repo).cause}"
    if why := kept_back(tx, task):
        return why
    spent = budgeting.spent_day(tx, config, zone, task) if budgeting.limited(config, task) else None
    return f"{SPENT}: {spent} {whose(spent)}" if spent is not None else ""


def _because(pause: queue.Pause) -> str:
    return f": {pause.reason}" if pause.reason else ""
