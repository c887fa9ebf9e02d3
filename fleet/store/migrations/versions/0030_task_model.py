"""The model that a person chose for a task."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0030"
down_revision = "0029"


def upgrade() -> None:
    op.add_column("tasks", sa.Column("model", sa.Text(), server_default="", nullable=False))
