"""Keyed hashes of what each controller of a store has in its ``.env``."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0050"
down_revision = "0049"


def upgrade() -> None:
    op.add_column("controllers", sa.Column("env", sa.Text(), nullable=False, server_default=""))
    with op.batch_alter_table("controllers") as batch:
        batch.alter_column("env", server_default=None)
