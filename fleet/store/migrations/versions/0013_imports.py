"""What was imported from agents' session files, so that it is imported once."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

from fleet.store.migrations.steps import create, index, texts

revision = "0013"
down_revision = "0012"


def upgrade() -> None:
    create("imported", *texts("key"), key=["key"])
    imports = sa.text("source = 'import'")
    op.create_index(
        op.f("ix_ledger_imported_time_us"), "ledger", ["time_us"], sqlite_where=imports, postgresql_where=imports
    )
    index("sessions", "resume")
