"""Events about what was imported from agents' own session files. Their tool calls and tokens are ordinary events
whose source is ``import``, at the times that the files give."""

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
