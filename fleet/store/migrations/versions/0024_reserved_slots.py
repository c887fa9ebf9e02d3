"""Slots that are kept for tasks which start, and whose turn it is to get one."""

from __future__ import annotations

from fleet.store.migrations.steps import create, numbers, texts

revision = "0024"
down_revision = "0020"


def upgrade() -> None:
    create("reservations", *texts("task", "machine", "login", "passed_over"), *numbers("since_us"), key=["task"])
    create("served", *texts("person", "repo"), *numbers("turn"), key=["person", "repo"])
