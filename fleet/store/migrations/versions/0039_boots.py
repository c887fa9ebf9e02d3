"""The boot of its machine in which a session's process was begun."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0039"
down_revision = "0038"


def upgrade() -> None:
    op.add_column("sessions", sa.Column("boot", sa.Text(), server_default="", nullable=False))
