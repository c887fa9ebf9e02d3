"""The table of what happens when a base moves under a session."""

from __future__ import annotations

from sqlalchemy import Index, Table

from fleet.store.columns import choice, metadata, number, of, serial, text
from fleet.store.states import MergeState

# Moves of a session onto a newer base, with its change merged in.
merges = Table(
    "merges",
    metadata,
    serial(),
    of("session", "sessions.id"),
    text("base"),
    number("base_us"),
    text("snapshot"),
    text("commit"),
    text("tree"),
    text("why"),
    text("words"),
    choice("state", MergeState),
    number("at_us"),
    Index(None, "session"),
)
