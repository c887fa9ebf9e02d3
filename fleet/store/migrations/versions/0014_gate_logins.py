"""Which login of a pool a gate run has to itself, and which one supervises it."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0014"
down_revision = "0013"


def upgrade() -> None:
    for name in ("login", "supervisor"):
        op.add_column("gate_runs", sa.Column(name, sa.Text, nullable=False, server_default=""))
