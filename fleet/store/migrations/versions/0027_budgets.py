"""What agents used, computed from the ledger; limits of a task; tasks that were halted."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict

import sqlalchemy as sa
from alembic import op

from fleet.errors import Malformed
from fleet.events import Recorded, decode
from fleet.usage import UsageCounter

revision = "0027"
down_revision = "0025"

_BIG = sa.BigInteger().with_variant(sa.Integer(), "sqlite")
_PAGE = 5_000
_COUNTED = (
    *("task.requested", "session.placed", "usage.reported", "tool.started", "turn.started", "turn.closed"),
    "pipe.ended",
)
_AMOUNTS = (
    *("cost_udollar", "input_tokens", "output_tokens", "unpriced_input", "unpriced_output"),
    *("calls", "attempts", "time_us"),
)
_ledger = sa.table("ledger", *(sa.column(name) for name in ("seq", "kind", "canonical")))
_usage = sa.table("usage", *(sa.column(name) for name in ("scope", "name", "slot", "agent", *_AMOUNTS)))
_unpriced = sa.table("unpriced_usage", *(sa.column(name) for name in ("session", "slot", "input", "output")))


def _readable(canonical: bytes) -> Recorded | None:
    """The event; ``None`` when it cannot be read: a damaged row must not stop an upgrade."""
    try:
        return decode(canonical)
    except Malformed:
        return None


def upgrade() -> None:
    op.add_column("tasks", sa.Column("budget", sa.Text(), server_default="", nullable=False))
    op.create_table(
        "usage",
        *(_text("scope"), _text("name"), _key("slot"), _text("agent")),
        *(sa.Column(name, _BIG, nullable=False) for name in _AMOUNTS),
        sa.PrimaryKeyConstraint("scope", "name", "slot", "agent", name=op.f("pk_usage")),
    )
    op.create_index(op.f("ix_usage_scope_slot"), "usage", ["scope", "slot"])
    op.create_table(
        "unpriced_usage",
        *(_text("session"), _key("slot")),
        *(sa.Column(name, _BIG, nullable=False) for name in ("input", "output")),
        sa.PrimaryKeyConstraint("session", "slot", name=op.f("pk_unpriced_usage")),
    )
    op.create_table(
        "budget_grants",
        *(_text("scope"), _text("name"), _text("measure"), _key("slot")),
        sa.Column("amount", _BIG, nullable=False),
        sa.PrimaryKeyConstraint("scope", "name", "measure", "slot", name=op.f("pk_budget_grants")),
    )
    op.create_table(
        "halts",
        *(_text("session"), _text("turn"), _text("cause"), _text("words")),
        sa.PrimaryKeyConstraint("session", name=op.f("pk_halts")),
    )
    op.create_table(
        "repeats",
        *(_text("session"), _text("fingerprint"), sa.Column("times", _BIG, nullable=False)),
        sa.PrimaryKeyConstraint("session", name=op.f("pk_repeats")),
    )
    _fold(op.get_bind())


def _text(name: str) -> sa.Column[str]:
    return sa.Column(name, sa.Text(), nullable=False)


def _key(name: str) -> sa.Column[int]:
    return sa.Column(name, _BIG, autoincrement=False, nullable=False)


def _fold(connection: sa.Connection) -> None:
    counter = UsageCounter()
    for page in _pages(connection):
        counter.fold(event for row in page if (event := _readable(bytes(row.canonical))) is not None)
    _insert(connection, _usage, [{**key.row(), **asdict(used)} for key, used in counter.used.items() if used])
    owed = [
        {"session": session, "slot": slot, "input": tokens_in, "output": tokens_out}
        for (session, slot), (tokens_in, tokens_out) in counter.unpriced.items()
    ]
    _insert(connection, _unpriced, owed)


def _pages(connection: sa.Connection) -> Iterator[list[sa.Row[tuple[object, ...]]]]:
    after = 0
    counted = sa.func.coalesce(_ledger.c.kind, "").in_(_COUNTED)
    query = sa.select(_ledger).where(counted).order_by(_ledger.c.seq).limit(_PAGE)
    while page := list(connection.execute(query.where(_ledger.c.seq > after))):
        yield page
        after = page[-1].seq


def _insert(connection: sa.Connection, table: sa.TableClause, rows: Sequence[Mapping[str, object]]) -> None:
    if rows:
        connection.execute(sa.insert(table), list(rows))
