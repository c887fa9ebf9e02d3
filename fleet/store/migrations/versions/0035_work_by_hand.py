"""People who work by hand in an agent's session."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0035"
down_revision = "0030"

_BIG = sa.BigInteger().with_variant(sa.Integer(), "sqlite")


def upgrade() -> None:
    op.create_table(
        "takeovers",
        sa.Column("id", _BIG, autoincrement=True, nullable=False),
        *(_text(name) for name in ("task", "session", "by", "name", "pipe", "nonce", "terminal", "then", "state")),
        *(sa.Column(name, _BIG, nullable=False) for name in ("since_us", "ended_us")),
        sa.ForeignKeyConstraint(["session"], ["sessions.id"], name=op.f("fk_takeovers_session_sessions")),
        sa.ForeignKeyConstraint(["task"], ["tasks.id"], name=op.f("fk_takeovers_task_tasks")),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_takeovers")),
    )
    op.create_index(op.f("ix_takeovers_task"), "takeovers", ["task"])


def _text(name: str) -> sa.Column[str]:
    return sa.Column(name, sa.Text(), nullable=False)
