"""The sessions that work on one machine."""

from __future__ import annotations

from fleet.model import Session
from fleet.store import sessions, tasks
from fleet.store.core import Tx


def at_work(tx: Tx, machine: str) -> list[Session]:
    """Those that hold a slot of it, oldest first."""
    here = [session for session in sessions.active(tx) if session.machine == machine]
    found = tasks.of_ids(tx, {session.task for session in here})
    return [session for session in here if found[session.task].state not in sessions.SLOTLESS]
