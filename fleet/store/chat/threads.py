"""Finds the task of a chat message: by our message that it replies to, or by its thread."""

from __future__ import annotations

from sqlalchemy import select

from fleet.model import ChatRef
from fleet.store.core import Tx
from fleet.store.tables import outbox, tasks


def task_of_message(tx: Tx, chat: ChatRef, reply_to: str) -> str:
    """The task's id, or an empty string. ``reply_to`` is the platform's id of the replied-to message.

    In a thread it is the newest task requested there, or else the one whose card started the thread. A thread that
    a platform opens under a message has that message's id. Where threads have their own ids, the id of a message in
    one is the thread's, a colon, and its own.
    """
    by_reply = _by_card(tx, chat, reply_to) if reply_to else ""
    if by_reply or not chat.thread:
        return by_reply
    begun_here = tx.connection.execute(
        select(tasks.c.id)
        .where(tasks.c.adapter == chat.adapter, tasks.c.chat == chat.chat, tasks.c.thread == chat.thread)
        .order_by(tasks.c.number.desc())
        .limit(1)
    ).scalar()
    return begun_here or _by_card(tx, chat, chat.thread, thread=True)


def card_of_message(tx: Tx, chat: ChatRef, message_id: str) -> str:
    """The card in one of our messages, as it is kept; empty for the messages of others, and those that are old."""
    mine = (outbox.c.adapter == chat.adapter) & (outbox.c.chat == chat.chat) & (outbox.c.message_id == message_id)
    newest = select(outbox.c.card_json).where(mine).order_by(outbox.c.id.desc()).limit(1)
    return (tx.connection.execute(newest).scalar() or "") if message_id else ""


def message_of(tx: Tx, number: int) -> str:
    """The platform's id of the message of an outbox row; empty before its delivery was recorded."""
    return tx.connection.execute(select(outbox.c.message_id).where(outbox.c.id == number)).scalar() or ""


def _by_card(tx: Tx, chat: ChatRef, message_id: str, *, thread: bool = False) -> str:
    here = select(outbox.c.id, outbox.c.task).where(
        outbox.c.adapter == chat.adapter, outbox.c.chat == chat.chat, outbox.c.task != ""
    )
    queries = [here.where(outbox.c.message_id == message_id)]
    if thread:
        # A range by bytes, so that an index can be used; ";" is the character after ":".
        by_bytes = outbox.c.message_id.collate("C" if tx.connection.dialect.name == "postgresql" else "BINARY")
        queries.append(here.where(by_bytes >= f"{message_id}:", by_bytes < f"{message_id};"))
    newest = [tx.connection.execute(query.order_by(outbox.c.id.desc()).limit(1)).one_or_none() for query in queries]
    return max(((row.id, row.task) for row in newest if row is not None), default=(0, ""))[1]
