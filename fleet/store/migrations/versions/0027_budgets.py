"""What agents used, computed from the ledger; limits of a task; tasks that were halted."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict

import sqlalchemy as sa
from alembic import op

from fleet.errors import Malformed
from fleet.events import Recorded, decode
from fleet.store.migrations.steps import BIG, counted, create, index, numbers, texts
from fleet.usage import UsageCounter

revision = "0027"
down_revision = "0025"

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
    create(
        "usage",
        *texts("scope", "name"),
        counted("slot"),
        *texts("agent"),
        *(sa.Column(name, BIG, nullable=False) for name in _AMOUNTS),
        key=["scope", "name", "slot", "agent"],
    )
    index("usage", "scope", "slot")
    create(
        "unpriced_usage",
        *texts("session"),
        counted("slot"),
        *(sa.Column(name, BIG, nullable=False) for name in ("input", "output")),
        key=["session", "slot"],
    )
    create(
        "budget_grants",
        *texts("scope", "name", "measure"),
        counted("slot"),
        *numbers("amount"),
        key=["scope", "name", "measure", "slot"],
    )
    create("halts", *texts("session", "turn", "cause", "words"), key=["session"])
    create("repeats", *texts("session", "fingerprint"), *numbers("times"), key=["session"])
    _fold(op.get_bind())


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
