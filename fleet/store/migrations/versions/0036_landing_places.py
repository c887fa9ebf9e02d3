"""The queue of changes that wait to land."""

from __future__ import annotations

from fleet.store.migrations.steps import create, flags, index, numbers, texts

revision = "0036"
down_revision = "0035"


def upgrade() -> None:
    create(
        "landing_places",
        *texts("task"),
        *numbers("number"),
        *texts("repo"),
        *flags("alone"),
        *texts("base", "commit", "tree", "behind", "without", "state", "why"),
        *numbers("joined_us"),
        key=["task"],
    )
    index("landing_places", "repo", "number")
