"""Tables about what starts: where nothing may, the slots that are kept or made, and whose turn it is."""

from __future__ import annotations

from sqlalchemy import Index, Table

from fleet.store.columns import added_text, choice, key, listed, metadata, number, numbers, text, texts
from fleet.store.states import SlotState

# Where nothing new may start; an empty name is the whole fleet.
pauses = Table("pauses", metadata, key("machine"), text("paused_by"), number("since_us"), added_text("reason"))

# A slot that is kept for a task which starts. ``passed_over``: JSON, why not on the other machines.
reservations = Table(
    "reservations",
    metadata,
    key("task"),
    *texts("machine", "login"),
    listed("passed_over"),
    number("since_us"),
)

# When a person's tasks in a repository last got a slot: the highest turn is the latest.
served = Table("served", metadata, key("person"), key("repo"), number("turn"))

# One slot: a row before anything is asked of its provider, kept for good. ``terms`` and ``target``: the pool's
# configuration when it was asked for and where it is, both JSON. ``tries``: how often it was tried to give it back.
pool_slots = Table(
    "pool_slots",
    metadata,
    key("slot"),
    text("pool"),
    number("number"),
    text("name"),
    choice("state", SlotState),
    *texts("terms", "target"),
    *numbers("price_udollar", "asked_us", "up_us", "gone_us", "tries", "next_us"),
    text("why"),
    Index(None, "pool", "number", unique=True),
    Index(None, "name", unique=True),
    Index(None, "state"),
    Index(None, "gone_us"),
)
