"""Which controller leads which task, where several share the store."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0044"
down_revision = "0043"

_BIG = sa.BigInteger().with_variant(sa.Integer(), "sqlite")


def upgrade() -> None:
    op.create_table(
        "leads",
        sa.Column("task", sa.Text(), nullable=False),
        sa.Column("controller", sa.Text(), nullable=False),
        sa.Column("token", _BIG, nullable=False),
        sa.Column("since_us", _BIG, nullable=False),
        sa.PrimaryKeyConstraint("task", name=op.f("pk_leads")),
    )
