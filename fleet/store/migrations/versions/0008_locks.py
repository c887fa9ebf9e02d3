"""Locks: holds, the resources of each, and the fencing tokens of each scope."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0008"
down_revision = "0007"

_BIG = sa.BigInteger().with_variant(sa.Integer(), "sqlite")


def _text(name: str) -> sa.Column[str]:
    return sa.Column(name, sa.Text(), nullable=False)


def _number(name: str) -> sa.Column[int]:
    return sa.Column(name, _BIG, nullable=False)


def upgrade() -> None:
    op.create_table(
        "holds",
        _text("id"),
        _text("holder"),
        _text("task"),
        _text("secret_sha256"),
        _number("since_us"),
        _number("ended_us"),
        _text("end"),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_holds")),
    )
    op.create_index(op.f("ix_holds_ended_us"), "holds", ["ended_us"])
    op.create_index(op.f("ix_holds_task"), "holds", ["task"])
    op.create_table(
        "locks",
        _text("scope"),
        sa.Column("token", _BIG, autoincrement=False, nullable=False),
        _text("hold"),
        _text("name"),
        _text("repo"),
        _text("head"),
        _text("mode"),
        _text("cause"),
        _number("since_us"),
        _number("ended_us"),
        sa.PrimaryKeyConstraint("scope", "token", name=op.f("pk_locks")),
        sa.ForeignKeyConstraint(["hold"], ["holds.id"], name=op.f("fk_locks_hold_holds")),
    )
    op.create_index(op.f("ix_locks_hold"), "locks", ["hold"])
    op.create_index(op.f("ix_locks_scope_ended_us_head"), "locks", ["scope", "ended_us", "head"])
    op.create_table(
        "lock_tokens",
        _text("scope"),
        _number("token"),
        sa.PrimaryKeyConstraint("scope", name=op.f("pk_lock_tokens")),
    )
