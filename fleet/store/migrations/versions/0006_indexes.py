"""Indexes for queries that read a whole table."""

from __future__ import annotations

from alembic import op

revision = "0006"
down_revision = "0005"

_INDEXES = {
    "tasks": (("retry_of", "number"), ("adapter", "chat", "number"), ("updated_us",)),
    "gate_runs": (("turn", "gate"), ("task",)),
    "cards": (("put",), ("adapter", "chat")),
    "actions": (("command", "put", "created_us"),),
}


def upgrade() -> None:
    for table, indexes in _INDEXES.items():
        for columns in indexes:
            op.create_index(op.f(f"ix_{table}_{'_'.join(columns)}"), table, list(columns))
