"""What each message came to, so that a client that sends it again gets the same answer."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0007"
down_revision = "0006"


def upgrade() -> None:
    op.add_column("inbox", sa.Column("outcome", sa.Text(), nullable=False, server_default=""))
