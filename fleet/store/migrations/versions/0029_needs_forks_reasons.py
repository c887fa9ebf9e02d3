"""What a task's machine must offer, whose work a task begins with, and why nothing new may start."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0029"
down_revision = "0028"


def upgrade() -> None:
    op.add_column("tasks", sa.Column("needs", sa.Text(), nullable=False, server_default=""))
    op.add_column("tasks", sa.Column("forked", sa.Text(), nullable=False, server_default=""))
    op.add_column("pauses", sa.Column("reason", sa.Text(), nullable=False, server_default=""))
