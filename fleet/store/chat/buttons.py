"""Buttons: opaque tokens for command lines, each bound to a message, a person and its content.

The platform carries only the token, so a forged, foreign or old button is an unknown token.
"""

from __future__ import annotations

import secrets
from collections.abc import Collection
from dataclasses import dataclass

from sqlalchemy import ColumnElement, bindparam, delete, insert, select, update

from fleet.errors import Refused
from fleet.model import ChatRef, PersonId
from fleet.store.chat.moves import ELSEWHERE
from fleet.store.core import Tx
from fleet.store.statements import Statement
from fleet.store.tables import actions, cards, outbox

_SAME = Statement(
    select(actions.c.token)
    .where(
        *(
            actions.c[name] == bindparam(f"at_{name}")
            for name in ("adapter", "chat", "command", "digest", "person", "put")
        )
    )
    .where(actions.c.used_us == 0, (actions.c.expires_us == 0) | (actions.c.expires_us > bindparam("now")))
    .limit(1)
)
_MINT = Statement(insert(actions))
_CARRIERS = Statement(
    select(actions.c.put)
    .distinct()
    .where(*(actions.c[name] == bindparam(f"at_{name}") for name in ("adapter", "chat", "command")))
    .where(actions.c.used_us == 0)
)


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
    """Makes a token for a button in ``chat``. ``person``: only they may press it (empty: anyone with the right).
    ``put``: the outbox row of the message that carries it (0: any message of the chat).

    ``lives_us``: it expires after this many microseconds (0: never). A button that the message already had and that
    was not pressed keeps its token, so that redrawing a card does not break what is on screen.
    """
    now = tx.now_us()
    same = {
        "adapter": chat.adapter,
        "chat": chat.chat,
        "command": command,
        "digest": digest,
        "person": person,
        "put": put,
    }
    found = _SAME.one(tx.connection, {**{f"at_{name}": value for name, value in same.items()}, "now": now})
    if found is not None:
        return str(found.token)
    token = secrets.token_urlsafe(16)
    row = {
        **same,
        "token": token,
        "once": once,
        "created_us": now,
        "expires_us": now + lives_us if lives_us else 0,
        "used_us": 0,
        "used_by": "",
    }
    _MINT.run(tx.connection, row)
    return token


def look(tx: Tx, token: str, chat: ChatRef, person: str, message: str = "", *, private: bool = False) -> Pressable:
    """What pressing this button here means. ``message``: the platform's id of the message it was pressed on, if
    known. ``private``: nobody else is in the chat. Raises ``Refused`` when it may not be pressed."""
    row = tx.connection.execute(select(actions).where(actions.c.token == token)).one_or_none()
    known = _messages(tx, row.put) if row is not None and row.put else set()
    here = row is not None and (row.adapter, row.chat) == (chat.adapter, chat.chat)
    elsewhere = row is not None and private and row.adapter == chat.adapter and ELSEWHERE in known
    if row is None or not (here or elsewhere):
        raise _refused("it is not a button of this chat", "Use the newest card.")
    if here and message and known and not _among(message, known):
        raise _refused("it belongs to another message", "Use the newest card.")
    if row.person and row.person != person:
        raise _refused("it is for somebody else", "Only they may press it.")
    if row.once and row.used_us:
        raise _refused(f"{row.used_by} pressed it already", "")
    if row.expires_us and row.expires_us <= tx.now_us():
        raise _refused("it is too old", "Use the newest card.")
    return Pressable(token, row.command, row.digest, row.once, row.put)


def use(tx: Tx, token: str, by: str) -> None:
    """Marks the button as pressed, in the transaction of the effect. Raises ``Refused`` the second time."""
    changed = tx.connection.execute(
        update(actions)
        .where(actions.c.token == token, (actions.c.used_us == 0) | ~actions.c.once)
        .values(used_us=tx.now_us(), used_by=by)
    )
    if changed.rowcount == 0:
        raise _refused("it was already pressed", "")


def spent(tx: Tx, chat: ChatRef, put: int, commands: Collection[str]) -> set[tuple[str, str]]:
    """Command and digest of the once-only buttons for these commands that were pressed on a message."""
    query = select(actions.c.command, actions.c.digest).where(_on(chat, put), actions.c.command.in_(commands))
    return {(row.command, row.digest) for row in tx.connection.execute(query.where(actions.c.used_us != 0))}


def spend(tx: Tx, chat: ChatRef, put: int, by: str) -> None:
    """Marks every once-only button of a message as pressed: its one question is answered by ``by``."""
    unused = update(actions).where(_on(chat, put), actions.c.used_us == 0)
    tx.connection.execute(unused.values(used_us=tx.now_us(), used_by=by))


def expire(tx: Tx, chat: ChatRef, put: int) -> None:
    """Expires the once-only buttons of a message: a newer message has them."""
    unused = update(actions).where(_on(chat, put), actions.c.used_us == 0)
    tx.connection.execute(unused.values(expires_us=tx.now_us()))


def carriers(tx: Tx, chat: ChatRef, commands: Collection[str]) -> list[int]:
    """The outbox rows of a chat's messages, in all threads, with an unpressed button for one of these commands."""
    here = {"at_adapter": chat.adapter, "at_chat": chat.chat}
    found = [_CARRIERS.all(tx.connection, {**here, "at_command": command}) for command in commands]
    return sorted({row.put for rows in found for row in rows})


def shown_digest(tx: Tx, chat: ChatRef, command: str) -> str:
    """The content that a button for ``command`` last had, in this chat or else in any; empty when there is none."""
    query = select(actions.c.digest).where(actions.c.command == command)
    here = query.where(actions.c.adapter == chat.adapter, actions.c.chat == chat.chat)
    for scope in (here, query):
        newest = scope.order_by(actions.c.put.desc(), actions.c.created_us.desc()).limit(1)
        found = tx.connection.execute(newest).scalar_one_or_none()
        if found is not None:
            return str(found)
    return ""


def _messages(tx: Tx, put: int) -> set[str]:
    """Every message that holds or held the card; empty before its delivery was recorded."""
    rows = select(outbox.c.message_id).where((outbox.c.id == put) | (outbox.c.put == put))
    lives = select(cards.c.message_id).where(cards.c.put == put)
    return {found for found in tx.connection.execute(rows.union(lives)).scalars() if found}


def _among(message: str, known: set[str]) -> bool:
    """Whether it is one of these messages. A platform does not always say which thread a message is in."""
    return message in known or (":" not in message and any(stored.endswith(f":{message}") for stored in known))


def _on(chat: ChatRef, put: int) -> ColumnElement[bool]:
    """The once-only buttons of a message, by the index that starts with the chat."""
    here = (actions.c.adapter == chat.adapter) & (actions.c.chat == chat.chat)
    return here & (actions.c.put == put) & actions.c.once


def _refused(cause: str, hint: str) -> Refused:
    return Refused(attempted="press this button", cause=cause, hint=hint)


def drop_all(tx: Tx, person: PersonId) -> None:
    """Ends the buttons that only this person could press."""
    tx.connection.execute(delete(actions).where(actions.c.person == str(person)))
