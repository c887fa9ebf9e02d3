"""The event envelope, fixed for good: what every event has, whatever it is about."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass, fields
from enum import StrEnum
from typing import Any, ClassVar


class Source(StrEnum):
    """Whose word a line is. Only the controller's and a supervisor's are evidence."""

    CONTROLLER = "controller"
    SUPERVISOR = "supervisor"
    AGENT = "agent"
    PERSON = "person"


@dataclass(frozen=True, slots=True)
class Refs:
    """What an event is about. Empty strings where there is nothing."""

    task: str = ""
    session: str = ""
    turn: str = ""
    gate_run: str = ""
    machine: str = ""


@dataclass(frozen=True, slots=True)
class Event:
    """Base of every event class. ``KIND`` and ``V`` tag the body; fields are JSON without floats."""

    KIND: ClassVar[str] = ""
    V: ClassVar[int] = 1

    def body(self) -> dict[str, Any]:
        """The body as plain JSON."""
        return {f.name: _plain(getattr(self, f.name)) for f in fields(self)}


def _plain(value: Any) -> Any:
    if isinstance(value, tuple | list):
        return [_plain(item) for item in value]
    if isinstance(value, dict):
        return {key: _plain(item) for key, item in value.items()}
    if isinstance(value, StrEnum):
        return str(value)
    return value


@dataclass(frozen=True, slots=True)
class UnknownEvent(Event):
    """An event of a kind or version this code does not know; ``raw`` is its body, untouched."""

    kind: str
    v: int
    raw: dict[str, Any]

    def body(self) -> dict[str, Any]:
        return self.raw


@dataclass(frozen=True, slots=True)
class Recorded:
    """An event in the ledger. ``canonical`` are its RFC 8785 bytes, ``leaf`` their RFC 6962 leaf hash."""

    seq: int
    id: str
    time_us: int
    actor: str
    refs: Refs
    source: Source
    event: Event
    canonical: bytes
    leaf: bytes


def leaf_hash(data: bytes) -> bytes:
    """RFC 6962 section 2.1: SHA-256 of 0x00 and the leaf's bytes."""
    return hashlib.sha256(b"\x00" + data).digest()
