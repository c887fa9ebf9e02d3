"""Since when an answer waits for the agent to ask the same again; 0: it does not."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0018"
down_revision = "0017"

_BIG = sa.BigInteger().with_variant(sa.Integer(), "sqlite")


def upgrade() -> None:
    op.add_column("approvals", sa.Column("kept_us", _BIG, nullable=False, server_default="0"))
