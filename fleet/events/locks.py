"""Events about locks: who got what, who was refused, and how each hold ended."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from fleet.events.envelope import Event


@dataclass(frozen=True, slots=True)
class LocksGranted(Event):
    """``resources``, ``modes`` and ``tokens`` belong together; ``expires_us`` is by the store's clock."""

    KIND: ClassVar[str] = "locks.granted"
    hold: str
    holder: str
    resources: tuple[str, ...]
    tokens: tuple[int, ...]
    modes: tuple[str, ...]
    cause: str
    expires_us: int


@dataclass(frozen=True, slots=True)
class LocksRefused(Event):
    """``resources`` could not be had, because ``by`` holds ``held``."""

    KIND: ClassVar[str] = "locks.refused"
    holder: str
    resources: tuple[str, ...]
    by: str
    held: str
    cause: str


@dataclass(frozen=True, slots=True)
class LocksReleased(Event):
    """A hold gave up ``resources``. ``end``: why; ``reason``: a person's words where one broke it."""

    KIND: ClassVar[str] = "locks.released"
    hold: str
    holder: str
    resources: tuple[str, ...]
    end: str
    reason: str = ""
