"""Each tool call as one row: what figures count (``fleet.range_figures``), for tables and traces of others.

A row is made when its call ended, or its process did; of an imported call without an end, when all is read. A call
that still runs has none. Names only: no command, no path, no words.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from typing import Final

from fleet.events import (
    PipeEnded,
    Recorded,
    Refs,
    Source,
    ToolCallEnded,
    ToolCallEndedV2,
    ToolCallStarted,
    UsageReported,
)
from fleet.figures import SUBAGENT, UNFINISHED
from fleet.range_figures import Period

KINDS: Final = (ToolCallStarted.KIND, ToolCallEnded.KIND, PipeEnded.KIND, UsageReported.KIND)


@dataclass(frozen=True, slots=True)
class CallRow:
    """``started_us`` is ``None`` where nobody saw the start, ``ended_us`` where there is no end. ``source``: who
    reported it; ``output_bytes``: as the agent showed them."""

    started_us: int | None
    ended_us: int | None
    outcome: str
    tool: str
    subagent: bool
    call: str
    session: str
    task: str
    turn: str
    machine: str
    agent: str
    source: str
    exit_code: int | None
    output_bytes: int | None


@dataclass(slots=True)
class SessionTotals:
    """What one session used in the period: for its span."""

    agent: str
    first_us: int
    last_us: int
    input_tokens: int = 0
    output_tokens: int = 0
    cost_udollar: int = 0


@dataclass(slots=True)
class CallFold:
    """Folds events in their order; with what happened in ``period`` it makes rows."""

    period: Period
    sessions: dict[str, SessionTotals] = field(default_factory=dict)
    _open: dict[str, dict[str, Recorded]] = field(default_factory=dict)

    def fold(self, events: Iterable[Recorded]) -> Iterator[CallRow]:
        """The rows that these events complete."""
        for recorded in events:
            session = recorded.refs.session
            inside = self._inside(recorded.time_us)
            match recorded.event:
                case ToolCallStarted(call=call):
                    self._open.setdefault(session, {}).setdefault(call, recorded)
                case ToolCallEnded(call=call) as ended:
                    started = self._open.get(session, {}).pop(call, None)
                    if inside:
                        yield self._row(started, recorded, call, ended)
                case PipeEnded():
                    left = self._open.pop(session, {})
                    if inside:
                        for call, started in left.items():
                            yield self._row(started, None, call, None)
                case UsageReported(input_tokens=read, output_tokens=written, cost_udollar=cost) if inside:
                    totals = self._totals(recorded)
                    totals.input_tokens += read
                    totals.output_tokens += written
                    totals.cost_udollar += cost

    def close(self) -> Iterator[CallRow]:
        """The imported calls without an end."""
        for calls in self._open.values():
            for call, started in calls.items():
                if started.source is Source.IMPORT and self._inside(started.time_us):
                    yield self._row(started, None, call, None)

    def _inside(self, time_us: int) -> bool:
        return self.period.from_us <= time_us < self.period.upto_us

    def _row(
        self, started: Recorded | None, ended: Recorded | None, call: str, end: ToolCallEnded | None
    ) -> CallRow:
        known = ended or started
        assert known is not None
        for each in (started, ended):
            if each is not None:
                self._totals(each)
        refs: Refs = known.refs
        tool = started.event.tool if started and isinstance(started.event, ToolCallStarted) else ""
        return CallRow(
            started.time_us if started else None,
            ended.time_us if ended else None,
            end.outcome if end else UNFINISHED,
            tool,
            tool in SUBAGENT,
            call,
            refs.session,
            refs.task,
            refs.turn,
            refs.machine,
            _agent(known),
            str(known.source),
            end.exit_code if end else None,
            end.size if isinstance(end, ToolCallEndedV2) else None,
        )

    def _totals(self, recorded: Recorded) -> SessionTotals:
        at, session = recorded.time_us, recorded.refs.session
        found = self.sessions.setdefault(session, SessionTotals(_agent(recorded), at, at))
        found.first_us, found.last_us = min(found.first_us, at), max(found.last_us, at)
        return found


def _agent(recorded: Recorded) -> str:
    if recorded.source is Source.IMPORT:
        return recorded.refs.session.partition(":")[0]
    return recorded.actor.removeprefix("agent:")
