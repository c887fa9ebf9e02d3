"""Schedules, and the times that they were due."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

from fleet.store.migrations.steps import counted, create, index, numbers, texts

revision = "0009"
down_revision = "0008"

_TEXTS = (
    *("id", "owner", "adapter", "chat", "thread", "spec", "zone", "job", "repo", "agent", "machine", "prompt"),
    *("overlap", "state", "why", "open_task", "last_task", "last_result"),
)
_big = sa.BigInteger().with_variant(sa.Integer(), "sqlite")


def upgrade() -> None:
    create(
        "schedules",
        counted("number"),
        *(sa.Column(name, sa.Text(), nullable=False) for name in _TEXTS),
        *numbers("next_us", "bad_ends", "skipped", "created_us"),
        sa.UniqueConstraint("id", name=op.f("uq_schedules_id")),
        key=["number"],
    )
    index("schedules", "state", "next_us")
    index("schedules", "owner", "state")
    index("schedules", "adapter", "chat")
    create(
        "slots",
        *texts("schedule"),
        counted("due_us"),
        *texts("outcome", "task"),
        *numbers("missed", "at_us"),
        key=["schedule", "due_us"],
    )
    index("slots", "schedule", "outcome", "due_us")
