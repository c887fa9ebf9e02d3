"""What a placement depends on, read from the store; and a placement, written to it."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass, field

from fleet.config import FleetConfig
from fleet.errors import Misused
from fleet.flight import budgeting
from fleet.flight.budgeting import ZoneOf, controllers_zone
from fleet.flight.halting import whose
from fleet.flight.moves import move
from fleet.flight.placement import Answer, FleetNow, Impossible, Placed, Waiting, plan
from fleet.machines.watch import MachineSeen
from fleet.model import ENDS, Task, TaskState
from fleet.store import queue, sessions, tasks, windows
from fleet.store.core import Tx

_DONE = (TaskState.LANDED, TaskState.ANSWERED)


@dataclass(frozen=True, slots=True)
class FleetSeen:
    """What a placement depends on beside the store. ``returning``: how many tasks that have started before wait for
    a slot, by machine. ``aside``: tasks that wait for something else first."""

    config: FleetConfig
    seen: Mapping[str, MachineSeen] = field(default_factory=dict)
    full: Collection[str] = ()
    returning: Mapping[str, int] = field(default_factory=dict)
    aside: Collection[str] = ()
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
    for task, answer in answers(tx, known):
        match answer:
            case Placed(machine, passed_over, login):
                queue.reserve(tx, task, queue.Reserved(machine, login, passed_over))
                tasks.explain(tx, task.id, "")
                ready.append(task.id)
            case Impossible(why, hint):
                error = Misused(attempted="place the task", on=task.id, cause=why, hint=hint)
                move(tx, task.id, TaskState.REFUSED, str(error))
                ready.append(task.id)
            case Waiting(why) if why != task.why:
                tasks.explain(tx, task.id, why)
    return ready


def changes(tx: Tx, known: FleetSeen) -> bool:
    """Whether :func:`reserve` would write anything."""
    return any(answer != Waiting(task.why) for task, answer in answers(tx, known))


def kept_back(tx: Tx, task: Task) -> str:
    """Why this task may not start now, wherever a slot is free; empty: it may."""
    if task.after:
        first = tasks.task(tx, task.after)
        if first.state in ENDS and first.state not in _DONE:
            return f"was to start after {first.id}, which ended as {first.state}"
        if first.state not in _DONE:
            return f"starts after {first.id} has landed"
    paused = queue.pauses(tx).get(queue.FLEET)
    return f"the fleet is paused by {paused.by}" if paused else ""


def not_yet(tx: Tx, task: Task, config: FleetConfig, zone: ZoneOf) -> str:
    """The same, and whether a budget of this day is used up."""
    if why := kept_back(tx, task):
        return why
    spent = budgeting.spent_day(tx, config, zone, task) if budgeting.limited(config, task) else None
    return f"waiting: budget used up: {spent} {whose(spent)}" if spent is not None else ""
