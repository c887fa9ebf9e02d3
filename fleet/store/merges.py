"""Moves of a session onto a newer base: recorded before its worktree is touched, so that each can be completed."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from sqlalchemy import Row, bindparam, insert, select, update

from fleet.model import Session, Turn
from fleet.store import sessions
from fleet.store.core import Tx
from fleet.store.merge_tables import merges
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


def add(tx: Tx, merge: Merge) -> None:
    """Records that the session is to move. ``id`` is chosen by the store."""
    row = {
        "session": merge.session,
        "base": merge.base,
        "base_us": merge.base_us,
        "snapshot": merge.snapshot,
        "commit": merge.commit,
        "tree": merge.tree,
        "why": merge.why,
        "words": merge.words,
        "state": merge.state,
        "at_us": tx.now_us(),
    }
    tx.connection.execute(insert(merges), row)


def of_session(tx: Tx, session: str) -> list[Merge]:
    """All moves of a session, oldest first."""
    return [_merge(row) for row in _OF_SESSION.all(tx.connection, {"of": session})]


def pending(tx: Tx, session: str) -> Merge | None:
    """The move that is not complete, or of which the agent was not told."""
    return next((merge for merge in of_session(tx, session)[-1:] if merge.state is not MergeState.TOLD), None)


def of_task(tx: Tx, task: str) -> tuple[Session, Merge | None]:
    """A task's last session, and its move of :func:`pending`."""
    session = sessions.of_task(tx, task)[-1]
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


def _merge(row: Row[Any]) -> Merge:
    return Merge(
        id=row.id,
        session=row.session,
        base=row.base,
        base_us=row.base_us,
        snapshot=row.snapshot,
        commit=row.commit,
        tree=row.tree,
        why=row.why,
        words=row.words,
        state=row.state,
    )
