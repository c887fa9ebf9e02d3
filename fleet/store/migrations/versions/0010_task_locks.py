"""What each task declared that it will lock."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0010"
down_revision = "0009"


def upgrade() -> None:
    op.add_column("tasks", sa.Column("locks", sa.Text(), nullable=False, server_default=""))
