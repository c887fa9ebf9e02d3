"""Words that people sent to agents, in a table of their own: they were settings that were not all removed."""

from __future__ import annotations

from alembic import op

from fleet.store.migrations.steps import create, flags, index, numbers, texts

revision = "0017"
down_revision = "0016"


def upgrade() -> None:
    create(
        "sent_messages",
        *texts("adapter", "chat", "message", "sender", "thread"),
        *numbers("sent_s"),
        *texts("task", "digest"),
        *flags("whole", "cut"),
        *numbers("until_us"),
        key=["adapter", "chat", "message", "sender"],
    )
    index("sent_messages", "adapter", "chat", "sender", "sent_s")
    index("sent_messages", "until_us")
    op.execute("DELETE FROM settings WHERE key LIKE 'act:%' OR key LIKE 'sent:%'")
