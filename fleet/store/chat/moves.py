"""A chat gets a new id (a Telegram group becomes a supergroup; Slack names the private chat with a person):
everything of ours in it moves along."""

from __future__ import annotations

from sqlalchemy import delete, select, update

from fleet.store.chat import private, settings
from fleet.store.core import Tx
from fleet.store.schedule_tables import schedules
from fleet.store.tables import actions, cards, outbox, tasks

ELSEWHERE = "0"
"""The message id of a card that went to a person's private chat, since its own chat takes nothing: it is not edited
there, and its buttons work there."""

MOVED = "moved"
"""Replaces the message id of a card that stayed behind: the platform does not know that message in the new chat."""


def moved(tx: Tx, adapter: str, old: str, new: str) -> None:
    """Moves tasks, schedules, buttons, cards, waiting rows and what was set to chat ``new``.

    Messages keep no id there, since the platform numbers them anew: a card's next change comes as a new message.
    """
    there = select(cards.c.card_key).where(cards.c.adapter == adapter, cards.c.chat == new)
    tx.connection.execute(
        delete(cards).where(cards.c.adapter == adapter, cards.c.chat == old, cards.c.card_key.in_(there))
    )
    for table in (tasks, actions, cards, outbox, schedules):
        mine = (table.c.adapter == adapter) & (table.c.chat == old)
        if table is outbox or table is cards:
            stale = MOVED if table is cards else ""
            tx.connection.execute(update(table).where(mine, table.c.message_id != ""), {"message_id": stale})
        tx.connection.execute(update(table).where(mine), {"chat": new})
    private.moved(tx, adapter, old, new)
    settings.moved(tx, adapter, old, new)
    settings.put(tx, _key(adapter, old), new)


def now_at(tx: Tx, adapter: str, chat: str) -> str:
    """The id that a chat has now."""
    return settings.get(tx, _key(adapter, chat), chat)


def _key(adapter: str, chat: str) -> str:
    return f"chat-moved:{adapter}:{chat}"
