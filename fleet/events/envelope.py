"""The event envelope, permanently fixed: what every event has."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from enum import StrEnum
from typing import Any, ClassVar

import msgspec
from msgspec import Struct

from fleet.refs import Refs


class Source(StrEnum):
    """Who reported an event. Only the controller's and a supervisor's reports are evidence.

    ``IMPORT`` is an agent's own session file, read later: such an event has the time that its file gives.
    """

    CONTROLLER = "controller"
    SUPERVISOR = "supervisor"
    AGENT = "agent"
    PERSON = "person"
    IMPORT = "import"


@dataclass(frozen=True, slots=True)
class Event:
    """Base of every event class. ``KIND`` and ``V`` tag the body, whose keys are the fields' names.

    Fields hold strings, booleans, integers below 2^53, ``None``, tuples of these and small typed records.
    """

    KIND: ClassVar[str] = ""
    V: ClassVar[int] = 1

    def body(self) -> dict[str, Any]:
        """The body as plain JSON."""
        plain: dict[str, Any] = msgspec.to_builtins(self)
        return plain


@dataclass(frozen=True, slots=True)
class UnknownEvent(Event):
    """An event of a kind or version that this code does not know; ``raw`` is its unchanged body."""

    kind: str
    v: int
    raw: dict[str, Any]

    def body(self) -> dict[str, Any]:
        return self.raw


class Recorded(Struct, frozen=True):
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


def kind_of(event: Event) -> tuple[str, int]:
    """An event's kind and version."""
    return (event.kind, event.v) if isinstance(event, UnknownEvent) else (event.KIND, event.V)


def leaf_hash(data: bytes) -> bytes:
    """RFC 6962 section 2.1: SHA-256 of 0x00 and the leaf's bytes."""
    return hashlib.sha256(b"\x00" + data).digest()
