"""Tool call counts by UTC day and outcome, updated in the transaction that appends the events.

``fleet.figures.ToolCallCounter`` defines what is counted; ``fleet.store.recount`` computes the same from the
ledger.
"""

from __future__ import annotations

import hashlib
from collections import Counter
from collections.abc import Iterable

from sqlalchemy import bindparam, delete, func, select, text

from fleet.events import PipeEnded, Recorded, ToolCallEnded, ToolCallStarted
from fleet.figures import DAY_US, UNFINISHED, WINDOW_DAYS, ToolCalls
from fleet.store.core import Tx
from fleet.store.statements import Statement
from fleet.store.tables import open_calls, tool_calls

_OPEN = Statement(text("INSERT INTO open_calls (session, call) VALUES (:session, :call) ON CONFLICT DO NOTHING"))
_CLOSE = Statement(
    delete(open_calls).where(open_calls.c.session == bindparam("whose"), open_calls.c.call == bindparam("which"))
)
_LEFT = select(func.count()).select_from(open_calls).where(open_calls.c.session == bindparam("whose"))
_IS_OPEN = select(open_calls.c.call).where(
    open_calls.c.session == bindparam("whose"), open_calls.c.call == bindparam("which")
)
_CLEAR = delete(open_calls).where(open_calls.c.session == bindparam("whose"))
_COUNT = Statement(
    text(
        "INSERT INTO tool_calls (day, outcome, calls) VALUES (:day, :outcome, :calls) "
        "ON CONFLICT (day, outcome) DO UPDATE SET calls = tool_calls.calls + excluded.calls"
    )
)
_WINDOW = (
    select(tool_calls.c.outcome, func.sum(tool_calls.c.calls))
    .where(tool_calls.c.day > bindparam("after"), tool_calls.c.day <= bindparam("upto"))
    .group_by(tool_calls.c.outcome)
)


def has_open_call(tx: Tx, session: str) -> bool:
    """Whether a tool call of the session has started and not ended."""
    return bool(tx.connection.execute(_LEFT, {"whose": session}).scalar_one())


def is_open(tx: Tx, session: str, call: str) -> bool:
    """Whether this call of the session has started and not ended."""
    return tx.connection.execute(_IS_OPEN, {"whose": session, "which": call_key(call)}).first() is not None


def call_key(call: str) -> str:
    """A hash for an agent's call id, which may be long or contain what a database's text cannot hold."""
    return hashlib.sha256(call.encode("utf-8", "surrogatepass")).hexdigest()


def count(tx: Tx, events: Iterable[Recorded]) -> None:
    """Counts events that are being appended, in order."""
    counts: Counter[tuple[int, str]] = Counter()
    opened: dict[tuple[str, str], None] = {}
    ended: dict[tuple[str, str], None] = {}
    for recorded in events:
        day, session = recorded.time_us // DAY_US, recorded.refs.session
        match recorded.event:
            case ToolCallStarted(call=call):
                opened[session, call_key(call)] = None
            case ToolCallEnded(call=call, outcome=outcome):
                key = (session, call_key(call))
                opened.pop(key, None)
                ended[key] = None
                counts[day, outcome] += 1
            case PipeEnded():
                _settle(tx, opened, ended)
                opened, ended = {}, {}
                left = tx.connection.execute(_LEFT, {"whose": session}).scalar_one()
                if left:
                    counts[day, UNFINISHED] += left
                    tx.connection.execute(_CLEAR, {"whose": session})
            case _:
                pass
    _settle(tx, opened, ended)
    if counts:
        rows = [(day, outcome, calls) for (day, outcome), calls in counts.items()]
        _COUNT.many_rows(tx.connection, ("day", "outcome", "calls"), rows)


def _settle(tx: Tx, opened: dict[tuple[str, str], None], ended: dict[tuple[str, str], None]) -> None:
    _CLOSE.many_rows(tx.connection, ("whose", "which"), list(ended))
    _OPEN.many_rows(tx.connection, ("session", "call"), list(opened))


def window(tx: Tx, now_us: int, days: int = WINDOW_DAYS) -> ToolCalls:
    """The tool calls that ended on the UTC day of ``now_us`` or the ``days - 1`` days before it."""
    today = now_us // DAY_US
    found = tx.connection.execute(_WINDOW, {"after": today - days, "upto": today})
    return ToolCalls.of({outcome: int(calls) for outcome, calls in found})


def total(tx: Tx) -> ToolCalls:
    """All tool calls that were counted."""
    query = select(tool_calls.c.outcome, func.sum(tool_calls.c.calls)).group_by(tool_calls.c.outcome)
    return ToolCalls.of({outcome: int(calls) for outcome, calls in tx.connection.execute(query)})
