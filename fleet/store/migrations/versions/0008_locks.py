"""Locks: holds, the resources of each, and the fencing tokens of each scope."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

from fleet.store.migrations.steps import counted, create, index, numbers, texts

revision = "0008"
down_revision = "0007"


def upgrade() -> None:
    create(
        "holds",
        *texts("id", "holder", "task", "secret_sha256"),
        *numbers("since_us", "ended_us"),
        *texts("end"),
        key=["id"],
    )
    index("holds", "ended_us")
    index("holds", "task")
    create(
        "locks",
        *texts("scope"),
        counted("token"),
        *texts("hold", "name", "repo", "head", "mode", "cause"),
        *numbers("since_us", "ended_us"),
        sa.ForeignKeyConstraint(["hold"], ["holds.id"], name=op.f("fk_locks_hold_holds")),
        key=["scope", "token"],
    )
    index("locks", "hold")
    index("locks", "scope", "ended_us", "head")
    create("lock_tokens", *texts("scope"), *numbers("token"), key=["scope"])
