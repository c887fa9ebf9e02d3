"""Which login of a pool a session has to itself."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0015"
down_revision = "0014"


def upgrade() -> None:
    op.add_column("sessions", sa.Column("login", sa.Text, nullable=False, server_default=""))
