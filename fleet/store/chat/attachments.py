"""Files that people sent with messages, by task and note."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from sqlalchemy import bindparam, insert, select

from fleet.store.core import Tx
from fleet.store.records import reader
from fleet.store.statements import Statement
from fleet.store.tables import attachments, notes

REQUEST = 0
"""The note number for files of a task's request."""

_OF_NOTE = Statement(
    select(attachments)
    .where(attachments.c.task == bindparam("of"), attachments.c.note == bindparam("with_note"))
    .order_by(attachments.c.id)
)
_WAITING = Statement(
    select(notes.c.id).where(notes.c.session == bindparam("of"), notes.c.taken_us == 0).order_by(notes.c.id)
)


@dataclass(frozen=True, slots=True)
class Kept:
    """A file on the controller's disk at ``path``. ``name`` and ``media_type`` are the sender's claims."""

    id: int
    note: int
    name: str
    path: str
    media_type: str
    size: int


_kept = reader(Kept)


def add(tx: Tx, task: str, note: int, *, name: str, path: str, media_type: str, size: int) -> None:
    """Adds a file to a task's request (``REQUEST``) or to a note."""
    row = {"task": task, "note": note, "name": name, "path": path, "media_type": media_type, "size": size}
    tx.connection.execute(insert(attachments), row)


def of_note(tx: Tx, task: str, note: int) -> list[Kept]:
    """The files of one note, in the order in which they were sent."""
    return [_kept(row) for row in _OF_NOTE.all(tx.connection, {"of": task, "with_note": note})]


def waiting(tx: Tx, session: str, task: str) -> tuple[int, list[Kept]]:
    """The newest note that waits for a session (0: none), and the files of all waiting notes."""
    ids = [row.id for row in _WAITING.all(tx.connection, {"of": session})]
    return (ids[-1] if ids else 0), [kept for note in ids for kept in of_note(tx, task, note)]


def copy(tx: Tx, old: str, new: str) -> None:
    """Gives a repeated task the files of the first request."""
    _add_all(tx, new, of_note(tx, old, REQUEST))


def _add_all(tx: Tx, task: str, kept: Iterable[Kept]) -> None:
    for file in kept:
        add(tx, task, REQUEST, name=file.name, path=file.path, media_type=file.media_type, size=file.size)
