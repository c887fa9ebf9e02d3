"""Which task a message in a chat is about: by the message of ours it answers, or by the thread it stands in."""

from __future__ import annotations

from sqlalchemy import select

from fleet.model import ChatRef
from fleet.store.core import Tx
from fleet.store.tables import outbox, tasks


def task_of_message(tx: Tx, chat: ChatRef, reply_to: str) -> str:
    """The task's id, or an empty string. ``reply_to`` is the platform's id of the answered message.

    A thread that a platform opens under a message carries that message's id, so both are looked up alike.
    """
    ids = [one for one in (reply_to, chat.thread) if one]
    if not ids:
        return ""
    by_card = tx.connection.execute(
        select(outbox.c.task)
        .where(outbox.c.adapter == chat.adapter, outbox.c.chat == chat.chat, outbox.c.message_id.in_(ids))
        .where(outbox.c.task != "")
        .order_by(outbox.c.id.desc())
        .limit(1)
    ).scalar()
    if by_card is not None or not chat.thread:
        return by_card or ""
    by_thread = tx.connection.execute(
        select(tasks.c.id)
        .where(tasks.c.adapter == chat.adapter, tasks.c.chat == chat.chat, tasks.c.thread == chat.thread)
        .order_by(tasks.c.number.desc())
        .limit(1)
    ).scalar()
    return by_thread or ""
