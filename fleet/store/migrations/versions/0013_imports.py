"""What was imported from agents' session files, so that it is imported once."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0013"
down_revision = "0012"


def upgrade() -> None:
    op.create_table(
        "imported",
        sa.Column("key", sa.Text(), nullable=False),
        sa.PrimaryKeyConstraint("key", name=op.f("pk_imported")),
    )
    imports = sa.text("source = 'import'")
    op.create_index(
        op.f("ix_ledger_imported_time_us"), "ledger", ["time_us"], sqlite_where=imports, postgresql_where=imports
    )
    op.create_index(op.f("ix_sessions_resume"), "sessions", ["resume"])
