"""Figures over a range of the ledger: what a digest shows, a receipt of a day signs, and a verifier recomputes.

The rules, by event. A tool call is counted on the local day it ended, as its driver says: ok, failed or denied; one
whose process ended first is unfinished. ``tool_calls`` is all of them, the error rate ``failed / (ok + failed)``.
An active day has a tool call. A session counts when it was placed, imported, started a turn or made a call in the
range. A subagent is a call of the tool with which an agent starts one. Unobserved are calls of which the stream had
nothing or only the end, disputed those about which it and the agent's session file differ. Cost is what agents
report, and so are the bytes of output that calls showed them. A gate is unclosed when it was opened in the range
and has no end in it.

Days contain what was imported from agents' session files, at the times that the files give; there, a call without
an end is unfinished, and counted on the day it started. A range of numbers contains no imported events.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field
from datetime import date, datetime, time, timedelta
from typing import Any, Final
from zoneinfo import ZoneInfo

from fleet.agent_events import ToolOutcome
from fleet.events import (
    CallDisputed,
    CallUnobserved,
    GateClosed,
    GateOpened,
    PipeEnded,
    Recorded,
    SessionImported,
    SessionPlaced,
    Source,
    TaskMoved,
    TaskRequested,
    ToolCallEnded,
    ToolCallStarted,
    TurnStarted,
    UnknownEvent,
    UsageReported,
)
from fleet.events.counted import IMPORTED, CountedLine
from fleet.figures import SUBAGENT, UNFINISHED, ToolCalls
from fleet.model import ENDS
from fleet.schedule.times import instant, local_time

KINDS: Final = (
    TaskRequested.KIND,
    TaskMoved.KIND,
    GateOpened.KIND,
    GateClosed.KIND,
    SessionPlaced.KIND,
    SessionImported.KIND,
    TurnStarted.KIND,
    ToolCallStarted.KIND,
    ToolCallEnded.KIND,
    PipeEnded.KIND,
    UsageReported.KIND,
    CallUnobserved.KIND,
    CallDisputed.KIND,
)
_QUARTER_US: Final = 15 * 60 * 1_000_000
_QUARTERS: Final = 4  # in an hour
_SESSIONS: Final = frozenset({SessionPlaced.KIND, SessionImported.KIND, TurnStarted.KIND})


@dataclass(frozen=True, slots=True)
class Period:
    """Whole days: from ``from_us``, up to and not including ``upto_us``."""

    from_us: int
    upto_us: int

    @classmethod
    def of(cls, first: date, last: date, zone: ZoneInfo) -> Period:
        """Both days and all between. Raises ``OverflowError`` or ``ValueError`` at the ends of the calendar."""
        begin, end = (datetime.combine(day, time()) for day in (first, last + timedelta(days=1)))
        return cls(instant(begin, zone), instant(end, zone))


@dataclass(slots=True)
class RangeFigures:
    """Folds events in their order; ``zone`` says which day a time belongs to. With a ``period``, only what
    happened in it is counted, and imported events too.

    ``ended`` counts calls by quarter of an hour, machine and outcome. ``open_calls`` have no end yet; an imported
    one has its quarter and machine.
    """

    zone: ZoneInfo
    period: Period | None = None
    ended: Counter[tuple[int, str, str]] = field(default_factory=Counter)
    sessions: set[str] = field(default_factory=set)
    subagents: int = 0
    asked: int = 0
    ends: Counter[str] = field(default_factory=Counter)
    gates: Counter[str] = field(default_factory=Counter)
    open_gates: set[str] = field(default_factory=set)
    cost_udollar: int = 0
    unobserved: int = 0
    disputed: int = 0
    output_bytes: int = 0
    open_calls: dict[str, dict[str, tuple[int, str] | None]] = field(default_factory=dict)
    _days: dict[int, str] = field(default_factory=dict)

    def fold(self, events: Iterable[Recorded]) -> None:
        """Counts these events."""
        for recorded in events:
            event, refs = recorded.event, recorded.refs
            if not isinstance(event, UnknownEvent):
                imported = recorded.source is Source.IMPORT
                where = (refs.session, refs.machine)
                self.add(event.KIND, event, recorded.time_us, *where, imported=imported, run=refs.gate_run)

    def fold_lines(self, lines: Iterable[CountedLine]) -> None:
        """The same, of events that are decoded only as far as figures need them."""
        for said in lines:
            imported, where = said.source == IMPORTED, (said.session, said.machine)
            self.add(said.kind, said.body, said.time_us, *where, imported=imported, run=said.gate_run)

    def add(
        self, kind: str, event: Any, time_us: int, session: str, machine: str, *, imported: bool, run: str = ""
    ) -> None:
        """Counts one event. ``event`` has the fields of its kind: the ledger's own, or the body of a line; ``run``
        is its gate run.

        Nothing says that an imported process ended: its calls count as unfinished when they start.
        """
        period = self.period
        inside = not imported if period is None else period.from_us <= time_us < period.upto_us
        if kind == ToolCallEnded.KIND:
            if (calls := self.open_calls.get(session)) is not None:
                calls.pop(event.call, None)
            if inside:
                self.sessions.add(session)
                self.ended[time_us // _QUARTER_US, machine, event.outcome] += 1
                self.output_bytes += getattr(event, "size", 0) or 0
        elif kind == ToolCallStarted.KIND:
            calls = self.open_calls.setdefault(session, {})
            if event.call not in calls:
                calls[event.call] = (time_us // _QUARTER_US, machine) if inside and imported else None
            if inside:
                self.sessions.add(session)
                self.subagents += event.tool in SUBAGENT
        elif kind == PipeEnded.KIND:
            unfinished = len(self.open_calls.pop(session, ()))
            if inside and unfinished:
                self.ended[time_us // _QUARTER_US, machine, UNFINISHED] += unfinished
        elif kind == GateOpened.KIND:
            if inside:
                self.open_gates.add(run)
        elif kind == GateClosed.KIND:
            self.open_gates.discard(run)
            self.gates[event.outcome] += inside
        elif inside:
            self._add_other(kind, event, session)

    def _add_other(self, kind: str, event: Any, session: str) -> None:
        if kind == UsageReported.KIND:
            self.cost_udollar += event.cost_udollar
        elif kind == CallUnobserved.KIND:
            self.unobserved += 1
        elif kind == CallDisputed.KIND:
            self.disputed += 1
        elif kind in _SESSIONS:
            self.sessions.add(session)
        elif kind == TaskRequested.KIND:
            self.asked += 1
        elif kind == TaskMoved.KIND and event.new in ENDS:
            self.ends[event.new] += 1

    def add_sums(self, other: RangeFigures) -> None:
        """Adds what each event of another part of the range added for itself."""
        for mine, others in ((self.ends, other.ends), (self.gates, other.gates)):
            mine.update(others)
        self.ended.update(other.ended)
        self.sessions |= other.sessions
        self.subagents += other.subagents
        self.asked += other.asked
        self.cost_udollar += other.cost_udollar
        self.unobserved += other.unobserved
        self.disputed += other.disputed
        self.output_bytes += other.output_bytes

    def counts(self, recorded: Recorded) -> bool:
        """Whether an event is in what is counted."""
        if self.period is None:
            return recorded.source is not Source.IMPORT
        return self.period.from_us <= recorded.time_us < self.period.upto_us

    def _day(self, quarter: int) -> str:
        """The day of a quarter of an hour: all zones change between two."""
        day = self._days.get(quarter)
        if day is None:
            day = self._days[quarter] = local_time(quarter * _QUARTER_US, self.zone).date().isoformat()
        return day

    def _by(self, name: Callable[[str, str, str], str]) -> Counter[str]:
        """Calls by a part of what is known of each: its day, its machine, its outcome."""
        found = Counter[str]()
        for known, calls in self._placed():
            found[name(*known)] += calls
        return found

    def _placed(self) -> Iterator[tuple[tuple[str, str, str], int]]:
        """How many calls had which day, machine and outcome."""
        for (quarter, machine, outcome), calls in self.ended.items():
            yield (self._day(quarter), machine, outcome), calls
        for started in self.open_calls.values():
            for quarter, machine in filter(None, started.values()):
                yield (self._day(quarter), machine, UNFINISHED), 1

    @property
    def by_hour(self) -> Counter[int]:
        """Calls that ended, by hour since the epoch; not of figures that are kept by day alone."""
        found = Counter[int]()
        for (quarter, _, outcome), calls in self.ended.items():
            if outcome != UNFINISHED:
                found[quarter // _QUARTERS] += calls
        return found

    @property
    def outcomes(self) -> Counter[str]:
        """Calls by outcome."""
        return self._by(lambda day, machine, outcome: outcome)

    @property
    def by_day(self) -> Counter[str]:
        """Calls by day."""
        return self._by(lambda day, machine, outcome: day)

    @property
    def by_machine(self) -> Counter[str]:
        """Calls by machine."""
        return self._by(lambda day, machine, outcome: machine)

    @property
    def calls(self) -> ToolCalls:
        """How tool calls ended."""
        return ToolCalls.of(self.outcomes)

    @property
    def tool_calls(self) -> int:
        """All tool calls, however they ended."""
        return sum(self.outcomes.values())

    @property
    def peak(self) -> tuple[str, int]:
        """The day with most calls, the first of several; an empty date without any."""
        return min(self.by_day.items(), key=lambda item: (-item[1], item[0]), default=("", 0))

    def plain(self) -> dict[str, Any]:
        """Integers and names only, as the receipt of a day has them."""
        calls, (date, most) = self.calls, self.peak
        return {
            "tool_calls": self.tool_calls,
            "ok": calls.ok,
            "failed": calls.failed,
            "denied": calls.denied,
            "unfinished": calls.unfinished,
            "active_days": len(self.by_day),
            "sessions": len(self.sessions),
            "peak": {"date": date, "calls": most},
            "subagents": self.subagents,
            "by_machine": dict(sorted(self.by_machine.items())),
            "tasks_asked": self.asked,
            "tasks_ended": dict(sorted(self.ends.items())),
            "gates": dict(sorted((+self.gates).items())),
            **{name: count for name, count in self._rare().items() if count},
            "cost_udollar": self.cost_udollar,
        }

    def _rare(self) -> dict[str, int]:
        """Not in a receipt where there are none: versions before did not have them."""
        return {
            "gates_unclosed": len(self.open_gates),
            "unobserved": self.unobserved,
            "disputed": self.disputed,
            "output_bytes": self.output_bytes,
        }

    def by_days(self) -> list[dict[str, Any]]:
        """For a table: calls by day and how they ended; days between without any are in it."""
        found: dict[str, Counter[str]] = {}
        for (day, _, outcome), calls in self._placed():
            found.setdefault(day, Counter())[outcome] += calls
        days = sorted(found)
        if days:
            first, last = (date.fromisoformat(each) for each in (days[0], days[-1]))
            days = [(first + timedelta(days=number)).isoformat() for number in range((last - first).days + 1)]
        rows = ((day, found.get(day, Counter())) for day in days)
        return [
            {
                "date": day,
                "calls": ends.total(),
                **{name: ends[name] for name in (*map(str, ToolOutcome), UNFINISHED)},
            }
            for day, ends in rows
        ]

    def to_json(self) -> dict[str, Any]:
        """For scripts: the same, with the error rate and the cost in dollars."""
        calls = self.calls
        counted = calls.ok + calls.failed
        return {
            **self.plain(),
            **self._rare(),
            "error_rate": calls.failed / counted if counted else None,
            "cost_usd": self.cost_udollar / 1_000_000,
        }
