"""Figures about the fleet, which anyone can recompute from the ledger.

A tool call counts on the UTC day it ended, with the outcome that the agent's driver reports: ok, failed or denied.
If its process ended first, it is unfinished. The error rate is ``failed / (ok + failed)``; the others are not in
it.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from decimal import Decimal
from typing import Final

from fleet.events import PipeEnded, Recorded, ToolCallEnded, ToolCallStarted

DAY_US: Final = 86_400_000_000
WINDOW_DAYS: Final = 28
ACTIVE_US: Final = 60_000_000
UNFINISHED: Final = "unfinished"
SUBAGENT: Final = frozenset({"Task", "Agent", "spawn_agent", "spawnAgent"})
"""The tools with which an agent starts another one."""


@dataclass(frozen=True, slots=True)
class ToolCalls:
    """How tool calls ended."""

    ok: int = 0
    failed: int = 0
    denied: int = 0
    unfinished: int = 0

    @classmethod
    def of(cls, counts: Mapping[str, int]) -> ToolCalls:
        """Builds it from counts by outcome."""
        return cls(*(counts.get(outcome, 0) for outcome in ("ok", "failed", "denied", UNFINISHED)))

    def error_rate(self) -> str:
        """``0.0046% err``, with two significant digits; or a note when nothing was counted."""
        counted = self.ok + self.failed
        if not counted:
            return "no tool calls yet"
        if not self.failed:
            return "0% err"
        share = Decimal(100 * self.failed) / counted
        digits = max(0, 1 - share.adjusted())
        return f"{share:.{digits}f}% err"


class ToolCallCounter:
    """Counts ledger events, in order, by UTC day and outcome. Seeing an event twice changes nothing."""

    def __init__(self) -> None:
        self.seq = 0
        self.days: dict[int, Counter[str]] = {}
        self.open_calls: dict[str, set[str]] = {}

    def fold(self, events: Iterable[Recorded]) -> None:
        """Counts the events newer than ``seq``."""
        for recorded in events:
            if recorded.seq <= self.seq:
                continue
            self.seq = recorded.seq
            session = recorded.refs.session
            match recorded.event:
                case ToolCallStarted(call=call):
                    self.open_calls.setdefault(session, set()).add(call)
                case ToolCallEnded(call=call, outcome=outcome):
                    self.open_calls.get(session, set()).discard(call)
                    self._day(recorded.time_us)[outcome] += 1
                case PipeEnded():
                    self._day(recorded.time_us)[UNFINISHED] += len(self.open_calls.pop(session, ()))

    def total(self) -> ToolCalls:
        """The sum of all counts."""
        return ToolCalls.of(sum(self.days.values(), Counter()))

    def _day(self, time_us: int) -> Counter[str]:
        return self.days.setdefault(time_us // DAY_US, Counter())
