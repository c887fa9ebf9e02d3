"""The current content of cards in chats, by their message, so that they can be changed."""

from __future__ import annotations

import secrets
from dataclasses import dataclass

from sqlalchemy import bindparam, or_, select, update

from fleet.model import ChatRef
from fleet.store.core import Tx
from fleet.store.records import chat_of, columns
from fleet.store.statements import Statement
from fleet.store.tables import LOOSE, cards, outbox

# Built once: building and hashing such a statement takes longer than running it.
_AT = Statement(
    select(cards.c.put, cards.c.message_id).where(
        cards.c.card_key == bindparam("key"),
        cards.c.adapter == bindparam("adapter"),
        cards.c.chat == bindparam("chat"),
        cards.c.thread == bindparam("thread"),
    )
)
_PUT = outbox.alias("put")
_BY_PUT = Statement(
    select(cards).join(
        _PUT,
        (_PUT.c.id == bindparam("posted"))
        & (cards.c.card_key == _PUT.c.card_key)
        & (cards.c.adapter == _PUT.c.adapter)
        & (cards.c.chat == _PUT.c.chat)
        & (cards.c.thread == _PUT.c.thread)
        & (cards.c.put == bindparam("posted")),
    )
)
_NEWEST = Statement(
    select(outbox.c.card_json)
    .where(or_(outbox.c.id == bindparam("posted"), outbox.c.put == bindparam("posted")))
    .order_by(outbox.c.id.desc())
    .limit(1)
)


@dataclass(frozen=True, slots=True)
class LiveCard:
    """A card that can still be changed. ``put`` is the outbox row that posted it, ``card_json`` its newest content
    (empty when retention removed it), ``message_id`` the platform's id of its message, empty before its
    delivery."""

    put: int
    key: str
    chat: ChatRef
    message_id: str
    card_json: str


def loose_key() -> str:
    """A new key for a card that only needs one so that its buttons can be removed; retention drops such cards."""
    return LOOSE + secrets.token_urlsafe(8)


def by_put(tx: Tx, put: int) -> LiveCard | None:
    """The card that this outbox row posted; ``None`` when it has no key or a newer message has its key."""
    row = _BY_PUT.one(tx.connection, {"posted": put})
    if row is None:
        return None
    return LiveCard(put, row.card_key, chat_of(row), row.message_id, _newest(tx, put))


def by_key(tx: Tx, key: str) -> list[LiveCard]:
    """All cards with this key, in the order in which they were posted."""
    rows = tx.connection.execute(select(cards).where(cards.c.card_key == key).order_by(cards.c.put)).all()
    return [LiveCard(row.put, key, chat_of(row), row.message_id, _newest(tx, row.put)) for row in rows]


def at(tx: Tx, key: str, chat: ChatRef) -> LiveCard | None:
    """The card with this key in this chat and thread; ``None`` when there is none."""
    row = _AT.one(tx.connection, {"key": key, **columns(chat)})
    return None if row is None else LiveCard(row.put, key, chat, row.message_id, _newest(tx, row.put))


def posted_at(tx: Tx, key: str, chat: ChatRef) -> int:
    """When the card of this key in this chat was posted; 0 if there is none."""
    found = at(tx, key, chat)
    if found is None:
        return 0
    query = select(outbox.c.created_us).where(outbox.c.id == found.put)
    return tx.connection.execute(query).scalar_one_or_none() or 0


def pinged(tx: Tx, key: str, chat: ChatRef) -> bool:
    """Whether the card of this key in this chat made a sound when it was posted."""
    found = at(tx, key, chat)
    query = select(outbox.c.ping).where(outbox.c.id == (found.put if found is not None else 0))
    return bool(tx.connection.execute(query).scalar_one_or_none())


def set_aside(tx: Tx, card: LiveCard) -> str:
    """Gives a card another key, so that a new message can take its key while this card can still be changed."""
    key = loose_key()
    at = (
        (cards.c.card_key == card.key)
        & (cards.c.adapter == card.chat.adapter)
        & (cards.c.chat == card.chat.chat)
        & (cards.c.thread == card.chat.thread)
    )
    tx.connection.execute(update(cards).where(at).values(card_key=key))
    tx.connection.execute(update(outbox).where(outbox.c.id == card.put).values(card_key=key))
    return key


def _newest(tx: Tx, put: int) -> str:
    found = _NEWEST.one(tx.connection, {"posted": put})
    return "" if found is None else str(found.card_json)
