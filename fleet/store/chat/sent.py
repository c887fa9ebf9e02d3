"""The messages with words for an agent, kept while a late part or an edit of them may arrive."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

from sqlalchemy import ColumnElement, delete, insert, select, update

from fleet.model import ChatRef
from fleet.store.chat_tables import sent_messages
from fleet.store.core import Tx
from fleet.store.records import chat_of, columns, reader

_LIVES_US: Final = 48 * 3_600_000_000
"""Telegram lets people edit for 48 hours."""


@dataclass(frozen=True, slots=True)
class SentMessage:
    """``chat`` with its thread; ``message`` is the platform's id, ``sender`` a ``str(PersonId)``.

    ``task`` is empty for a message that was refused. ``digest`` is of the text. ``whole``: it is the whole prompt
    of its task. ``cut``: the client may have split its text. ``sent_s``: the platform's time, 0 without one.
    """

    chat: ChatRef
    message: str
    sender: str
    task: str
    digest: str
    whole: bool = False
    cut: bool = False
    sent_s: int = 0


_read = reader(SentMessage, chat=chat_of)


def keep(tx: Tx, sent: SentMessage) -> None:
    """Stores it, in place of what was known of this message."""
    tx.connection.execute(delete(sent_messages).where(*_key(sent.chat, sent.message, sent.sender)))
    row = {**columns(sent), **columns(sent.chat), "until_us": tx.now_us() + _LIVES_US}
    tx.connection.execute(insert(sent_messages), row)


def drop(tx: Tx, chat: ChatRef, message: str, sender: str) -> None:
    """Forgets what was known of a message."""
    tx.connection.execute(delete(sent_messages).where(*_key(chat, message, sender)))


def find(tx: Tx, chat: ChatRef, message: str, sender: str) -> SentMessage | None:
    """What is known of a message; ``None``: it had no words for an agent, or it is too old."""
    wanted = select(sent_messages).where(*_key(chat, message, sender))
    row = tx.connection.execute(wanted.where(sent_messages.c.until_us > tx.now_us())).one_or_none()
    return _read(row) if row is not None else None


def reworded(tx: Tx, chat: ChatRef, message: str, sender: str, digest: str) -> None:
    """The message has another text now, and its sender was told what that means."""
    tx.connection.execute(update(sent_messages).where(*_key(chat, message, sender)).values(digest=digest))


def sent_at(tx: Tx, chat: ChatRef, sender: str, from_s: int, upto_s: int) -> list[SentMessage]:
    """What a person sent in a thread in these seconds, both included, the newest first."""
    table = sent_messages.c
    rows = tx.connection.execute(
        select(sent_messages)
        .where(table.adapter == chat.adapter, table.chat == chat.chat, table.sender == sender)
        .where(table.sent_s.between(from_s, upto_s), table.thread == chat.thread)
        .order_by(table.sent_s.desc(), table.until_us.desc())
    )
    return [_read(row) for row in rows]


def forget_old(tx: Tx, limit: int) -> int:
    """Retention: removes at most ``limit`` of those that cannot be edited any more; returns how many."""
    table = sent_messages.c
    old = select(table.adapter, table.chat, table.message, table.sender).where(table.until_us <= tx.now_us())
    rows = tx.connection.execute(old.limit(limit)).all()
    for row in rows:
        chat = ChatRef(row.adapter, row.chat)
        tx.connection.execute(delete(sent_messages).where(*_key(chat, row.message, row.sender)))
    return len(rows)


def _key(chat: ChatRef, message: str, sender: str) -> tuple[ColumnElement[bool], ...]:
    table = sent_messages.c
    return (
        table.adapter == chat.adapter,
        table.chat == chat.chat,
        table.message == message,
        table.sender == sender,
    )
