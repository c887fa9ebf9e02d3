"""Random bits in what a session is called outside the store; older ones keep their names. Buttons by person."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

from fleet.store.migrations.steps import index

revision = "0011"
down_revision = "0010"


def upgrade() -> None:
    op.add_column("sessions", sa.Column("mark", sa.Text(), nullable=False, server_default=""))
    index("gate_runs", "pipe")
    index("actions", "person")
