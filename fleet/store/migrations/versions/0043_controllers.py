"""The controllers of a store: who leads, and who stands by."""

from __future__ import annotations

from fleet.store.migrations.steps import create, numbers, texts

revision = "0043"
down_revision = "0042"


def upgrade() -> None:
    create(
        "controllers",
        *texts("instance", "host", "home", "version", "digest", "role"),
        *numbers("since_us", "seen_us"),
        key=["instance"],
    )
