"""Figures about the fleet, recomputable by anyone from the ledger.

A tool call is counted on the UTC day it ended, by what its agent's driver says of it: ok, failed or denied. One
whose process ended first is unfinished. The error rate is ``failed / (ok + failed)``; the others stand apart.
"""

from __future__ import annotations

import threading
from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass
from decimal import Decimal
from typing import Final

from fleet.events import PipeEnded, Recorded, ToolCallEnded, ToolCallStarted
from fleet.model import Session
from fleet.store import ledger
from fleet.store.core import Tx

DAY_US: Final = 86_400_000_000
WINDOW_DAYS: Final = 28
ACTIVE_US: Final = 60_000_000
KINDS: Final = (ToolCallStarted.KIND, ToolCallEnded.KIND, PipeEnded.KIND)
_BATCH: Final = 5_000


@dataclass(frozen=True, slots=True)
class ToolCalls:
    """How tool calls ended."""

    ok: int = 0
    failed: int = 0
    denied: int = 0
    unfinished: int = 0

    def error_rate(self) -> str:
        """``0.0046% err``, two significant digits; says so when nothing was counted."""
        counted = self.ok + self.failed
        if not counted:
            return "no tool calls yet"
        if not self.failed:
            return "0% err"
        share = Decimal(100 * self.failed) / counted
        digits = max(0, 1 - share.adjusted())
        return f"{share:.{digits}f}% err"


class ToolCallCounter:
    """Folds ledger events, in their order, into counts by UTC day. An event seen before changes nothing.

    Safe to use from several threads: ``Store.read`` has several.
    """

    def __init__(self) -> None:
        self.seq = 0
        self._lock = threading.RLock()
        self._days: dict[int, Counter[str]] = {}
        self._open: dict[str, set[str]] = {}

    def fold(self, events: Iterable[Recorded]) -> None:
        """Counts events that are newer than ``seq``."""
        with self._lock:
            for recorded in events:
                if recorded.seq > self.seq:
                    self._count(recorded)

    def catch_up(self, tx: Tx, upto: int | None = None) -> None:
        """Folds what the ledger has gained, up to the event ``upto``."""
        with self._lock:
            while batch := ledger.read(tx, after=self.seq, limit=_BATCH, kinds=KINDS):
                self.fold(recorded for recorded in batch if upto is None or recorded.seq <= upto)
                if len(batch) < _BATCH or (upto is not None and batch[-1].seq >= upto):
                    return

    def total(self) -> ToolCalls:
        """Everything counted."""
        with self._lock:
            return _sum(self._days.values())

    def window(self, now_us: int, days: int = WINDOW_DAYS) -> ToolCalls:
        """The UTC day of ``now_us`` and the ``days - 1`` before it."""
        today = now_us // DAY_US
        with self._lock:
            return _sum(counts for day, counts in self._days.items() if today - days < day <= today)

    def _count(self, recorded: Recorded) -> None:
        self.seq = recorded.seq
        session = recorded.refs.session
        match recorded.event:
            case ToolCallStarted(call=call):
                self._open.setdefault(session, set()).add(call)
            case ToolCallEnded(call=call, outcome=outcome):
                self._open.get(session, set()).discard(call)
                self._day(recorded.time_us)[outcome] += 1
            case PipeEnded():
                self._day(recorded.time_us)["unfinished"] += len(self._open.pop(session, ()))

    def _day(self, time_us: int) -> Counter[str]:
        return self._days.setdefault(time_us // DAY_US, Counter())


def _sum(counts: Iterable[Counter[str]]) -> ToolCalls:
    total: Counter[str] = sum(counts, Counter())
    return ToolCalls(total["ok"], total["failed"], total["denied"], total["unfinished"])


def active(sessions: Iterable[Session], now_us: int) -> int:
    """How many of these have a process that was seen alive within the last minute."""
    return sum(1 for one in sessions if not one.ended_us and one.seen_us and now_us - one.seen_us <= ACTIVE_US)
