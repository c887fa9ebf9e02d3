"""Buttons: each an opaque token that stands for a command line, bound to a message, a person and its content.

The platform carries the token and nothing else, so a forged, foreign or old button is a token nobody has.
"""

from __future__ import annotations

import secrets
from collections.abc import Collection
from dataclasses import dataclass

from sqlalchemy import ColumnElement, insert, select, update

from fleet.errors import Refused
from fleet.model import ChatRef
from fleet.store.core import Tx
from fleet.store.tables import actions, cards, outbox


@dataclass(frozen=True, slots=True)
class Pressable:
    """A button that may be pressed now. ``digest`` is the content it was shown with; empty: nothing to bind.
    ``put`` is the outbox row of the message that carries it."""

    token: str
    command: str
    digest: str
    once: bool
    put: int


def mint(
    tx: Tx,
    chat: ChatRef,
    *,
    command: str,
    once: bool,
    digest: str = "",
    person: str = "",
    lives_us: int = 0,
    put: int = 0,
) -> str:
    """A token for a button in ``chat``. ``person``: only they may press it (empty: whoever has the right).
    ``put``: the outbox row of the message that carries it (0: any message of the chat).

    ``lives_us``: it is refused after so many microseconds (0: never). A button like this one that the message had
    before and not pressed keeps its token, so that a card may be drawn again without breaking what is on screen.
    """
    same = (
        (actions.c.adapter == chat.adapter)
        & (actions.c.chat == chat.chat)
        & (actions.c.command == command)
        & (actions.c.digest == digest)
        & (actions.c.person == person)
        & (actions.c.put == put)
        & (actions.c.used_us == 0)
    )
    now = tx.now_us()
    found = tx.connection.execute(
        select(actions.c.token).where(same, (actions.c.expires_us == 0) | (actions.c.expires_us > now)).limit(1)
    ).scalar()
    if found is not None:
        return str(found)
    token = secrets.token_urlsafe(16)
    tx.connection.execute(
        insert(actions).values(
            token=token,
            adapter=chat.adapter,
            chat=chat.chat,
            command=command,
            digest=digest,
            person=person,
            once=once,
            created_us=now,
            expires_us=now + lives_us if lives_us else 0,
            used_us=0,
            used_by="",
            put=put,
        )
    )
    return token


def look(tx: Tx, token: str, chat: ChatRef, person: str, message: str = "") -> Pressable:
    """What pressing this button here means. ``message``: the platform's id of the message it was pressed on,
    where the platform says so. Raises ``Refused`` when it may not be pressed (any more)."""
    row = tx.connection.execute(select(actions).where(actions.c.token == token)).one_or_none()
    if row is None or (row.adapter, row.chat) != (chat.adapter, chat.chat):
        raise _refused("it is none of this chat's buttons", "Use the newest card.")
    if message and row.put and message not in (known := _messages(tx, row.put)) and known:
        raise _refused("it belongs to another message", "Use the newest card.")
    if row.person and row.person != person:
        raise _refused("it was made for somebody else", "Only they may press it.")
    if row.once and row.used_us:
        raise _refused(f"{row.used_by} pressed it already", "")
    if row.expires_us and row.expires_us <= tx.now_us():
        raise _refused("it is too old", "Use the newest card.")
    return Pressable(token, row.command, row.digest, row.once, row.put)


def use(tx: Tx, token: str, by: str) -> None:
    """Marks the button as pressed, with the effect in one transaction. Raises ``Refused`` the second time."""
    changed = tx.connection.execute(
        update(actions)
        .where(actions.c.token == token, (actions.c.used_us == 0) | ~actions.c.once)
        .values(used_us=tx.now_us(), used_by=by)
    )
    if changed.rowcount == 0:
        raise _refused("it was pressed already", "")


def spent(tx: Tx, chat: ChatRef, put: int, commands: Collection[str]) -> set[tuple[str, str]]:
    """Of the buttons for these commands that were pressed once and for all on a message: command and digest."""
    query = select(actions.c.command, actions.c.digest).where(_on(chat, put), actions.c.command.in_(commands))
    return {(row.command, row.digest) for row in tx.connection.execute(query.where(actions.c.used_us != 0))}


def spend(tx: Tx, chat: ChatRef, put: int, by: str) -> None:
    """Marks every once-only button of a message as pressed: it asked one thing, and ``by`` has answered."""
    unused = update(actions).where(_on(chat, put), actions.c.used_us == 0)
    tx.connection.execute(unused.values(used_us=tx.now_us(), used_by=by))


def expire(tx: Tx, chat: ChatRef, put: int) -> None:
    """The once-only buttons of a message are too old from now on: a newer message has them."""
    unused = update(actions).where(_on(chat, put), actions.c.used_us == 0)
    tx.connection.execute(unused.values(expires_us=tx.now_us()))


def carriers(tx: Tx, chat: ChatRef, commands: Collection[str]) -> list[int]:
    """The outbox rows of a chat's messages, in all its threads, with an unpressed button for one of these."""
    here = (actions.c.adapter == chat.adapter) & (actions.c.chat == chat.chat)
    query = select(actions.c.put).distinct().where(here, actions.c.command.in_(commands), actions.c.used_us == 0)
    return sorted(tx.connection.execute(query).scalars())


def shown_digest(tx: Tx, chat: ChatRef, command: str) -> str:
    """The content that a button for ``command`` was last shown with: in this chat, else in any; empty: in none."""
    query = select(actions.c.digest).where(actions.c.command == command)
    here = query.where(actions.c.adapter == chat.adapter, actions.c.chat == chat.chat)
    for scope in (here, query):
        newest = scope.order_by(actions.c.put.desc(), actions.c.created_us.desc()).limit(1)
        found = tx.connection.execute(newest).scalar_one_or_none()
        if found is not None:
            return str(found)
    return ""


def _messages(tx: Tx, put: int) -> set[str]:
    """Every message that a card lives in or lived in; empty before its delivery was recorded."""
    rows = select(outbox.c.message_id).where((outbox.c.id == put) | (outbox.c.put == put))
    lives = select(cards.c.message_id).where(cards.c.put == put)
    return {found for found in tx.connection.execute(rows.union(lives)).scalars() if found}


def _on(chat: ChatRef, put: int) -> ColumnElement[bool]:
    """The once-only buttons of a message, by the index that begins with the chat."""
    here = (actions.c.adapter == chat.adapter) & (actions.c.chat == chat.chat)
    return here & (actions.c.put == put) & actions.c.once


def _refused(cause: str, hint: str) -> Refused:
    return Refused(attempted="press this button", cause=cause, hint=hint)
