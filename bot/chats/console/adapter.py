"""The console chat: one conversation of this controller's owner, seen by every terminal that follows it."""

from __future__ import annotations

import asyncio
import uuid
from collections import deque
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from typing import Final

from bot.cards import Action
from bot.chats.console.render import render, render_edit
from bot.outbox.port import AdapterLimits, Outgoing, Receive
from fleet.errors import Unavailable
from fleet.model import ChatRef

MAIN = ChatRef("console", "main")
BEHIND: Final = 1_000
"""How many cards may wait for a terminal that does not read."""


class Following:
    """The cards that wait for one terminal. A terminal that stops reading is dropped before they fill the
    memory."""

    def __init__(self) -> None:
        self._cards: deque[Outgoing] = deque()
        self._news = asyncio.Event()
        self._behind = False

    def put(self, card: Outgoing) -> None:
        """Keeps a card until it is read. One card too many drops the terminal."""
        if len(self._cards) >= BEHIND:
            self._behind = True
            self._cards.clear()
        if not self._behind:
            self._cards.append(card)
        self._news.set()

    async def get(self) -> Outgoing:
        """The next card. Raises ``Unavailable`` when this terminal has fallen too far behind."""
        while True:
            if self._behind:
                raise Unavailable(
                    attempted="show the cards",
                    cause=f"over {BEHIND} cards were waiting and this terminal did not read",
                    hint="Nothing is lost: /status and /logs show what happened. Follow again with: airboss chat",
                )
            if self._cards:
                return self._cards.popleft()
            self._news.clear()
            await self._news.wait()

    def get_nowait(self) -> Outgoing:
        """As :meth:`get`, for when :meth:`empty` says no."""
        return self._cards.popleft()

    def empty(self) -> bool:
        """Whether nothing waits to be read."""
        return not self._cards


class ConsoleAdapter:
    """Cards go to every follower; a button is pressed by its number. Without a follower, cards are kept."""

    name = "console"
    limits = AdapterLimits(text=100_000, buttons=20)

    def __init__(self) -> None:
        self._followers: set[Following] = set()
        self._numbers: dict[str, int] = {}
        self._tokens: list[str] = []

    async def start(self, receive: Receive) -> None:
        """Nothing to do: messages arrive through the control socket."""

    async def close(self) -> None:
        """Nothing is held."""

    async def deliver(self, outgoing: Outgoing) -> str:
        """Gives the card to every follower. An edit is shown in full when it answers a press with new buttons,
        since a button needs its number on the screen."""
        new_buttons = any(action.token not in self._numbers for action in outgoing.card.actions)
        for action in outgoing.card.actions:
            self.number(action)
        shown = replace(outgoing, edits="") if outgoing.soon and new_buttons else outgoing
        for follower in self._followers:
            follower.put(shown)
        return outgoing.edits or uuid.uuid4().hex

    @contextmanager
    def follow(self) -> Iterator[Following]:
        """Everything delivered from now on."""
        following = Following()
        self._followers.add(following)
        try:
            yield following
        finally:
            self._followers.discard(following)

    def number(self, action: Action) -> int:
        """The number of a button; the same button keeps its number while this process lives."""
        if action.token not in self._numbers:
            self._tokens.append(action.token)
            self._numbers[action.token] = len(self._tokens)
        return self._numbers[action.token]

    def token(self, number: int) -> str:
        """The button of a number; empty when no card has shown it."""
        return self._tokens[number - 1] if 0 < number <= len(self._tokens) else ""

    def text(self, outgoing: Outgoing, *, colour: bool) -> str:
        """A delivered card as a terminal shows it; an edit is one line."""
        if outgoing.edits:
            return render_edit(outgoing.card, colour=colour)
        return render(outgoing.card, self.number, colour=colour, ping=outgoing.ping, again=outgoing.again)
