"""Figures by day, added up in the transaction that appends the events, so that a digest reads a few rows.

``fleet.range_figures`` defines what is counted, ``fleet.reading_figures`` reads it here; whoever verifies computes
the same from the events. The ledger is cut into segments: of whole segments, the figures are those of exactly that
range.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import Any, Final

from sqlalchemy import bindparam as given
from sqlalchemy import func, insert, select, update

from fleet.events import (
    CallDisputed,
    CallUnobserved,
    Event,
    GateClosed,
    GateOpened,
    Recorded,
    SessionImported,
    SessionPlaced,
    Source,
    TaskMoved,
    TaskRequested,
    ToolCallEnded,
    ToolCallEndedV2,
    ToolCallStarted,
    TurnStarted,
    UsageReported,
)
from fleet.events.codec import KINDS
from fleet.figures import DAY_US, SUBAGENT, UNFINISHED
from fleet.store.core import Tx
from fleet.store.figure_tables import (
    figure_amounts,
    figure_calls,
    figure_gates,
    figure_late,
    figure_segments,
    figure_unfinished,
)
from fleet.store.statements import Statement, adding

QUARTER_US: Final = 15 * 60 * 1_000_000


class Amount(StrEnum):
    """What is added up. Calls, gates and the ends of tasks have the outcome behind the name."""

    CALL = "call:"
    GATE = "gate:"
    END = "end:"
    SUBAGENTS = "subagents"
    ASKED = "asked"
    COST = "cost"
    UNOBSERVED = "unobserved"
    DISPUTED = "disputed"
    BYTES = "bytes"


_SINGLE: Final = {
    TaskRequested.KIND: Amount.ASKED,
    CallUnobserved.KIND: Amount.UNOBSERVED,
    CallDisputed.KIND: Amount.DISPUTED,
}
_SESSIONS: Final = frozenset({SessionPlaced.KIND, SessionImported.KIND, TurnStarted.KIND})
_OTHERS: Final = frozenset({TaskMoved.KIND, UsageReported.KIND, GateOpened.KIND, GateClosed.KIND})
_KIND: Final[dict[type[Event], str]] = {
    cls: cls.KIND
    for cls in KINDS.values()
    if cls.KIND in (*_SINGLE, *_SESSIONS, *_OTHERS, ToolCallStarted.KIND, ToolCallEnded.KIND)
}

_SEGMENT = Statement(select(func.max(figure_segments.c.first_seq))).ahead({})
_STARTS = Statement(select(figure_segments.c.first_seq).where(figure_segments.c.first_seq == given("at")))
_CUT = Statement(insert(figure_segments))
_ADD_CALLS, _ADD_AMOUNTS = adding(figure_calls), adding(figure_amounts)
_ADD_SESSIONS = Statement(
    "INSERT INTO figure_sessions (day, segment, imported, session) "
    "VALUES (:day, :segment, :imported, :session) ON CONFLICT DO NOTHING"
)
_ADD_DAYS = Statement(
    "INSERT INTO figure_days (day, first_seq, last_seq) VALUES (:day, :first, :last) "
    "ON CONFLICT (day) DO UPDATE SET last_seq = excluded.last_seq"
)
_OPENED = Statement(
    "INSERT INTO figure_gates (run, opened_seq, day, closed_seq) VALUES (:run, :seq, :day, 0) "
    "ON CONFLICT DO NOTHING"
)
_CLOSED = Statement(
    update(figure_gates)
    .where(figure_gates.c.run == given("which"), figure_gates.c.closed_seq == 0)
    .values(closed_seq=given("seq"))
)
_UNFINISHED = Statement(insert(figure_unfinished))
_LATE = Statement(insert(figure_late))


@dataclass(frozen=True, slots=True)
class Unfinished:
    """A call that its process's end, event ``seq``, left without one."""

    seq: int
    started_seq: int
    time_us: int
    machine: str


@dataclass(frozen=True, slots=True)
class Late:
    """An imported call whose end came at event ``ended_seq``, not directly after its start."""

    started_seq: int
    time_us: int
    machine: str
    ended_seq: int


