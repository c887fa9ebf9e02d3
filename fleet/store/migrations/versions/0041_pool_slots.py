"""The slots that pools have."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0041"
down_revision = "0040"

_BIG = sa.BigInteger().with_variant(sa.Integer(), "sqlite")


def upgrade() -> None:
    op.create_table(
        "pool_slots",
        sa.Column("slot", sa.Text(), nullable=False),
        sa.Column("pool", sa.Text(), nullable=False),
        sa.Column("number", _BIG, nullable=False),
        sa.Column("name", sa.Text(), nullable=False),
        sa.Column("state", sa.Text(), nullable=False),
        sa.Column("terms", sa.Text(), nullable=False),
        sa.Column("target", sa.Text(), nullable=False),
        sa.Column("price_udollar", _BIG, nullable=False),
        sa.Column("asked_us", _BIG, nullable=False),
        sa.Column("up_us", _BIG, nullable=False),
        sa.Column("gone_us", _BIG, nullable=False),
        sa.Column("tries", _BIG, nullable=False),
        sa.Column("next_us", _BIG, nullable=False),
        sa.Column("why", sa.Text(), nullable=False),
        sa.PrimaryKeyConstraint("slot", name=op.f("pk_pool_slots")),
    )
    op.create_index(op.f("ix_pool_slots_pool_number"), "pool_slots", ["pool", "number"], unique=True)
    op.create_index(op.f("ix_pool_slots_name"), "pool_slots", ["name"], unique=True)
    op.create_index(op.f("ix_pool_slots_state"), "pool_slots", ["state"])
    op.create_index(op.f("ix_pool_slots_gone_us"), "pool_slots", ["gone_us"])
