"""Figures that are kept while events are appended. They begin with the next event."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

from fleet.store.migrations.steps import BIG, index

revision = "0045"
down_revision = "0044"


def upgrade() -> None:
    _create("figure_segments", _key("first_seq"))
    _create(
        "figure_calls",
        *(_key(name) for name in ("segment", "quarter", "imported")),
        *(_text(name) for name in ("machine", "outcome")),
        values=(_number("calls"),),
    )
    days = [_key(name) for name in ("day", "segment", "imported")]
    _create("figure_amounts", *days, _text("name"), _text("machine"), values=(_number("amount"),))
    days = [_key(name) for name in ("day", "segment", "imported")]
    _create("figure_sessions", *days, _text("session"))
    for table in ("figure_amounts", "figure_sessions"):
        op.create_index(op.f(f"ix_{table}_segment"), table, ["segment"])
    _create("figure_days", _key("day"), values=(_number("first_seq"), _number("last_seq")))
    _create(
        "figure_gates",
        _text("run"),
        _key("opened_seq"),
        values=(_number("day"), _number("closed_seq")),
    )
    index("figure_gates", "opened_seq", "closed_seq")
    _create("figure_unfinished", _key("seq"), _key("started_seq"), values=(_number("time_us"), _text("machine")))
    _create(
        "figure_late",
        _key("started_seq"),
        values=(_number("time_us"), _text("machine"), _number("ended_seq")),
    )
    for name, kind in (("seq", BIG), ("time_us", BIG), ("machine", sa.Text()), ("imported", BIG)):
        empty = "" if name == "machine" else "0"
        op.add_column("open_calls", sa.Column(name, kind, nullable=False, server_default=empty))
    for table in ("figure_unfinished", "figure_late", "open_calls"):
        op.create_index(op.f(f"ix_{table}_time_us"), table, ["time_us"])
    # The number of the next event: what was before is in no figure that is kept.
    op.execute("INSERT INTO figure_segments (first_seq) SELECT coalesce(max(seq), 0) + 1 FROM ledger")


def _create(table: str, *keys: sa.Column[object], values: tuple[sa.Column[object], ...] = ()) -> None:
    names = [column.name for column in keys]
    op.create_table(table, *keys, *values, sa.PrimaryKeyConstraint(*names, name=op.f(f"pk_{table}")))


def _key(name: str) -> sa.Column[object]:
    return sa.Column(name, BIG, autoincrement=False, nullable=False)


def _number(name: str) -> sa.Column[object]:
    return sa.Column(name, BIG, nullable=False)


def _text(name: str) -> sa.Column[object]:
    return sa.Column(name, sa.Text(), nullable=False)
