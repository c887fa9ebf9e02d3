"""Processes of closed sessions that are to be ended once their machine answers; of closed ones before, too."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

from fleet.store.migrations.steps import create, numbers, texts

revision = "0049"
down_revision = "0048"


def upgrade() -> None:
    create(
        "left_running",
        *texts("pipe", "session", "kind"),
        *numbers("since_us"),
        sa.ForeignKeyConstraint(["session"], ["sessions.id"], name=op.f("fk_left_running_session_sessions")),
        key=["pipe"],
    )
    op.execute(
        "INSERT INTO left_running (pipe, session, kind, since_us) "
        "SELECT pipe, id, 'agent', ended_us FROM sessions WHERE ended_us > 0 AND pipe <> '' AND pipe_end = ''"
    )
