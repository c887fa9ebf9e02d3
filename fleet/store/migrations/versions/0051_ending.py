"""Whether a process of a closed session is being ended now."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0051"
down_revision = "0050"


def upgrade() -> None:
    op.add_column("left_running", sa.Column("ending", sa.Boolean(), nullable=False, server_default=sa.false()))
    with op.batch_alter_table("left_running") as batch:
        batch.alter_column("ending", server_default=None)
