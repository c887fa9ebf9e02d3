"""The event of a daily digest."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from fleet.events.envelope import Event


@dataclass(frozen=True, slots=True)
class DayIssued(Event):
    """A channel's digest was posted, with the receipt of its range of the ledger; ``sha256`` is the receipt's."""

    KIND: ClassVar[str] = "day.issued"
    day: str
    first_seq: int
    last_seq: int
    root_sha256: str
    sha256: str
    path: str
