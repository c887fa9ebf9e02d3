"""Random bits in what a session is called outside the store; older ones keep their names. Buttons by person."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0011"
down_revision = "0010"


def upgrade() -> None:
    op.add_column("sessions", sa.Column("mark", sa.Text(), nullable=False, server_default=""))
    op.create_index(op.f("ix_gate_runs_pipe"), "gate_runs", ["pipe"])
    op.create_index(op.f("ix_actions_person"), "actions", ["person"])
