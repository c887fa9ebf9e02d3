"""What the readers of both agents' session files share: calls that are open, and their keys."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Final

from fleet.agent_events import ToolOutcome
from fleet.events import SessionImported, ToolCallEndedV2, ToolCallStarted
from fleet.imports import Fact, ImportedAgent, key_of, plain

OPEN_LIMIT: Final = 10_000
"""So many open calls are remembered; the start of an older one is reported without waiting for its end."""

_VENDORS: Final = re.compile(r"(toolu|call)_[A-Za-z0-9]{20,}")
"""A call id that the vendor made: unique, wherever it is copied to (a resumed session copies its history)."""


def call_key(agent: ImportedAgent, what: str, call: str) -> str:
    """The key of a call's ``start`` or ``end`` by its id alone; empty for an id that is not the vendor's."""
    return key_of(agent, what, call) if _VENDORS.fullmatch(call) else ""


@dataclass(frozen=True, slots=True)
class Ending:
    """How a call ended; ``code`` is an exit code that the agent reports, ``size`` that of its output in bytes."""

    outcome: ToolOutcome
    code: int | None = None
    size: int | None = None


class Calls:
    """The calls of one file. A start is reported with its end, so that both are neighbours in the ledger."""

    def __init__(self, agent: ImportedAgent) -> None:
        self._agent = agent
        self._open: dict[tuple[str, str], Fact] = {}
        self._sessions: set[str] = set()

    def session(self, conversation: str, time_us: int) -> list[Fact]:
        """The session, when its first line is read."""
        if conversation in self._sessions:
            return []
        self._sessions.add(conversation)
        key = key_of(self._agent, "session", conversation)
        return [Fact(key, time_us, conversation, SessionImported(str(self._agent)))]

    def is_open(self, conversation: str, call: str) -> bool:
        """Whether this call has started and not ended."""
        return (conversation, call) in self._open

    def start(self, conversation: str, call: str, tool: str, time_us: int, line: str) -> list[Fact]:
        """A call starts. ``line`` identifies the line, or the session that it was copied from, where the file says
        so."""
        key = self._key("start", conversation, call, time_us, line)
        fact = Fact(key, time_us, conversation, ToolCallStarted(plain(call), plain(tool), ""))
        self._open.setdefault((conversation, call), fact)
        if len(self._open) > OPEN_LIMIT:
            return [self._open.pop(next(iter(self._open)))]
        return []

    def end(self, conversation: str, call: str, ending: Ending, time_us: int, line: str) -> list[Fact]:
        """A call ends."""
        key = self._key("end", conversation, call, time_us, line)
        event = ToolCallEndedV2(plain(call), str(ending.outcome), ending.code, "", ending.size)
        ended = Fact(key, time_us, conversation, event)
        started = self._open.pop((conversation, call), None)
        return [ended] if started is None else [started, ended]

    def close(self) -> list[Fact]:
        """The starts of the calls that have no end."""
        left = list(self._open.values())
        self._open.clear()
        return left

    def _key(self, what: str, conversation: str, call: str, time_us: int, line: str) -> str:
        if key := call_key(self._agent, what, call):
            return key
        return key_of(self._agent, what, line or conversation, call, time_us)
