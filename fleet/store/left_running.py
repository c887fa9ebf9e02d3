"""Processes of closed sessions that could not be ended, as their machine did not answer: each is ended later.

A row is written by the transaction that closes the session, and goes once the process was ended. While it is being
ended, its session cannot be opened again: the agent that a person takes up must not be the one that is stopped.
"""

from __future__ import annotations

from dataclasses import dataclass

from sqlalchemy import delete, insert, select, update

from fleet.events import LeftProcessEnded
from fleet.model import PipeEnd, Session
from fleet.store import sessions, takeovers
from fleet.store.core import Tx
from fleet.store.recording import record
from fleet.store.records import columns, reader
from fleet.store.states import ProcessKind, TakeoverState
from fleet.store.usage_tables import left_running as table


@dataclass(frozen=True, slots=True)
class LeftRunning:
    """One process. ``since_us``: when its session was closed. ``ending``: it is being ended."""

    session: str
    pipe: str
    kind: ProcessKind
    since_us: int
    ending: bool = False


_left = reader(LeftRunning)


def note(tx: Tx, session_id: str) -> list[LeftRunning]:
    """Part of the transaction that closes a session: what of it was not seen to end."""
    session = sessions.session(tx, session_id)
    found = []
    if session.pipe and session.pipe_end is PipeEnd.NONE:
        found.append(LeftRunning(session_id, session.pipe, ProcessKind.AGENT, tx.now_us()))
    hand = takeovers.current(tx, session.task)
    if hand is not None and hand.session == session_id and hand.pipe and hand.state is not TakeoverState.ENDED:
        found.append(LeftRunning(session_id, hand.pipe, ProcessKind.INTERFACE, tx.now_us()))
    for left in found:
        tx.connection.execute(insert(table), columns(left))
    return found


def every(tx: Tx) -> list[tuple[LeftRunning, Session]]:
    """All that is still to be ended, with its session as it is now; the oldest first."""
    query = select(table).order_by(table.c.since_us, table.c.pipe)
    return [(_left(row), sessions.session(tx, row.session)) for row in tx.connection.execute(query)]


def begin(tx: Tx, left: LeftRunning) -> bool:
    """Whether it may be ended now: nobody takes it up from here on, until :func:`put_off` or :func:`ended`."""
    if goes_on(left, sessions.session(tx, left.session)):
        return False
    tx.connection.execute(update(table).where(table.c.pipe == left.pipe).values(ending=True))
    return True


def put_off(tx: Tx, left: LeftRunning) -> None:
    """It could not be ended, or whoever wanted to died: it may be taken up again."""
    tx.connection.execute(update(table).where(table.c.pipe == left.pipe).values(ending=False))


def being_ended(tx: Tx, session_id: str) -> bool:
    """Whether the agent of a closed session is being ended now."""
    query = select(table.c.pipe).where(
        table.c.session == session_id, table.c.kind == ProcessKind.AGENT, table.c.ending.is_(True)
    )
    return tx.connection.execute(query).first() is not None


def goes_on(left: LeftRunning, session: Session) -> bool:
    """Whether it is the agent of a session that is open again, and goes on in it."""
    return left.kind is ProcessKind.AGENT and not session.ended_us


def forget(tx: Tx, left: LeftRunning) -> None:
    """Somebody follows it again, or its machine is no more."""
    tx.connection.execute(delete(table).where(table.c.pipe == left.pipe))


def ended(tx: Tx, left: LeftRunning) -> None:
    """Nothing of it runs any more. Recorded once, however often this is called."""
    if tx.connection.execute(delete(table).where(table.c.pipe == left.pipe)).rowcount:
        event = LeftProcessEnded(left.pipe, str(left.kind), left.since_us)
        record(tx, event, sessions.session(tx, left.session))
