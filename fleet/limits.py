"""What a run may take of its machine, and the words for a limit that was reached."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import Final

from fleet.bounds import Size, Words

DEFAULT_PROCESSES: Final = 2048

_UNITS: Final = (("GB", 1 << 30), ("MB", 1 << 20), ("kB", 1 << 10))


class LimitedResource(StrEnum):
    """What is limited. Threads count as processes."""

    MEMORY = "memory"
    PROCESSES = "processes"
    DISK = "disk"


@dataclass(frozen=True, slots=True)
class RunLimits:
    """The limits that a run asks for: bytes of memory, processes, bytes that it may add to ``directories``.

    0 for memory: three quarters of the machine's; 0 for disk: three quarters of what is free at the start.
    """

    directories: tuple[str, ...]
    memory: int = 0
    processes: int = DEFAULT_PROCESSES
    disk: int = 0


@dataclass(frozen=True, slots=True)
class InForce:
    """The limits that a supervisor watched; 0: none."""

    memory: int
    processes: int
    disk: int


@dataclass(frozen=True, slots=True)
class Reached:
    """A limit that a run reached. ``process``: what was ended for it; empty: the whole run."""

    resource: LimitedResource
    limit: Size
    process: Words = ""

    def __str__(self) -> str:
        ended = f"process {self.process} ended" if self.process else "run ended"
        amount = str(self.limit) if self.resource is LimitedResource.PROCESSES else amount_of(self.limit)
        what = "process" if self.resource is LimitedResource.PROCESSES else self.resource
        return f"{what} limit {amount} reached; {ended}"


def amount_of(size: int) -> str:
    """Bytes for people: ``4 GB``, ``1.5 GB``, ``300 MB``."""
    for name, unit in _UNITS:
        if size >= unit:
            return f"{size / unit:.1f}".removesuffix(".0") + f" {name}"
    return f"{size} bytes"


def words_for(reached: Sequence[Reached]) -> str:
    """One line about the limits that a run reached, each said once."""
    return "; ".join(dict.fromkeys(str(limit) for limit in reached))
