"""The order of the queue, tasks that start after another one, and where nothing new may start."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

from fleet.store.migrations.steps import BIG, create, index, numbers, texts

revision = "0012"
down_revision = "0011"


def upgrade() -> None:
    op.add_column("tasks", sa.Column("rank", BIG, nullable=False, server_default="0"))
    op.add_column("tasks", sa.Column("after_task", sa.Text(), nullable=False, server_default=""))
    index("tasks", "state", "rank", "number")
    create("pauses", *texts("machine", "paused_by"), *numbers("since_us"), key=["machine"])
