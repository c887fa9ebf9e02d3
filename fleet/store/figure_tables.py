"""The tables of figures that are kept while events are appended: what a day's digest and its receipt are made of.

``day`` counts UTC days since the epoch, ``quarter`` quarters of an hour. A change here needs a migration.
"""

from __future__ import annotations

from sqlalchemy import Index, Table

from fleet.store.columns import added_number, added_text, blob, counted, key, keys, metadata, number, numbers, text

# Tool calls that ended, by UTC day (days since the epoch) and outcome.
tool_calls = Table("tool_calls", metadata, counted("day"), key("outcome"), number("calls"))

# Tool calls that began (last at event ``seq``) and did not end yet; ``call`` is the SHA-256 of the agent's id.
open_calls = Table(
    "open_calls",
    metadata,
    *keys("session", "call"),
    added_number("seq"),
    added_number("time_us"),
    added_text("machine"),
    added_number("imported"),
    Index(None, "time_us"),
)

# The keys of what was imported from agents' session files (``fleet.imports.Fact``).
imported = Table("imported", metadata, key("key"))

# What people, agents and tools said, by event, where the ledger has its hash only.
contents = Table("contents", metadata, counted("seq"), number("time_us"), blob("salt"), blob("said"))

# A segment begins at this event and ends before the next one's. A day's receipt is about whole segments.
figure_segments = Table("figure_segments", metadata, counted("first_seq"))

# Tool calls that ended.
figure_calls = Table(
    "figure_calls",
    metadata,
    counted("segment"),
    counted("quarter"),
    counted("imported"),
    *keys("machine", "outcome"),
    number("calls"),
)

# Everything that is added up, calls too; ``name`` is one of ``fleet.store.day_figures``.
figure_amounts = Table(
    "figure_amounts",
    metadata,
    counted("day"),
    counted("segment"),
    counted("imported"),
    *keys("name", "machine"),
    number("amount"),
    Index(None, "segment"),
)

figure_sessions = Table(
    "figure_sessions",
    metadata,
    counted("day"),
    counted("segment"),
    counted("imported"),
    key("session"),
    Index(None, "segment"),
)

# The first and the last event with a time of the day.
figure_days = Table("figure_days", metadata, counted("day"), number("first_seq"), number("last_seq"))

# Runs of gates; ``closed_seq`` is 0 until the end is there.
figure_gates = Table(
    "figure_gates",
    metadata,
    key("run"),
    counted("opened_seq"),
    *numbers("day", "closed_seq"),
    Index(None, "opened_seq", "closed_seq"),
)

# Calls whose process ended first, at event ``seq``.
figure_unfinished = Table(
    "figure_unfinished",
    metadata,
    counted("seq"),
    counted("started_seq"),
    number("time_us"),
    text("machine"),
    Index(None, "time_us"),
)

# Imported calls whose end is not the event after their start.
figure_late = Table(
    "figure_late",
    metadata,
    counted("started_seq"),
    number("time_us"),
    text("machine"),
    number("ended_seq"),
    Index(None, "time_us"),
)
