"""Moves of a session onto a newer base, with its change merged in."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

from fleet.store.migrations.steps import BIG, create, index, numbers, texts

revision = "0025"
down_revision = "0024"


def upgrade() -> None:
    op.add_column("sessions", sa.Column("base_us", BIG, nullable=False, server_default="0"))
    create(
        "merges",
        sa.Column("id", BIG, autoincrement=True, nullable=False),
        *texts("session", "base"),
        *numbers("base_us"),
        *texts("snapshot", "commit", "tree", "why", "words", "state"),
        *numbers("at_us"),
        sa.ForeignKeyConstraint(["session"], ["sessions.id"], name=op.f("fk_merges_session_sessions")),
        key=["id"],
    )
    index("merges", "session")
