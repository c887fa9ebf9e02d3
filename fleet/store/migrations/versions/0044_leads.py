"""Which controller leads which task, where several share the store."""

from __future__ import annotations

from fleet.store.migrations.steps import create, numbers, texts

revision = "0044"
down_revision = "0043"


def upgrade() -> None:
    create("leads", *texts("task", "controller"), *numbers("token", "since_us"), key=["task"])
