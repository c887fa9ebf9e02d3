"""Tables of changes on their way to a base: moves of sessions onto newer ones, who waits to land, where."""

from __future__ import annotations

from sqlalchemy import Index, Table

from fleet.store.columns import choice, flag, key, listed, metadata, number, of, serial, text, texts
from fleet.store.states import MergeState, PlaceState

# Moves of a session onto a newer base, with its change merged in.
merges = Table(
    "merges",
    metadata,
    serial(),
    of("session", "sessions.id"),
    text("base"),
    number("base_us"),
    *texts("snapshot", "commit", "tree", "why", "words"),
    choice("state", MergeState),
    number("at_us"),
    Index(None, "session"),
)

# A repository's landing queue, the lowest number first. ``behind``: whose changes are below this one, JSON;
# ``without``: who was taken out from below it, and why, JSON.
landing_places = Table(
    "landing_places",
    metadata,
    key("task"),
    number("number"),
    text("repo"),
    flag("alone"),
    *texts("base", "commit", "tree"),
    listed("behind"),
    listed("without"),
    choice("state", PlaceState),
    text("why"),
    number("joined_us"),
    Index(None, "repo", "number"),
)

# Where each repository's base branch was last seen. ``stopped``: why nothing lands there.
base_tips = Table(
    "base_tips", metadata, key("repo"), text("ref"), text("commit"), number("seen_us"), text("stopped")
)