def cut(tx: Tx, size: int) -> None:
    """The ledger of this size ends a segment: what follows is in the next one."""
    if _STARTS.one(tx.connection, {"at": size + 1}) is None:
        _CUT.run(tx.connection, {"first_seq": size + 1})


def segment(tx: Tx, first_seq: int) -> int:
    """Which segment the next event is in; it begins one where there is none."""
    found: int | None = _SEGMENT.one(tx.connection, {})[0]
    if found is None:
        _CUT.run(tx.connection, {"first_seq": first_seq})
    return first_seq if found is None else found


def count(
    tx: Tx, within: int, events: Sequence[Recorded], unfinished: Sequence[Unfinished], late: Sequence[Late]
) -> None:
    """Adds events that are being appended, in order, to a segment. Reads nothing."""
    found = _Found()
    for recorded in events:
        found.add(recorded)
    found.write(tx, within)
    rows = [(each.seq, each.started_seq, each.time_us, each.machine) for each in unfinished]
    _UNFINISHED.many_rows(tx.connection, ("seq", "started_seq", "time_us", "machine"), rows)
    late_rows = [(each.started_seq, each.time_us, each.machine, each.ended_seq) for each in late]
    _LATE.many_rows(tx.connection, ("started_seq", "time_us", "machine", "ended_seq"), late_rows)


