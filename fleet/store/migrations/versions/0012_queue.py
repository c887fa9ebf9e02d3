"""The order of the queue, tasks that start after another one, and where nothing new may start."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0012"
down_revision = "0011"

_BIG = sa.BigInteger().with_variant(sa.Integer(), "sqlite")


def upgrade() -> None:
    op.add_column("tasks", sa.Column("rank", _BIG, nullable=False, server_default="0"))
    op.add_column("tasks", sa.Column("after_task", sa.Text(), nullable=False, server_default=""))
    op.create_index(op.f("ix_tasks_state_rank_number"), "tasks", ["state", "rank", "number"])
    op.create_table(
        "pauses",
        sa.Column("machine", sa.Text(), nullable=False),
        sa.Column("paused_by", sa.Text(), nullable=False),
        sa.Column("since_us", _BIG, nullable=False),
        sa.PrimaryKeyConstraint("machine", name=op.f("pk_pauses")),
    )
