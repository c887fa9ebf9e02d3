"""Events about an agent's in-band questions and their answers."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from fleet.events.envelope import Event


@dataclass(frozen=True, slots=True)
class PermissionAsked(Event):
    KIND: ClassVar[str] = "permission.asked"
    ask: str
    tool: str
    command: str
    paths: tuple[str, ...]
    request_sha256: str
    reason: str


@dataclass(frozen=True, slots=True)
class PermissionDecided(Event):
    KIND: ClassVar[str] = "permission.decided"
    ask: str
    tool: str
    decision: str  # "allow", "answer" (``reason`` is the answer), "deny", or "withdrawn" by the agent
    reason: str
    request_sha256: str


@dataclass(frozen=True, slots=True)
class PermissionGranted(Event):
    """A person allowed, for the rest of a session, this tool with these arguments in this directory."""

    KIND: ClassVar[str] = "permission.granted"
    approval: str
    tool: str
    scope_sha256: str
