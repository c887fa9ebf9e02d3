"""For the chats: questions with options, permissions for a whole session, reminders, buttons bound to a message,
and files that people send."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0002"
down_revision = "0001"

_BIG = sa.BigInteger().with_variant(sa.Integer(), "sqlite")


def upgrade() -> None:
    for name in ("directory", "questions", "scope"):
        op.add_column("approvals", sa.Column(name, sa.Text(), nullable=False, server_default=""))
    for name in ("pinged_us", "reminded_us"):
        op.add_column("approvals", sa.Column(name, _BIG, nullable=False, server_default="0"))
    op.add_column("actions", sa.Column("put", _BIG, nullable=False, server_default="0"))
    op.create_table(
        "attachments",
        sa.Column("id", _BIG, autoincrement=True, nullable=False),
        sa.Column("task", sa.Text(), nullable=False),
        sa.Column("note", _BIG, nullable=False),
        sa.Column("name", sa.Text(), nullable=False),
        sa.Column("path", sa.Text(), nullable=False),
        sa.Column("media_type", sa.Text(), nullable=False),
        sa.Column("size", _BIG, nullable=False),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_attachments")),
    )
    op.create_index(op.f("ix_attachments_task_note"), "attachments", ["task", "note"])
