"""Words that people sent to agents, in a table of their own: they were settings that were not all removed."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0017"
down_revision = "0016"

_BIG = sa.BigInteger().with_variant(sa.Integer(), "sqlite")


def upgrade() -> None:
    op.create_table(
        "sent_messages",
        sa.Column("adapter", sa.Text(), nullable=False),
        sa.Column("chat", sa.Text(), nullable=False),
        sa.Column("message", sa.Text(), nullable=False),
        sa.Column("sender", sa.Text(), nullable=False),
        sa.Column("thread", sa.Text(), nullable=False),
        sa.Column("sent_s", _BIG, nullable=False),
        sa.Column("task", sa.Text(), nullable=False),
        sa.Column("digest", sa.Text(), nullable=False),
        sa.Column("whole", sa.Boolean(), nullable=False),
        sa.Column("cut", sa.Boolean(), nullable=False),
        sa.Column("until_us", _BIG, nullable=False),
        sa.PrimaryKeyConstraint("adapter", "chat", "message", "sender", name=op.f("pk_sent_messages")),
    )
    op.create_index(
        op.f("ix_sent_messages_adapter_chat_sender_sent_s"),
        "sent_messages",
        ["adapter", "chat", "sender", "sent_s"],
    )
    op.create_index(op.f("ix_sent_messages_until_us"), "sent_messages", ["until_us"])
    op.execute("DELETE FROM settings WHERE key LIKE 'act:%' OR key LIKE 'sent:%'")
