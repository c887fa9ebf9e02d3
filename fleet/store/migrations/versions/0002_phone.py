"""For the chats: questions with options, permissions for a whole session, reminders, buttons bound to a message,
and files that people send."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

from fleet.store.migrations.steps import BIG, create, index, numbers, texts

revision = "0002"
down_revision = "0001"


def upgrade() -> None:
    for name in ("directory", "questions", "scope"):
        op.add_column("approvals", sa.Column(name, sa.Text(), nullable=False, server_default=""))
    for name in ("pinged_us", "reminded_us"):
        op.add_column("approvals", sa.Column(name, BIG, nullable=False, server_default="0"))
    op.add_column("actions", sa.Column("put", BIG, nullable=False, server_default="0"))
    create(
        "attachments",
        sa.Column("id", BIG, autoincrement=True, nullable=False),
        *texts("task"),
        *numbers("note"),
        *texts("name", "path", "media_type"),
        *numbers("size"),
        key=["id"],
    )
    index("attachments", "task", "note")
