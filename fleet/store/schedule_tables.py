"""The tables of schedules and their slots."""

from __future__ import annotations

from sqlalchemy import Index, Table, UniqueConstraint

from fleet.schedule.model import Job, Overlap, ScheduleState, SlotOutcome
from fleet.store.columns import added_text, choice, counted, key, metadata, numbers, text, texts

schedules = Table(
    "schedules",
    metadata,
    counted("number"),
    *texts("id", "owner", "adapter", "chat", "thread", "spec", "zone"),
    choice("job", Job),
    *texts("repo", "agent", "machine", "prompt"),
    choice("overlap", Overlap),
    choice("state", ScheduleState),
    *texts("why", "open_task", "last_task", "last_result"),
    *numbers("next_us", "bad_ends", "skipped", "created_us"),
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
    *numbers("missed", "at_us"),
    Index(None, "schedule", "outcome", "due_us"),
)
