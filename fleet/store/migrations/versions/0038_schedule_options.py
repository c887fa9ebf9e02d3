"""What a schedule says of the budget, the machine and the model of its tasks."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0038"
down_revision = "0037"


def upgrade() -> None:
    for name in ("budget", "needs", "model"):
        op.add_column("schedules", sa.Column(name, sa.Text(), server_default="", nullable=False))
