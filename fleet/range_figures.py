"""Figures over a range of the ledger: what a digest shows, a receipt of a day signs, and a verifier recomputes.

The rules, by event. A tool call is counted on the local day it ended, as its driver says: ok, failed or denied; one
whose process ended first is unfinished. ``tool_calls`` is all of them, the error rate ``failed / (ok + failed)``.
An active day has a tool call. A session counts when it was placed, started a turn or made a call in the range. A
subagent is a call of the tool ``Task`` or ``Agent``, with which Claude starts one. Cost is what agents report.
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
    SessionPlaced,
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

KINDS: Final = (
    TaskRequested.KIND,
    TaskMoved.KIND,
    GateClosed.KIND,
    SessionPlaced.KIND,
    TurnStarted.KIND,
    ToolCallStarted.KIND,
    ToolCallEnded.KIND,
    PipeEnded.KIND,
    UsageReported.KIND,
)
_SUBAGENT: Final = frozenset({"Task", "Agent"})
_PAGE: Final = 2_000


@dataclass(slots=True)
class RangeFigures:
    """Folds events in their order; ``zone`` says which day a time belongs to."""

    zone: ZoneInfo
    outcomes: Counter[str] = field(default_factory=Counter)
    by_day: Counter[str] = field(default_factory=Counter)
    by_machine: Counter[str] = field(default_factory=Counter)
    sessions: set[str] = field(default_factory=set)
    subagents: int = 0
    asked: int = 0
    ends: Counter[str] = field(default_factory=Counter)
    gates: Counter[str] = field(default_factory=Counter)
    cost_udollar: int = 0
    open_calls: dict[str, set[str]] = field(default_factory=dict)

    def fold(self, events: Iterable[Recorded]) -> None:
        """Counts these events."""
        for recorded in events:
            session = recorded.refs.session
            match recorded.event:
                case SessionPlaced() | TurnStarted():
                    self.sessions.add(session)
                case ToolCallStarted(call=call, tool=tool):
                    self.sessions.add(session)
                    self.open_calls.setdefault(session, set()).add(call)
                    self.subagents += tool in _SUBAGENT
                case ToolCallEnded(call=call, outcome=outcome):
                    self.sessions.add(session)
                    self.open_calls.get(session, set()).discard(call)
                    self._count(recorded, outcome, 1)
                case PipeEnded():
                    self._count(recorded, UNFINISHED, len(self.open_calls.pop(session, ())))
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

    def _count(self, recorded: Recorded, outcome: str, calls: int) -> None:
        if calls:
            self.outcomes[outcome] += calls
            self.by_day[local_time(recorded.time_us, self.zone).date().isoformat()] += calls
            self.by_machine[recorded.refs.machine] += calls

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


async def figures_of(store: Store, first_seq: int, last_seq: int, zone: ZoneInfo) -> RangeFigures:
    """The figures of exactly this range, both ends included; read in pages, so that others can read between."""
    found = RangeFigures(zone)
    async for page in _pages(store, first_seq, last_seq):
        found.fold(page)
    return found


async def _pages(store: Store, first_seq: int, last_seq: int) -> AsyncIterator[list[Recorded]]:
    for after in range(first_seq - 1, last_seq, _PAGE):
        read = partial(ledger.read, after=after, upto=min(after + _PAGE, last_seq), limit=_PAGE, kinds=KINDS)
        yield await store.read(read, long=True)
