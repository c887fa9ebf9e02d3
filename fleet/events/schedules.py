"""Events about schedules: how a person set one, what became of it, and each time that it was due."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from fleet.events.envelope import Event


@dataclass(frozen=True, slots=True)
class ScheduleSet(Event):
    """A schedule as it is from now on; ``spec`` is JSON (``fleet/schedule/spec.py``)."""

    KIND: ClassVar[str] = "schedule.set"
    schedule: str
    spec: str
    zone: str
    job: str
    repo: str
    agent: str
    machine: str
    prompt: str
    overlap: str


@dataclass(frozen=True, slots=True)
class ScheduleSetV2(ScheduleSet):
    """Also says what each of its tasks locks before it starts: "exclusive path:shop:src/**"."""

    V: ClassVar[int] = 2
    locks: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class ScheduleSetV3(ScheduleSetV2):
    """Also says what each of its tasks may use ("$5.00"), needs of its machine, and which model it asks for."""

    V: ClassVar[int] = 3
    budget: tuple[str, ...]
    needs: tuple[str, ...]
    model: str


@dataclass(frozen=True, slots=True)
class ScheduleMoved(Event):
    KIND: ClassVar[str] = "schedule.moved"
    schedule: str
    old: str
    new: str
    why: str


@dataclass(frozen=True, slots=True)
class ScheduleDue(Event):
    """``missed``: how many other times this one stands for, because the controller was down then."""

    KIND: ClassVar[str] = "schedule.due"
    schedule: str
    due_us: int
    outcome: str
    missed: int
