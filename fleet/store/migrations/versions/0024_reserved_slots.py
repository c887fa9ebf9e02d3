"""Slots that are kept for tasks which start, and whose turn it is to get one."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0024"
down_revision = "0020"

_BIG = sa.BigInteger().with_variant(sa.Integer(), "sqlite")


def upgrade() -> None:
    op.create_table(
        "reservations",
        sa.Column("task", sa.Text(), nullable=False),
        sa.Column("machine", sa.Text(), nullable=False),
        sa.Column("login", sa.Text(), nullable=False),
        sa.Column("passed_over", sa.Text(), nullable=False),
        sa.Column("since_us", _BIG, nullable=False),
        sa.PrimaryKeyConstraint("task", name=op.f("pk_reservations")),
    )
    op.create_table(
        "served",
        sa.Column("person", sa.Text(), nullable=False),
        sa.Column("repo", sa.Text(), nullable=False),
        sa.Column("turn", _BIG, nullable=False),
        sa.PrimaryKeyConstraint("person", "repo", name=op.f("pk_served")),
    )
