"""Tool call counts by UTC day and outcome, updated in the transaction that appends the events.

``fleet.figures.ToolCallCounter`` defines what is counted; ``tests/recount.py`` computes the same from the
ledger.
"""

from __future__ import annotations

import hashlib
from collections import Counter
from collections.abc import Sequence
from functools import cache

from sqlalchemy import bindparam, delete, func, select

from fleet.events import PipeEnded, Recorded, Source, ToolCallEnded, ToolCallStarted
from fleet.figures import DAY_US, UNFINISHED, WINDOW_DAYS, ToolCalls
from fleet.store.core import Tx
from fleet.store.day_figures import Late, Unfinished
from fleet.store.figure_tables import open_calls, tool_calls
from fleet.store.statements import Statement, adding

_OPEN = Statement(
    "INSERT INTO open_calls (session, call, seq, time_us, machine, imported) "
    "VALUES (:session, :call, :seq, :time_us, :machine, :imported) "
    "ON CONFLICT (session, call) DO UPDATE SET seq = excluded.seq WHERE open_calls.imported = 0"
)
_COLUMNS = ("session", "call", "seq", "time_us", "machine", "imported")
_STARTED = Statement(
    select(open_calls.c.call, open_calls.c.seq, open_calls.c.time_us, open_calls.c.machine).where(
        open_calls.c.session == bindparam("whose"), open_calls.c.imported == 1
    )
)
_UNENDED = Statement(select(open_calls.c.seq).where(open_calls.c.session == bindparam("whose")))
_CLOSE = Statement(
    delete(open_calls).where(open_calls.c.session == bindparam("whose"), open_calls.c.call == bindparam("which"))
)
_LEFT = (
    select(func.count())
    .select_from(open_calls)
    .where(open_calls.c.session == bindparam("whose"), open_calls.c.seq >= bindparam("since"))
)
_IS_OPEN = select(open_calls.c.call).where(
    open_calls.c.session == bindparam("whose"), open_calls.c.call == bindparam("which")
)
_CLEAR = delete(open_calls).where(open_calls.c.session == bindparam("whose"))
_COUNT = adding(tool_calls)
_WINDOW = (
    select(tool_calls.c.outcome, func.sum(tool_calls.c.calls))
    .where(tool_calls.c.day > bindparam("after"), tool_calls.c.day <= bindparam("upto"))
    .group_by(tool_calls.c.outcome)
)


def has_open_call(tx: Tx, session: str, since: int) -> bool:
    """Whether a tool call of the session has started at this event or later, and not ended."""
    return bool(tx.connection.execute(_LEFT, {"whose": session, "since": since}).scalar_one())


def is_open(tx: Tx, session: str, call: str) -> bool:
    """Whether this call of the session has started and not ended."""
    return tx.connection.execute(_IS_OPEN, {"whose": session, "which": call_key(call)}).first() is not None


def call_key(call: str) -> str:
    """A hash for an agent's call id, which may be long or contain what a database's text cannot hold."""
    return hashlib.sha256(call.encode("utf-8", "surrogatepass")).hexdigest()


_Key = tuple[str, str]
_Place = tuple[int, int, str]


def count(tx: Tx, events: Sequence[Recorded]) -> tuple[list[Unfinished], list[Late]]:
    """Counts events that are being appended, in order. Returns the calls that have no end for ever, and those that
    were imported and whose end came late."""
    counts: Counter[tuple[int, str]] = Counter()
    opened: dict[_Key, Recorded] = {}
    ended: dict[_Key, None] = {}
    unfinished, late = list[Unfinished](), list[Late]()
    hashed = cache(call_key)  # most calls begin and end among these
    before: dict[str, dict[_Key, _Place]] = {}
    for recorded in events:
        day, session = recorded.time_us // DAY_US, recorded.refs.session
        imported = recorded.source is Source.IMPORT
        match recorded.event:
            case ToolCallStarted(call=call):
                key = (session, hashed(call))
                if not imported or (key not in opened and key not in _before(tx, session, before)):
                    opened[key] = recorded
            case ToolCallEnded(call=call, outcome=outcome):
                key = (session, hashed(call))
                started = opened.pop(key, None)
                if imported:
                    place = _before(tx, session, before).pop(key, None) if started is None else _place(started)
                    if place is not None and 0 < place[0] < recorded.seq - 1:
                        late.append(Late(*place, recorded.seq))
                ended[key] = None
                counts[day, outcome] += 1
            case PipeEnded():
                _settle(tx, opened, ended)
                opened, ended = {}, {}
                left = [row.seq for row in _UNENDED.all(tx.connection, {"whose": session})]
                if left:
                    counts[day, UNFINISHED] += len(left)
                    tx.connection.execute(_CLEAR, {"whose": session})
                at = (recorded.time_us, recorded.refs.machine)
                unfinished += (Unfinished(recorded.seq, seq, *at) for seq in left if seq)
            case _:
                pass
    _settle(tx, opened, ended)
    if counts:
        rows = [(day, outcome, calls) for (day, outcome), calls in counts.items()]
        _COUNT.many_rows(tx.connection, ("day", "outcome", "calls"), rows)
    return unfinished, late


def _place(started: Recorded) -> _Place:
    return started.seq, started.time_us, started.refs.machine


def _before(tx: Tx, session: str, before: dict[str, dict[_Key, _Place]]) -> dict[_Key, _Place]:
    """The calls of an imported session that had no end before these events."""
    if session not in before:
        rows = _STARTED.all(tx.connection, {"whose": session})
        before[session] = {(session, row.call): (row.seq, row.time_us, row.machine) for row in rows}
    return before[session]


def _settle(tx: Tx, opened: dict[_Key, Recorded], ended: dict[_Key, None]) -> None:
    _CLOSE.many_rows(tx.connection, ("whose", "which"), list(ended))
    rows = [
        (*key, each.seq, each.time_us, each.refs.machine, int(each.source is Source.IMPORT))
        for key, each in opened.items()
    ]
    _OPEN.many_rows(tx.connection, _COLUMNS, rows)


def window(tx: Tx, now_us: int, days: int = WINDOW_DAYS) -> ToolCalls:
    """The tool calls that ended on the UTC day of ``now_us`` or the ``days - 1`` days before it."""
    today = now_us // DAY_US
    found = tx.connection.execute(_WINDOW, {"after": today - days, "upto": today})
    return ToolCalls.of({outcome: int(calls) for outcome, calls in found})


def total(tx: Tx) -> ToolCalls:
    """All tool calls that were counted."""
    query = select(tool_calls.c.outcome, func.sum(tool_calls.c.calls)).group_by(tool_calls.c.outcome)
    return ToolCalls.of({outcome: int(calls) for outcome, calls in tx.connection.execute(query)})
