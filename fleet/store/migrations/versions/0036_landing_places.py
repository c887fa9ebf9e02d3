"""The queue of changes that wait to land."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0036"
down_revision = "0035"

_BIG = sa.BigInteger().with_variant(sa.Integer(), "sqlite")


def upgrade() -> None:
    op.create_table(
        "landing_places",
        sa.Column("task", sa.Text(), nullable=False),
        sa.Column("number", _BIG, nullable=False),
        sa.Column("repo", sa.Text(), nullable=False),
        sa.Column("alone", sa.Boolean(), nullable=False),
        sa.Column("base", sa.Text(), nullable=False),
        sa.Column("commit", sa.Text(), nullable=False),
        sa.Column("tree", sa.Text(), nullable=False),
        sa.Column("behind", sa.Text(), nullable=False),
        sa.Column("without", sa.Text(), nullable=False),
        sa.Column("state", sa.Text(), nullable=False),
        sa.Column("why", sa.Text(), nullable=False),
        sa.Column("joined_us", _BIG, nullable=False),
        sa.PrimaryKeyConstraint("task", name=op.f("pk_landing_places")),
    )
    op.create_index(op.f("ix_landing_places_repo_number"), "landing_places", ["repo", "number"])
