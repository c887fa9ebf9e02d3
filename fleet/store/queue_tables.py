"""Tables about what starts: where nothing may, the slots that are kept, and whose turn it is."""

from __future__ import annotations

from sqlalchemy import Table

from fleet.store.columns import added_text, key, metadata, number, text

# Where nothing new may start; an empty name is the whole fleet.
pauses = Table("pauses", metadata, key("machine"), text("paused_by"), number("since_us"), added_text("reason"))

# A slot that is kept for a task which starts. ``passed_over``: JSON, why not on the other machines.
reservations = Table(
    "reservations",
    metadata,
    key("task"),
    text("machine"),
    text("login"),
    text("passed_over"),
    number("since_us"),
)

# When a person's tasks in a repository last got a slot: the highest turn is the latest.
served = Table("served", metadata, key("person"), key("repo"), number("turn"))
