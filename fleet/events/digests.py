"""Events about what a channel was given: the digest of a day, and the ledger's root."""

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


@dataclass(frozen=True, slots=True)
class RootPosted(Event):
    """A message with the ledger's root at ``size`` was sent to a chat, by the chat's own id of it. A notice: a bot
    can edit its own messages."""

    KIND: ClassVar[str] = "root.posted"
    size: int
    root_sha256: str
    chat: str
    message: str
    sent_us: int
