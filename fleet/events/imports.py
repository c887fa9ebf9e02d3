"""Events about agents' own session files: what was imported, and where a session's two sources differ.

Imported tool calls and tokens are ordinary events whose source is ``import``, at the times that the files give.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from fleet.events.envelope import Event


@dataclass(frozen=True, slots=True)
class SessionImported(Event):
    """A session of which a file was imported, at the time of its first line."""

    KIND: ClassVar[str] = "session.imported"
    agent: str


@dataclass(frozen=True, slots=True)
class ImportDone(Event):
    """A person imported files: how many events they added, and how many lines were not understood."""

    KIND: ClassVar[str] = "import.done"
    agent: str
    files: int
    added: int
    known: int
    malformed: int
    half: int
    huge: int


@dataclass(frozen=True, slots=True)
class CallDisputed(Event):
    """The stream and the agent's own session file differ about a tool call. ``part``: ``tool``, ``outcome``, or
    ``call`` where the file does not have it."""

    KIND: ClassVar[str] = "call.disputed"
    call: str
    part: str
    stream: str
    file: str


@dataclass(frozen=True, slots=True)
class CallUnobserved(Event):
    """A tool call of which the stream had nothing, or only the end."""

    KIND: ClassVar[str] = "call.unobserved"
    call: str
    tool: str
    why: str
