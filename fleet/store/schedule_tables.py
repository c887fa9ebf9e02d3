"""The tables of schedules and their slots."""

from __future__ import annotations

from sqlalchemy import Index, Table, UniqueConstraint

from fleet.schedule.model import Job, Overlap, ScheduleState, SlotOutcome
from fleet.store.columns import added_text, choice, counted, key, metadata, number, text

schedules = Table(
    "schedules",
    metadata,
    counted("number"),
    text("id"),
    text("owner"),
    text("adapter"),
    text("chat"),
    text("thread"),
    text("spec"),
    text("zone"),
    choice("job", Job),
    text("repo"),
    text("agent"),
    text("machine"),
    text("prompt"),
    choice("overlap", Overlap),
    choice("state", ScheduleState),
    text("why"),
    text("open_task"),
    text("last_task"),
    text("last_result"),
    number("next_us"),
    number("bad_ends"),
    number("skipped"),
    number("created_us"),
    added_text("locks"),
    added_text("budget"),  # of each of its tasks, as JSON
    added_text("needs"),  # separated by commas
    added_text("model"),
    UniqueConstraint("id"),
    Index(None, "state", "next_us"),
    Index(None, "owner", "state"),
    Index(None, "adapter", "chat"),
)

# One time that a schedule was due: the key makes sure that it starts its work once.
slots = Table(
    "slots",
    metadata,
    key("schedule"),
    counted("due_us"),
    choice("outcome", SlotOutcome),
    text("task"),
    number("missed"),
    number("at_us"),
    Index(None, "schedule", "outcome", "due_us"),
)
