"""The tasks of one repository, newest first, without reading the others."""

from __future__ import annotations

from fleet.store.migrations.steps import index

revision = "0020"
down_revision = "0019"


def upgrade() -> None:
    index("tasks", "repo", "number")
