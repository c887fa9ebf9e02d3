"""Why a task's turn is ended before it is done, or the task goes no further: its budget is used up, or it makes no
progress. A row for each session, about one of its turns; it means nothing once there is a later turn.

Also how often a session repeats one tool call, counted with the call itself.
"""

from __future__ import annotations

from dataclasses import dataclass

from sqlalchemy import bindparam, delete, select

from fleet.model import Session
from fleet.store import sessions
from fleet.store.core import Tx
from fleet.store.statements import Statement, replacing
from fleet.store.states import HaltCause
from fleet.store.usage_tables import halts, repeats

_OF = Statement(select(halts).where(halts.c.session == bindparam("of")))
_SET = replacing(halts)
_REPEATS = Statement(select(repeats.c.fingerprint, repeats.c.times).where(repeats.c.session == bindparam("of")))
_REPEAT = replacing(repeats)
_FORGET = Statement(delete(repeats).where(repeats.c.session == bindparam("of")))


@dataclass(frozen=True, slots=True)
class Halt:
    """Why, in words for a person."""

    cause: HaltCause
    words: str


def of_turn(tx: Tx, session: str, turn: str) -> Halt | None:
    """Why this turn of a session is ended, or was."""
    row = _OF.one(tx.connection, {"of": session})
    return None if row is None or row.turn != turn else Halt(HaltCause(row.cause), row.words)


def spent(tx: Tx, session: str) -> bool:
    """Whether a budget halted the session at its last turn."""
    row = _OF.one(tx.connection, {"of": session})
    if row is None or row.cause is not HaltCause.BUDGET:
        return False
    return bool(sessions.turns(tx, session)[-1].id == row.turn)


def halt(tx: Tx, session: Session, turn: str, why: Halt) -> None:
    """Halts the session at this turn. Its next turn begins without what it repeated so far."""
    values = {"session": session.id, "turn": turn, "cause": str(why.cause), "words": why.words}
    _SET.run(tx.connection, values)
    _FORGET.run(tx.connection, {"of": session.id})


def repeated(tx: Tx, session: str) -> int:
    """How often in a row the session has made its last tool call, without an edit in between."""
    row = _REPEATS.one(tx.connection, {"of": session})
    return 0 if row is None else int(row.times)


def count_call(tx: Tx, session: str, fingerprint: str) -> None:
    """Counts a tool call that starts. Empty: an edit, or a call that cannot be compared; then nothing repeats."""
    row = _REPEATS.one(tx.connection, {"of": session})
    if not fingerprint:
        if row is not None:
            _FORGET.run(tx.connection, {"of": session})
        return
    times = int(row.times) + 1 if row is not None and row.fingerprint == fingerprint else 1
    _REPEAT.run(tx.connection, {"session": session, "fingerprint": fingerprint, "times": times})
