"""What is not well with each controller of a store, as it says itself."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0048"
down_revision = "0047"


def upgrade() -> None:
    op.add_column("controllers", sa.Column("troubles", sa.Text(), nullable=False, server_default=""))
    with op.batch_alter_table("controllers") as batch:
        batch.alter_column("troubles", server_default=None)