class _Found:
    """What some events add."""

    def __init__(self) -> None:
        self._calls: Counter[tuple[int, int, str, str]] = Counter()  # quarter, imported, machine, outcome
        self._amounts: Counter[tuple[int, int, str]] = Counter()
        self._sessions: dict[tuple[int, int, str], None] = {}
        self._days: dict[int, tuple[int, int]] = {}
        self._gates: list[tuple[bool, str, int, int]] = []

    def add(self, recorded: Recorded) -> None:
        """Adds one."""
        seq, time_us = recorded.seq, recorded.time_us
        day = time_us // DAY_US
        bounds = self._days.get(day)
        self._days[day] = (seq if bounds is None else bounds[0], seq)
        event: Any = recorded.event
        if (kind := _KIND.get(type(event))) is None:
            return
        refs, imported = recorded.refs, int(recorded.source is Source.IMPORT)
        if kind == ToolCallEnded.KIND:
            self._calls[time_us // QUARTER_US, imported, refs.machine, event.outcome] += 1
            self._sessions[day, imported, refs.session] = None
            if isinstance(event, ToolCallEndedV2) and event.size:
                self._amounts[day, imported, Amount.BYTES] += event.size
        elif kind == ToolCallStarted.KIND:
            self._sessions[day, imported, refs.session] = None
            if event.tool in SUBAGENT:
                self._amounts[day, imported, Amount.SUBAGENTS] += 1
        elif kind in _SESSIONS:
            self._sessions[day, imported, refs.session] = None
        elif kind in _SINGLE:
            self._amounts[day, imported, _SINGLE[kind]] += 1
        elif kind == UsageReported.KIND:
            self._amounts[day, imported, Amount.COST] += event.cost_udollar
        elif kind == TaskMoved.KIND:
            self._amounts[day, imported, f"{Amount.END}{event.new}"] += 1
        elif kind == GateOpened.KIND:
            self._gates.append((True, refs.gate_run, seq, day))
        else:
            self._gates.append((False, refs.gate_run, seq, day))
            self._amounts[day, imported, f"{Amount.GATE}{event.outcome}"] += 1

    def write(self, tx: Tx, segment: int) -> None:
        """Adds it to what is kept."""
        connection = tx.connection
        calls = [(segment, *where, number) for where, number in self._calls.items()]
        by_day: Counter[tuple[int, int, str, str]] = Counter()
        for (quarter, imported, machine, outcome), number in self._calls.items():
            by_day[quarter * QUARTER_US // DAY_US, imported, f"{Amount.CALL}{outcome}", machine] += number
        for (day, imported, name), number in self._amounts.items():
            by_day[day, imported, name, ""] += number
        amounts = [(day, segment, *where, number) for (day, *where), number in by_day.items() if number]
        sessions = [(day, segment, imported, session) for day, imported, session in self._sessions]
        days = [(day, *bounds) for day, bounds in self._days.items()]
        _ADD_CALLS.many_rows(connection, ("segment", "quarter", "imported", "machine", "outcome", "calls"), calls)
        _ADD_AMOUNTS.many_rows(connection, ("day", "segment", "imported", "name", "machine", "amount"), amounts)
        _ADD_SESSIONS.many_rows(connection, ("day", "segment", "imported", "session"), sessions)
        _ADD_DAYS.many_rows(connection, ("day", "first", "last"), days)
        for opened, run, seq, day in self._gates:
            if opened:
                _OPENED.run(connection, {"run": run, "seq": seq, "day": day})
            else:
                _CLOSED.run(connection, {"which": run, "seq": seq})


_BOUNDS = Statement("SELECT min(first_seq), max(last_seq) FROM figure_days WHERE day >= :first AND day <= :last")
_BEGUN = Statement("SELECT min(first_seq) FROM figure_segments")
_OLDER = Statement(
    "SELECT seq FROM ledger WHERE time_us >= :from_us AND time_us < :upto_us AND seq < :begun LIMIT 1"
)
_BETWEEN = Statement("SELECT min(seq), max(seq) FROM ledger WHERE time_us >= :from_us AND time_us < :upto_us")
_AMOUNTS_OF_DAYS = Statement(
    "SELECT day, name, machine, sum(amount) FROM figure_amounts WHERE day >= :first AND day <= :last "
    "GROUP BY day, name, machine"
)
_CALLS_OF_DAYS = Statement(
    "SELECT quarter, machine, outcome, sum(calls) FROM figure_calls "
    "WHERE segment IN (SELECT first_seq FROM figure_segments) AND quarter >= :first AND quarter < :upto "
    "GROUP BY quarter, machine, outcome"
)
_SESSIONS_OF_DAYS = Statement("SELECT DISTINCT session FROM figure_sessions WHERE day >= :first AND day <= :last")
_AMOUNTS = Statement(
    "SELECT day, name, machine, amount FROM figure_amounts "
    "WHERE segment >= :first AND segment <= :last AND imported = 0"
)
_SESSIONS_IN = Statement(
    "SELECT DISTINCT session FROM figure_sessions WHERE segment >= :first AND segment <= :last AND imported = 0"
)
_CALLS = Statement(
    "SELECT quarter, machine, outcome, calls FROM figure_calls "
    "WHERE segment >= :first AND segment <= :last AND imported = 0"
)
_UNFINISHED_IN = Statement(
    "SELECT time_us, machine FROM figure_unfinished WHERE seq >= :first AND seq <= :last AND started_seq >= :first"
)
_UNFINISHED_AT = Statement(
    "SELECT time_us, machine FROM figure_unfinished "
    "WHERE time_us >= :from_us AND time_us < :upto_us AND started_seq >= :first"
)
_LATE_AT = Statement(
    "SELECT time_us, machine FROM figure_late "
    "WHERE time_us >= :from_us AND time_us < :upto_us AND ended_seq > :last "
    "UNION ALL SELECT time_us, machine FROM open_calls "
    "WHERE time_us >= :from_us AND time_us < :upto_us AND imported = 1"
)
_OPEN_GATES = Statement(
    "SELECT run FROM figure_gates "
    "WHERE opened_seq >= :first AND opened_seq <= :last AND (closed_seq = 0 OR closed_seq > :last)"
)
_OPEN_GATES_AT = Statement(
    "SELECT figure_gates.run FROM figure_gates JOIN ledger ON ledger.seq = figure_gates.opened_seq "
    "WHERE opened_seq >= :first AND opened_seq <= :last AND (closed_seq = 0 OR closed_seq > :last) "
    "AND ledger.time_us >= :from_us AND ledger.time_us < :upto_us"
)


@dataclass(frozen=True, slots=True)
class KeptFigures:
    """What is kept of a range. ``calls`` have the time of their quarter of an hour or of their day, ``unfinished``
    their own."""

    calls: list[tuple[int, str, str, int]]
    amounts: list[tuple[str, int]]
    sessions: list[str]
    unfinished: list[tuple[int, str]]
    open_gates: list[str]


@dataclass(frozen=True, slots=True)
class KeptPeriod:
    """What is kept of a period. ``whole`` has the sums of its whole UTC days, and of all of it what no sum can say;
    the sums of ``edges``, the times before and behind these days, are those of their events up to ``last_seq``.
    The period's events are between ``first_seq`` and ``last_seq``, which is 0 where there are none."""

    whole: KeptFigures
    edges: tuple[tuple[int, int], ...]
    first_seq: int
    last_seq: int


def of_segments(tx: Tx, first_seq: int, last_seq: int, size: int, *, by_quarter: bool) -> KeptFigures | None:
    """What is kept of a range of events; ``None`` where it is not whole segments. ``by_quarter``: for days that are
    not UTC's."""
    connection, ends = tx.connection, {"first": first_seq, "last": last_seq}
    begins = _STARTS.one(connection, {"at": first_seq}) is not None
    if not begins or not (last_seq == size or _STARTS.one(connection, {"at": last_seq + 1}) is not None):
        return None
    calls, amounts = _split(_AMOUNTS.all(connection, ends))
    if by_quarter:
        found = _CALLS.all(connection, ends)
        calls = [(quarter * QUARTER_US, machine, outcome, number) for quarter, machine, outcome, number in found]
    return KeptFigures(
        calls,
        amounts,
        [session for (session,) in _SESSIONS_IN.all(connection, ends)],
        [tuple(row) for row in _UNFINISHED_IN.all(connection, ends)],
        [run for (run,) in _OPEN_GATES.all(connection, ends)],
    )


def of_period(tx: Tx, from_us: int, upto_us: int) -> KeptPeriod | None:
    """What is kept of a period; ``None`` where some of it is older than what is kept."""
    connection = tx.connection
    (begun,) = _BEGUN.one(connection, {})
    times = {"from_us": from_us, "upto_us": upto_us}
    if begun is None or (begun > 1 and _OLDER.all(connection, {**times, "begun": begun})):
        return None
    begin, end = -(-from_us // DAY_US) * DAY_US, upto_us // DAY_US * DAY_US
    parts = ((from_us, begin), (end, upto_us)) if begin < end else ((from_us, upto_us),)
    edges = tuple((first, after) for first, after in parts if first < after)
    days = {"first": begin // DAY_US, "last": end // DAY_US - 1}
    quarters = {"first": begin // QUARTER_US, "upto": end // QUARTER_US}
    found = [_BOUNDS.one(connection, days)]
    found += (_BETWEEN.one(connection, {"from_us": first, "upto_us": after}) for first, after in edges)
    bounds = [(first, last) for first, last in found if first is not None]
    if not bounds:
        return KeptPeriod(KeptFigures([], [], [], [], []), (), 1, 0)
    first, last = min(each[0] for each in bounds), max(each[1] for each in bounds)
    _, amounts = _split(_AMOUNTS_OF_DAYS.all(connection, days))
    late = _LATE_AT.all(connection, {**times, "last": last})
    whole = KeptFigures(
        [
            (quarter * QUARTER_US, machine, outcome, int(number))
            for quarter, machine, outcome, number in _CALLS_OF_DAYS.all(connection, quarters)
        ],
        amounts,
        [session for (session,) in _SESSIONS_OF_DAYS.all(connection, days)],
        [tuple(row) for row in (*_UNFINISHED_AT.all(connection, {**times, "first": first}), *late)],
        [run for (run,) in _OPEN_GATES_AT.all(connection, {**times, "first": first, "last": last})],
    )
    return KeptPeriod(whole, edges, first, last)


def _split(rows: Sequence[Any]) -> tuple[list[tuple[int, str, str, int]], list[tuple[str, int]]]:
    """Calls, with the beginning of their day, machine and outcome; and what else is added up."""
    calls, amounts = [], []
    for day, name, machine, amount in rows:
        if name.startswith(Amount.CALL):
            calls.append((day * DAY_US, machine, name.removeprefix(Amount.CALL), int(amount)))
        else:
            amounts.append((name, int(amount)))
    return calls, amounts


def as_calls(unfinished: Sequence[tuple[int, str]]) -> list[tuple[int, str, str, int]]:
    """Unfinished calls among the others."""
    return [(time_us, machine, UNFINISHED, 1) for time_us, machine in unfinished]
