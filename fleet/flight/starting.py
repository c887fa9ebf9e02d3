"""What keeps a queued task from starting, besides slots and locks: a pause, or a task that must land first."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from fleet.errors import Refused
from fleet.model import ENDS, Task, TaskState
from fleet.store import queue, sessions, tasks
from fleet.store.core import Tx

_DONE = (TaskState.LANDED, TaskState.ANSWERED)


@dataclass(frozen=True, slots=True)
class StartLook:
    """What a placement depends on, read at one moment: the ``queued`` tasks in order, held slots and logins by
    machine, where nothing new may start, and why this task may not start at all (empty: it may)."""

    queued: Sequence[Task]
    busy: Mapping[str, int]
    logins: Mapping[str, Sequence[str]]
    pauses: Mapping[str, queue.Pause]
    kept_back: str


def look(tx: Tx, task: Task) -> StartLook:
    """Reads it. Raises as :func:`kept_back`."""
    return StartLook(
        queue.line(tx), sessions.busy(tx), sessions.logins_in_use(tx), queue.pauses(tx), kept_back(tx, task)
    )


def kept_back(tx: Tx, task: Task) -> str:
    """Why this task may not start now, wherever a slot is free; empty: it may.

    Raises ``Refused`` if the task that it waits for ended without landing.
    """
    if task.after:
        first = tasks.task(tx, task.after)
        if first.state in ENDS and first.state not in _DONE:
            raise Refused(
                attempted=f"start {task.id}",
                cause=f"it was to start after {first.id}, and {first.id} ended as {first.state}",
                hint=f"/retry {task.id} starts it without waiting.",
            )
        if first.state not in _DONE:
            return f"starts after {first.id} has landed"
    paused = queue.pauses(tx).get(queue.FLEET)
    return f"the fleet is paused by {paused.by}" if paused else ""
