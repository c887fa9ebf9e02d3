"""More tables of the chats. A change here needs a migration; a test compares the two."""

from __future__ import annotations

from sqlalchemy import Index, Table

from fleet.store.columns import flag, keys, metadata, number, text, texts

# Words that people sent to agents, while a late part or an edit of them may arrive.
sent_messages = Table(
    "sent_messages",
    metadata,
    *keys("adapter", "chat", "message", "sender"),
    text("thread"),
    number("sent_s"),
    *texts("task", "digest"),
    flag("whole"),
    flag("cut"),
    number("until_us"),
    Index(None, "adapter", "chat", "sender", "sent_s"),
    Index(None, "until_us"),
)
