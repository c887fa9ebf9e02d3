"""People who work by hand in an agent's session."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

from fleet.store.migrations.steps import BIG, create, index

revision = "0035"
down_revision = "0030"


def upgrade() -> None:
    create(
        "takeovers",
        sa.Column("id", BIG, autoincrement=True, nullable=False),
        *(_text(name) for name in ("task", "session", "by", "name", "pipe", "nonce", "terminal", "then", "state")),
        *(sa.Column(name, BIG, nullable=False) for name in ("since_us", "ended_us")),
        sa.ForeignKeyConstraint(["session"], ["sessions.id"], name=op.f("fk_takeovers_session_sessions")),
        sa.ForeignKeyConstraint(["task"], ["tasks.id"], name=op.f("fk_takeovers_task_tasks")),
        key=["id"],
    )
    index("takeovers", "task")


def _text(name: str) -> sa.Column[str]:
    return sa.Column(name, sa.Text(), nullable=False)
