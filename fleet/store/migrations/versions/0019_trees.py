"""What became of the worktrees of tasks that did not land."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0019"
down_revision = "0018"

_BIG = sa.BigInteger().with_variant(sa.Integer(), "sqlite")


def upgrade() -> None:
    op.create_table(
        "trees",
        sa.Column("session", sa.Text(), nullable=False),
        sa.Column("state", sa.Text(), nullable=False),
        sa.Column("decided_by", sa.Text(), nullable=False),
        sa.Column("kept_us", _BIG, nullable=False),
        sa.Column("changed_us", _BIG, nullable=False),
        sa.PrimaryKeyConstraint("session", name=op.f("pk_trees")),
    )
    op.create_index(op.f("ix_trees_state"), "trees", ["state"])
