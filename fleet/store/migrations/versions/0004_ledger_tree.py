"""The ledger's Merkle tree and tool call counts, computed from the ledger; two more indexes on it."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence

import sqlalchemy as sa
from alembic import op

from fleet.events import decode
from fleet.events.merkle import Frontier
from fleet.figures import ToolCallCounter
from fleet.store.migrations.steps import blobs, counted, create, index, numbers, texts
from fleet.store.rollups import call_key

revision = "0004"
down_revision = "0003"

_PAGE = 5_000
_COUNTED = frozenset({"tool.started", "tool.ended", "pipe.ended"})

_ledger = sa.table("ledger", *(sa.column(name) for name in ("seq", "kind", "canonical", "leaf")))
_frontier = sa.table("ledger_frontier", *(sa.column(name) for name in ("id", "size", "hashes")))
_nodes = sa.table("ledger_nodes", *(sa.column(name) for name in ("level", "position", "hash")))
_calls = sa.table("tool_calls", *(sa.column(name) for name in ("day", "outcome", "calls")))
_open = sa.table("open_calls", *(sa.column(name) for name in ("session", "call")))


def upgrade() -> None:
    index("ledger", "time_us", "seq")
    index("ledger", "task", "kind", "seq")
    create("ledger_frontier", counted("id"), *numbers("size"), *blobs("hashes"), key=["id"])
    create("ledger_nodes", counted("level"), counted("position"), *blobs("hash"), key=["level", "position"])
    create("tool_calls", counted("day"), *texts("outcome"), *numbers("calls"), key=["day", "outcome"])
    create("open_calls", *texts("session", "call"), key=["session", "call"])
    _fold(op.get_bind())


def _fold(connection: sa.Connection) -> None:
    counter, frontier = ToolCallCounter(), Frontier()
    for page in _pages(connection):
        counter.fold(decode(bytes(row.canonical)) for row in page if row.kind in _COUNTED)
        nodes = [node for row in page for node in frontier.add(bytes(row.leaf))]
        rows = [{"level": node.level, "position": node.position, "hash": node.hash} for node in nodes]
        _insert(connection, _nodes, rows)
    _insert(connection, _frontier, [{"id": 1, "size": frontier.size, "hashes": frontier.dump()}])
    counts = [
        {"day": day, "outcome": outcome, "calls": calls}
        for day, outcomes in counter.days.items()
        for outcome, calls in outcomes.items()
        if calls
    ]
    _insert(connection, _calls, counts)
    left = [
        {"session": session, "call": call_key(call)}
        for session, calls in counter.open_calls.items()
        for call in calls
    ]
    _insert(connection, _open, left)


def _pages(connection: sa.Connection) -> Iterator[list[sa.Row[tuple[object, ...]]]]:
    after = 0
    query = sa.select(_ledger).order_by(_ledger.c.seq).limit(_PAGE)
    while page := list(connection.execute(query.where(_ledger.c.seq > after))):
        yield page
        after = page[-1].seq


def _insert(connection: sa.Connection, table: sa.TableClause, rows: Sequence[Mapping[str, object]]) -> None:
    if rows:
        connection.execute(sa.insert(table), list(rows))
