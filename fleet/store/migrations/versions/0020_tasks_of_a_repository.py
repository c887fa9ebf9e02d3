"""The tasks of one repository, newest first, without reading the others."""

from __future__ import annotations

from alembic import op

revision = "0020"
down_revision = "0019"


def upgrade() -> None:
    op.create_index(op.f("ix_tasks_repo_number"), "tasks", ["repo", "number"])
