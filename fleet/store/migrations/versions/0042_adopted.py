"""Sessions started by hand that a person takes into the fleet."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0042"
down_revision = "0041"


def upgrade() -> None:
    op.add_column("hooked", sa.Column("adopt", sa.Text(), server_default="", nullable=False))
