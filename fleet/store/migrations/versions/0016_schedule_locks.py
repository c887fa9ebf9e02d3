"""What the tasks of a schedule lock before they start."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0016"
down_revision = "0015"


def upgrade() -> None:
    op.add_column("schedules", sa.Column("locks", sa.Text(), nullable=False, server_default=""))
