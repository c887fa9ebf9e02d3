"""Appends events about a session to the ledger, with their common references."""

from __future__ import annotations

from fleet.events import Event, Refs, Source
from fleet.model import AIRBOSS, Session
from fleet.store import ledger
from fleet.store.core import Tx


def record(
    tx: Tx,
    event: Event,
    session: Session,
    *,
    turn: str = "",
    source: Source = Source.CONTROLLER,
    actor: str = "",
) -> None:
    """Appends an event about a session.

    ``actor`` did it; by default the agent when the source is the agent, otherwise the controller.
    """
    actor = actor or (AIRBOSS if source is not Source.AGENT else f"agent:{session.agent}")
    refs = Refs(task=session.task, session=session.id, turn=turn, machine=session.machine)
    ledger.append(tx, event, actor=actor, source=source, refs=refs)
