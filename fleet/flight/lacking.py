"""A task that waits for a person, for its gates or for its turn to land says when its repository is missing.

What follows needs the repository, so nobody should hear of it only once they have decided. The words stand before
the reason of the task's state and go once ``fleet.toml`` names the repository again; nothing else remembers them.
"""

from __future__ import annotations

from typing import Final

from fleet.config import FleetConfig
from fleet.config.models import no_longer_named
from fleet.errors import AirbossError, Misconfigured, OriginAway, RepositoryUnusable
from fleet.model import Task, TaskState
from fleet.store import tasks
from fleet.store.core import Store
from fleet.untrusted import shortened

_NEEDS_IT: Final = frozenset({TaskState.JUDGING, TaskState.LANDING})
FOR_REPOSITORY: Final = "waiting for its repository: "
_MOST: Final = 600
LATE: Final = _NEEDS_IT | {TaskState.STALLED, TaskState.PARKED, TaskState.ASKING, TaskState.HELD}


def waiting(error: Misconfigured) -> str:
    """Why a task waits that cannot go on without what ``fleet.toml`` lacks."""
    return f"waiting: {error.cause or error}"


def for_repository(error: RepositoryUnusable | OriginAway) -> str:
    """Why a task waits that has begun and cannot go on with its repository as it is."""
    return FOR_REPOSITORY + in_short(error)


def in_short(error: AirbossError) -> str:
    """What went wrong and what helps, for a card: it names the repository already, and is cut where it is long."""
    told = str(type(error)(attempted=error.attempted, cause=error.cause or error.on, hint=error.hint))
    return shortened(" ".join(told.split()), _MOST)


def says(why: str, lacks: str) -> bool:
    """Whether these words of a task say so already."""
    return why == lacks or why.startswith(f"{lacks}; ")


async def told(store: Store, config: FleetConfig, task: Task) -> Task:
    """The task, which says what is missing, and no longer says what is there again."""
    why = _why(config, task)
    if task.state not in LATE or why == task.why:
        return task
    return await store.write(lambda tx: tasks.explain(tx, task.id, why))


def demand(config: FleetConfig, task: Task) -> None:
    """Raises ``Misconfigured`` where the task's step can do nothing without its repository. ``config`` as it was
    told: otherwise the words would stay if the repository came back meanwhile."""
    if task.state in _NEEDS_IT:
        config.repo(task.repo)


def _why(config: FleetConfig, task: Task) -> str:
    lacks = waiting(no_longer_named(task.repo))
    if task.repo in config.repos:
        return task.why.removeprefix(lacks).removeprefix("; ") if says(task.why, lacks) else task.why
    return task.why if says(task.why, lacks) else f"{lacks}; {task.why}".removesuffix("; ")
