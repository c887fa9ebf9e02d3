"""Processes of closed sessions that are to be ended once their machine answers; of closed ones before, too."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0049"
down_revision = "0048"

_BIG = sa.BigInteger().with_variant(sa.Integer(), "sqlite")


def upgrade() -> None:
    op.create_table(
        "left_running",
        sa.Column("pipe", sa.Text(), nullable=False),
        sa.Column("session", sa.Text(), nullable=False),
        sa.Column("kind", sa.Text(), nullable=False),
        sa.Column("since_us", _BIG, nullable=False),
        sa.ForeignKeyConstraint(["session"], ["sessions.id"], name=op.f("fk_left_running_session_sessions")),
        sa.PrimaryKeyConstraint("pipe", name=op.f("pk_left_running")),
    )
    op.execute(
        "INSERT INTO left_running (pipe, session, kind, since_us) "
        "SELECT pipe, id, 'agent', ended_us FROM sessions WHERE ended_us > 0 AND pipe <> '' AND pipe_end = ''"
    )
