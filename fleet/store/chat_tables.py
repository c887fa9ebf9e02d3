"""More tables of the chats. A change here needs a migration; a test compares the two."""

from __future__ import annotations

from sqlalchemy import Index, Table

from fleet.store.columns import flag, key, metadata, number, text

# Words that people sent to agents, while a late part or an edit of them may arrive.
sent_messages = Table(
    "sent_messages",
    metadata,
    key("adapter"),
    key("chat"),
    key("message"),
    key("sender"),
    text("thread"),
    number("sent_s"),
    text("task"),
    text("digest"),
    flag("whole"),
    flag("cut"),
    number("until_us"),
    Index(None, "adapter", "chat", "sender", "sent_s"),
    Index(None, "until_us"),
)
