"""Puts cards into the outbox, in the transaction of what they report."""

from __future__ import annotations

from collections.abc import Callable, Collection
from dataclasses import replace
from enum import IntEnum
from functools import partial
from pathlib import Path
from typing import Protocol

from bot.cards import Action, Card
from fleet import shared_files
from fleet.model import ChatRef
from fleet.store.chat import buttons as button_rows
from fleet.store.chat import cards as card_rows
from fleet.store.chat import outbox
from fleet.store.core import Store, Tx
from fleet.store.states import BlobKind


class Priority(IntEnum):
    """The most urgent first: when a platform limits us, pings go before cards."""

    PING = 0
    REPLY = 1
    CARD = 2


class Carrier(Protocol):
    """Delivers what is posted."""

    def ring(self, adapter: str, numbers: Collection[int]) -> None:
        """These rows for this adapter are committed; no rows: only a card changed. Called on the loop."""

    def take(self, tx: Tx, adapter: str) -> None:
        """Claims in ``tx`` what may be sent now, and sends it after the commit."""


Answered = Callable[[str, Collection[int]], None]


class Outbox:
    """Opens transactions for posting. ``carrier``: who is told once they are committed, if somebody delivers."""

    def __init__(self, store: Store) -> None:
        self.store = store
        self.carrier: Carrier | None = None
        self._listeners: dict[str, Answered] = {}

    def answers_to(self, adapter: str, listener: Answered) -> None:
        """``listener`` hears which rows answer a message of this adapter, before they leave."""
        self._listeners[adapter] = listener

    def answered(self, adapter: str, update_id: str, numbers: Collection[int]) -> None:
        """These rows are committed, and answer that message. Called on the loop."""
        if adapter in self._listeners:
            self._listeners[adapter](update_id, numbers)

    def open(self, tx: Tx) -> Posts:
        """What this transaction posts to chats."""
        return Posts(tx, self)


class Posts:
    """What one transaction posts to chats. ``numbers``: the outbox rows of its new messages, in order.

    ``task``, ``status``, ``data``: the result of the call that posts, as its handler set it.
    """

    def __init__(self, tx: Tx, outbox_: Outbox) -> None:
        self.tx = tx
        self.numbers: list[int] = []
        self.task, self.status = "", 0
        self.data: dict[str, object] | None = None
        self._outbox = outbox_
        self._news: dict[str, list[int]] = {}
        tx.after_commit(self._ring)

    def post(
        self,
        chat: ChatRef,
        card: Card,
        *,
        key: str = "",
        ping: bool = False,
        task: str = "",
        priority: Priority | None = None,
    ) -> int:
        """Posts a new card; returns the number of its row. With ``key``, :meth:`repost` can change it."""
        if priority is None:
            priority = Priority.PING if ping else Priority.REPLY
        if not key and any(action.once for action in card.actions):
            key = card_rows.loose_key()  # the card is found by it when a pressed button is removed
        card = self._clean(card)
        number = outbox.put(
            self.tx, chat=chat, card_json=card.to_json(), card_key=key, ping=ping, priority=priority, task=task
        )
        if card.actions:
            new = card.with_actions(replace(action, token="") for action in card.actions)
            outbox.redraw(self.tx, number, self._with_tokens(chat, new, number).to_json())
        self.numbers.append(number)
        self._news.setdefault(chat.adapter, []).append(number)
        return number

    def repost(self, chat: ChatRef, card: Card, *, key: str, soon: bool = False) -> None:
        """Changes the message posted under ``key`` in this chat. Of several waiting changes only the newest is
        sent.

        ``soon``: it answers somebody's press, so it goes before changes that nobody waits for.

        A once-only button that was pressed on it does not come back.
        """
        posted = card_rows.at(self.tx, key, chat)
        if posted is None:
            return
        # A button on the card now was not pressed, since a press removes it: it keeps its token.
        tokens = {_button(action): action.token for action in _actions(posted.card_json)}
        new = {action.command for action in card.actions if action.once and _button(action) not in tokens}
        used = button_rows.spent(self.tx, chat, posted.put, new) if new else set()
        kept = [
            replace(action, token=tokens.get(_button(action), ""))
            for action in card.actions
            if _button(action) in tokens or not action.once or (action.command, action.digest) not in used
        ]
        drawn = self._with_tokens(chat, self._clean(card).with_actions(kept), posted.put)
        outbox.edit(self.tx, key, drawn.to_json(), chat=chat, soon=soon)
        self._news.setdefault(chat.adapter, [])

    def conclude(self, task: str = "", status: int = 0) -> None:
        """The task that the call started or concerned, and its exit status."""
        self.task, self.status = task, status

    def answers(self, adapter: str, update_id: str) -> None:
        """What is posted so far answers this message."""
        self.tx.after_commit(partial(self._outbox.answered, adapter, update_id, list(self.numbers)))

    def leave_at_once(self) -> None:
        """Claims in this transaction what may be sent now, where it posted: that needs no second commit."""
        if carrier := self._outbox.carrier:
            for adapter in self._news:
                carrier.take(self.tx, adapter)

    def _ring(self) -> None:
        if carrier := self._outbox.carrier:
            for adapter, numbers in self._news.items():
                carrier.ring(adapter, numbers)

    def _clean(self, card: Card) -> Card:
        """Every card to a chat is redacted here, wherever its text comes from. Who sends it can get its files."""
        for path in filter(None, (card.picture, card.document)):
            shared_files.demand(self.tx, Path(path), BlobKind.CHAT_FILE, name=path, owner="")
        redact = self.tx.store.redact
        return card if redact is None else card.redacted(redact)

    def _with_tokens(self, chat: ChatRef, card: Card, put: int) -> Card:
        """The card with a token for each button, bound to the message of the row ``put``."""

        def minted(action: Action) -> Action:
            if action.token:
                return action
            token = button_rows.mint(
                self.tx, chat, command=action.command, once=action.once, digest=action.digest, put=put
            )
            return replace(action, token=token)

        return card.with_actions(map(minted, card.actions))


def _button(action: Action) -> tuple[str, str, bool]:
    return action.command, action.digest, action.once


def _actions(card_json: str) -> tuple[Action, ...]:
    """The buttons of a stored card; none when retention removed it."""
    return Card.from_json(card_json).actions if card_json else ()
