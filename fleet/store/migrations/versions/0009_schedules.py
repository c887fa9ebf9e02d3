"""Schedules, and the times that they were due."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0009"
down_revision = "0008"

_TEXTS = (
    *("id", "owner", "adapter", "chat", "thread", "spec", "zone", "job", "repo", "agent", "machine", "prompt"),
    *("overlap", "state", "why", "open_task", "last_task", "last_result"),
)
_big = sa.BigInteger().with_variant(sa.Integer(), "sqlite")


def _number(name: str) -> sa.Column[int]:
    return sa.Column(name, _big, nullable=False)


def upgrade() -> None:
    op.create_table(
        "schedules",
        sa.Column("number", _big, autoincrement=False, nullable=False),
        *(sa.Column(name, sa.Text(), nullable=False) for name in _TEXTS),
        *map(_number, ("next_us", "bad_ends", "skipped", "created_us")),
        sa.PrimaryKeyConstraint("number", name=op.f("pk_schedules")),
        sa.UniqueConstraint("id", name=op.f("uq_schedules_id")),
    )
    op.create_index(op.f("ix_schedules_state_next_us"), "schedules", ["state", "next_us"])
    op.create_index(op.f("ix_schedules_owner_state"), "schedules", ["owner", "state"])
    op.create_index(op.f("ix_schedules_adapter_chat"), "schedules", ["adapter", "chat"])
    op.create_table(
        "slots",
        sa.Column("schedule", sa.Text(), nullable=False),
        sa.Column("due_us", _big, autoincrement=False, nullable=False),
        sa.Column("outcome", sa.Text(), nullable=False),
        sa.Column("task", sa.Text(), nullable=False),
        *map(_number, ("missed", "at_us")),
        sa.PrimaryKeyConstraint("schedule", "due_us", name=op.f("pk_slots")),
    )
    op.create_index(op.f("ix_slots_schedule_outcome_due_us"), "slots", ["schedule", "outcome", "due_us"])
