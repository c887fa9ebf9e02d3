"""What agents' own session files report, on its way into the ledger.

It is testimony of the past: each fact keeps the time that its file gives, and a key by which it is imported once,
however often and from wherever it is read. Only figures are imported: which tool, when, how it ended, how many
bytes and tokens. Prompts, commands and output stay in the files.
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from datetime import UTC, datetime
from enum import StrEnum
from typing import Any, Final, Protocol

import msgspec
import rfc8785

from fleet.events import SessionImported, ToolCallEndedV2, ToolCallStarted, UsageReported

ImportedEvent = SessionImported | ToolCallStarted | ToolCallEndedV2 | UsageReported

NAME_LIMIT: Final = 120
"""The most characters of a name or an id that is kept as it is."""

_KINDS: Final[dict[str, type[ImportedEvent]]] = {
    SessionImported.KIND: SessionImported,
    ToolCallStarted.KIND: ToolCallStarted,
    ToolCallEndedV2.KIND: ToolCallEndedV2,
    UsageReported.KIND: UsageReported,
}
_END_US: Final = 2**53  # the first integer that canonical JSON does not have
_EPOCH: Final = datetime(1970, 1, 1, tzinfo=UTC)


class ImportedAgent(StrEnum):
    """Whose session files can be imported."""

    CLAUDE = "claude"
    CODEX = "codex"


@dataclass(frozen=True, slots=True)
class Fact:
    """One thing that a file reports. ``conversation`` is the agent's own id of the session."""

    key: str
    time_us: int
    conversation: str
    event: ImportedEvent

    def to_json(self) -> dict[str, Any]:
        """For the control socket."""
        body = self.event.body()
        return {
            "key": self.key,
            "time_us": self.time_us,
            "of": self.conversation,
            "kind": self.event.KIND,
            "body": body,
        }

    @classmethod
    def from_json(cls, raw: Any) -> Fact:
        """The inverse. Raises ``ValueError``, ``TypeError`` or ``KeyError`` for anything else."""
        event: ImportedEvent = msgspec.convert(raw["body"], _KINDS[raw["kind"]])
        rfc8785.dumps(event.body())  # else it could not be appended
        whole = (
            type(raw["time_us"]) is int
            and 0 <= raw["time_us"] < _END_US
            and isinstance(raw["key"], str)
            and isinstance(raw["of"], str)
        )
        if not whole or len(raw["key"]) > NAME_LIMIT or raw["of"] != plain(raw["of"]):
            raise ValueError("a field of a fact is of another type")
        return cls(raw["key"], raw["time_us"], raw["of"], event)


class SessionFile(Protocol):
    """Reads one session file, line by line. Remembers only what is still open."""

    def feed(self, line: bytes) -> list[Fact]:
        """What a line reports. Raises one of ``fleet.agents.lines.NOT_UNDERSTOOD`` for a malformed line."""

    def close(self) -> list[Fact]:
        """What is left at the end of the file: calls without an end."""


def plain(text: str) -> str:
    """A name or an id of a file; the hash of one that is too long, or not plain ASCII."""
    if 0 < len(text) <= NAME_LIMIT and text.isascii() and text.isprintable():
        return text
    return f"sha256:{hashlib.sha256(text.encode('utf-8', 'replace')).hexdigest()}"


def key_of(*parts: object) -> str:
    """A key for what these parts identify."""
    return hashlib.sha256("\0".join(map(str, parts)).encode("utf-8", "replace")).hexdigest()[:40]


def micros(text: Any) -> int:
    """Microseconds since the epoch of an ISO 8601 time; without a zone it is UTC. Raises ``TypeError`` or
    ``ValueError``."""
    if not isinstance(text, str):
        raise TypeError("a time that is no text")
    found = datetime.fromisoformat(text)
    if found.tzinfo is None:
        found = found.replace(tzinfo=UTC)
    past = found - _EPOCH
    us = (past.days * 86_400 + past.seconds) * 1_000_000 + past.microseconds
    if not 0 <= us < _END_US:
        raise ValueError("a time before 1970 or after 2250")
    return us
