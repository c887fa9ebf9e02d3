"""How each turn ended: its outcome, the vendor's words, the exit. Earlier turns get theirs from the ledger."""

from __future__ import annotations

import json

import sqlalchemy as sa
from alembic import op

revision = "0003"
down_revision = "0002"

_turns = sa.table("turns", *(sa.column(name) for name in ("id", "ended_us", "outcome", "error")))
_ledger = sa.table("ledger", *(sa.column(name) for name in ("seq", "kind", "turn", "canonical")))


def upgrade() -> None:
    for name in ("outcome", "error", "exit"):
        op.add_column("turns", sa.Column(name, sa.Text(), nullable=False, server_default=""))
    connection = op.get_bind()
    connection.execute(sa.update(_turns).where(_turns.c.ended_us > 0).values(outcome="completed"))
    closed = sa.select(_ledger.c.turn, _ledger.c.canonical).where(_ledger.c.kind == "turn.closed")
    for turn, canonical in connection.execute(closed.order_by(_ledger.c.seq)).all():
        body = json.loads(bytes(canonical))["body"]
        if body["ok"] is False:
            failed = sa.update(_turns).where(_turns.c.id == turn)
            connection.execute(failed.values(outcome="failed", error=body["error"]))
