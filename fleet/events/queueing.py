"""Events about the order of work: what may start, and what starts first."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from fleet.events.envelope import Event


@dataclass(frozen=True, slots=True)
class FleetPaused(Event):
    """Nothing new starts on ``machine``; empty: anywhere."""

    KIND: ClassVar[str] = "fleet.paused"
    machine: str


@dataclass(frozen=True, slots=True)
class FleetPausedV2(FleetPaused):
    """Also says why, in a person's words."""

    V: ClassVar[int] = 2
    reason: str


@dataclass(frozen=True, slots=True)
class FleetResumed(Event):
    """The end of what :class:`FleetPaused` began."""

    KIND: ClassVar[str] = "fleet.resumed"
    machine: str


@dataclass(frozen=True, slots=True)
class TaskBumped(Event):
    """The task is first in line now; ``passed``: how many tasks were ahead of it."""

    KIND: ClassVar[str] = "task.bumped"
    passed: int


@dataclass(frozen=True, slots=True)
class TaskChained(Event):
    """The task starts once ``after`` has landed; empty: a person lets it start without."""

    KIND: ClassVar[str] = "task.chained"
    after: str
