"""What became of the worktrees of tasks that did not land."""

from __future__ import annotations

from fleet.store.migrations.steps import create, index, numbers, texts

revision = "0019"
down_revision = "0018"


def upgrade() -> None:
    create("trees", *texts("session", "state", "decided_by"), *numbers("kept_us", "changed_us"), key=["session"])
    index("trees", "state")
