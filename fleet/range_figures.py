"""Figures over a range of the ledger: what a digest shows, a receipt of a day signs, and a verifier recomputes.

The rules, by event. A tool call is counted on the local day it ended, as its driver says: ok, failed or denied; one
whose process ended first is unfinished. ``tool_calls`` is all of them, the error rate ``failed / (ok + failed)``.
An active day has a tool call. A session counts when it was placed, imported, started a turn or made a call in the
range. A subagent is a call of the tool with which an agent starts one. Cost is what agents report.

Days contain what was imported from agents' session files, at the times that the files give; there, a call without
an end is unfinished, and counted on the day it started. A range of numbers contains no imported events.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import AsyncIterator, Iterable
from dataclasses import dataclass, field
from functools import partial
from typing import Any, Final
from zoneinfo import ZoneInfo

from fleet.events import (
    GateClosed,
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
    UsageReported,
)
from fleet.figures import UNFINISHED, ToolCalls
from fleet.model import ENDS
from fleet.schedule.times import local_time
from fleet.store import ledger
from fleet.store.core import Store
from fleet.store.recent import numbers_in

KINDS: Final = (
    TaskRequested.KIND,
    TaskMoved.KIND,
    GateClosed.KIND,
    SessionPlaced.KIND,
    SessionImported.KIND,
    TurnStarted.KIND,
    ToolCallStarted.KIND,
    ToolCallEnded.KIND,
    PipeEnded.KIND,
    UsageReported.KIND,
)
_SUBAGENT: Final = frozenset({"Task", "Agent", "spawn_agent", "spawnAgent"})
_PAGE: Final = 2_000


@dataclass(frozen=True, slots=True)
class Period:
    """Whole days: from ``from_us``, up to and not including ``upto_us``."""

    from_us: int
    upto_us: int


@dataclass(slots=True)
class RangeFigures:
    """Folds events in their order; ``zone`` says which day a time belongs to. With a ``period``, only what
    happened in it is counted, and imported events too."""

    zone: ZoneInfo
    period: Period | None = None
    outcomes: Counter[str] = field(default_factory=Counter)
    by_day: Counter[str] = field(default_factory=Counter)
    by_machine: Counter[str] = field(default_factory=Counter)
    sessions: set[str] = field(default_factory=set)
    subagents: int = 0
    asked: int = 0
    ends: Counter[str] = field(default_factory=Counter)
    gates: Counter[str] = field(default_factory=Counter)
    cost_udollar: int = 0
    open_calls: dict[str, dict[str, Recorded]] = field(default_factory=dict)

    def fold(self, events: Iterable[Recorded]) -> None:
        """Counts these events."""
        for recorded in events:
            self._follow_calls(recorded)
            if not self.counts(recorded):
                continue
            match recorded.event:
                case SessionPlaced() | SessionImported() | TurnStarted():
                    self.sessions.add(recorded.refs.session)
                case ToolCallStarted(tool=tool):
                    self.sessions.add(recorded.refs.session)
                    self.subagents += tool in _SUBAGENT
                case ToolCallEnded(outcome=outcome):
                    self.sessions.add(recorded.refs.session)
                    self._count(recorded, outcome, 1)
                case TaskRequested():
                    self.asked += 1
                case TaskMoved(new=new) if new in ENDS:
                    self.ends[new] += 1
                case GateClosed(outcome=outcome):
                    self.gates[outcome] += 1
                case UsageReported(cost_udollar=cost):
                    self.cost_udollar += cost
                case _:
                    pass

    def _follow_calls(self, recorded: Recorded) -> None:
        """Which calls have no end. Nothing says that an imported process ended: its calls count when they start."""
        calls = self.open_calls.setdefault(recorded.refs.session, {})
        match recorded.event:
            case ToolCallStarted(call=call):
                if recorded.source is Source.IMPORT and call not in calls and self.counts(recorded):
                    self._count(recorded, UNFINISHED, 1)
                calls.setdefault(call, recorded)
            case ToolCallEnded(call=call):
                started = calls.pop(call, None)
                if started and started.source is Source.IMPORT and self.counts(started):
                    self._count(started, UNFINISHED, -1)
            case PipeEnded():
                unfinished = self.open_calls.pop(recorded.refs.session)
                if self.counts(recorded):
                    self._count(recorded, UNFINISHED, len(unfinished))

    def counts(self, recorded: Recorded) -> bool:
        """Whether an event is in what is counted."""
        if self.period is None:
            return recorded.source is not Source.IMPORT
        return self.period.from_us <= recorded.time_us < self.period.upto_us

    def _count(self, recorded: Recorded, outcome: str, calls: int) -> None:
        if not calls:
            return
        day = local_time(recorded.time_us, self.zone).date().isoformat()
        for counter, name in (
            (self.outcomes, outcome),
            (self.by_day, day),
            (self.by_machine, recorded.refs.machine),
        ):
            counter[name] += calls
            if not counter[name]:
                del counter[name]

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
            "gates": dict(sorted(self.gates.items())),
            "cost_udollar": self.cost_udollar,
        }

    def to_json(self) -> dict[str, Any]:
        """For scripts: the same, with the error rate and the cost in dollars."""
        calls = self.calls
        counted = calls.ok + calls.failed
        return {
            **self.plain(),
            "error_rate": calls.failed / counted if counted else None,
            "cost_usd": self.cost_udollar / 1_000_000,
        }


async def figures_of(
    store: Store, first_seq: int, last_seq: int, zone: ZoneInfo, period: Period | None = None
) -> RangeFigures:
    """The figures of exactly this range, both ends included; read in pages, so that others can read between."""
    found = RangeFigures(zone, period)
    async for page in _pages(store, first_seq, last_seq):
        found.fold(page)
    return found


async def _pages(store: Store, first_seq: int, last_seq: int) -> AsyncIterator[list[Recorded]]:
    for after in range(first_seq - 1, last_seq, _PAGE):
        read = partial(ledger.read, after=after, upto=min(after + _PAGE, last_seq), limit=_PAGE, kinds=KINDS)
        yield await store.read(read, long=True)


async def figures_of_days(store: Store, period: Period, zone: ZoneInfo) -> RangeFigures:
    """The figures of whole days."""
    numbers = await store.read(lambda tx: numbers_in(tx, period.from_us, period.upto_us), long=True)
    return await figures_of(store, *(numbers or (1, 0)), zone, period)
