"""Which ports of a machine a session has: the first place that no other open session there has, from 1 on."""

from __future__ import annotations

from sqlalchemy import bindparam, select

from fleet.store.core import Tx
from fleet.store.statements import Statement
from fleet.store.tables import sessions

_OPEN = Statement(
    select(sessions.c.port_slot).where(sessions.c.ended_us == 0, sessions.c.machine == bindparam("on"))
)


def free(tx: Tx, machine: str) -> int:
    """The place for one more session."""
    taken = {row.port_slot for row in _OPEN.all(tx.connection, {"on": machine})}
    return next(slot for slot in range(1, len(taken) + 2) if slot not in taken)
