"""Moves of a session onto a newer base: recorded before its worktree is touched, so that each can be completed."""

from __future__ import annotations

from dataclasses import dataclass

from sqlalchemy import bindparam, insert, select, update

from fleet.model import Session, Turn
from fleet.store import sessions
from fleet.store.core import Tx
from fleet.store.merge_tables import merges
from fleet.store.records import columns, reader
from fleet.store.statements import Statement
from fleet.store.states import MergeState

_OF_SESSION = Statement(select(merges).where(merges.c.session == bindparam("of")).order_by(merges.c.id))


@dataclass(frozen=True, slots=True)
class Merge:
    """The session's ``snapshot`` merged into ``base``: ``commit`` has the result, with markers where both conflict.

    ``base_us``: when the base was looked up. ``why`` is for people, ``words`` are for the agent.
    """

    id: int
    session: str
    base: str
    base_us: int
    snapshot: str
    commit: str
    tree: str
    why: str
    words: str
    state: MergeState = MergeState.RECORDED

    @property
    def markers(self) -> tuple[str, str]:
        """The lines that git wrote around a conflict, as long as the agent has not resolved it."""
        return f"<<<<<<< {self.base}", f">>>>>>> {self.snapshot}"


_merge = reader(Merge)


def add(tx: Tx, merge: Merge) -> None:
    """Records that the session is to move. ``id`` is chosen by the store."""
    row = {**columns(merge), "at_us": tx.now_us()}
    del row["id"]
    tx.connection.execute(insert(merges), row)


def of_session(tx: Tx, session: str) -> list[Merge]:
    """All moves of a session, oldest first."""
    return [_merge(row) for row in _OF_SESSION.all(tx.connection, {"of": session})]


def pending(tx: Tx, session: str) -> Merge | None:
    """The move that is not complete, or of which the agent was not told."""
    return next((merge for merge in of_session(tx, session)[-1:] if merge.state is not MergeState.TOLD), None)


def of_task(tx: Tx, task: str) -> tuple[Session, Merge | None]:
    """A task's last session, and its move of :func:`pending`."""
    session = sessions.newest(tx, task)
    return session, pending(tx, session.id)


def moved(tx: Tx, merge: Merge, turn: Turn) -> Session:
    """The worktree has been moved: so has the session, and what its last turn left is the merge."""
    _set(tx, merge, MergeState.MOVED)
    sessions.update_turn(tx, turn.id, snapshot=merge.commit, tree=merge.tree)
    return sessions.rebase(tx, merge.session, merge.base, merge.base_us)


def told(tx: Tx, merge: Merge) -> None:
    """The turn starts in which the agent reads it."""
    _set(tx, merge, MergeState.TOLD)


def _set(tx: Tx, merge: Merge, state: MergeState) -> None:
    tx.connection.execute(update(merges).where(merges.c.id == merge.id), {"state": state})
