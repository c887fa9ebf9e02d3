"""The ledger's Merkle tree and tool call counts, computed from the ledger; two more indexes on it."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence

import sqlalchemy as sa
from alembic import op

from fleet.events import decode
from fleet.events.merkle import Frontier
from fleet.figures import ToolCallCounter
from fleet.store.rollups import call_key

revision = "0004"
down_revision = "0003"

_BIG = sa.BigInteger().with_variant(sa.Integer(), "sqlite")
_PAGE = 5_000
_COUNTED = frozenset({"tool.started", "tool.ended", "pipe.ended"})

_ledger = sa.table("ledger", *(sa.column(name) for name in ("seq", "kind", "canonical", "leaf")))
_frontier = sa.table("ledger_frontier", *(sa.column(name) for name in ("id", "size", "hashes")))
_nodes = sa.table("ledger_nodes", *(sa.column(name) for name in ("level", "position", "hash")))
_calls = sa.table("tool_calls", *(sa.column(name) for name in ("day", "outcome", "calls")))
_open = sa.table("open_calls", *(sa.column(name) for name in ("session", "call")))


def upgrade() -> None:
    op.create_index(op.f("ix_ledger_time_us_seq"), "ledger", ["time_us", "seq"])
    op.create_index(op.f("ix_ledger_task_kind_seq"), "ledger", ["task", "kind", "seq"])
    op.create_table(
        "ledger_frontier",
        sa.Column("id", _BIG, autoincrement=False, nullable=False),
        sa.Column("size", _BIG, nullable=False),
        sa.Column("hashes", sa.LargeBinary(), nullable=False),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_ledger_frontier")),
    )
    op.create_table(
        "ledger_nodes",
        sa.Column("level", _BIG, autoincrement=False, nullable=False),
        sa.Column("position", _BIG, autoincrement=False, nullable=False),
        sa.Column("hash", sa.LargeBinary(), nullable=False),
        sa.PrimaryKeyConstraint("level", "position", name=op.f("pk_ledger_nodes")),
    )
    op.create_table(
        "tool_calls",
        sa.Column("day", _BIG, autoincrement=False, nullable=False),
        sa.Column("outcome", sa.Text(), nullable=False),
        sa.Column("calls", _BIG, nullable=False),
        sa.PrimaryKeyConstraint("day", "outcome", name=op.f("pk_tool_calls")),
    )
    op.create_table(
        "open_calls",
        sa.Column("session", sa.Text(), nullable=False),
        sa.Column("call", sa.Text(), nullable=False),
        sa.PrimaryKeyConstraint("session", "call", name=op.f("pk_open_calls")),
    )
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
