"""The console chat: one conversation of this controller's owner, seen by every terminal that follows it."""

from __future__ import annotations

import asyncio
import uuid
from collections.abc import Iterator
from contextlib import contextmanager

from bot.cards import Action
from bot.chats.console_render import render, render_edit
from bot.deliver import AdapterLimits, Outgoing, Receive
from fleet.model import ChatRef

MAIN = ChatRef("console", "main")


class ConsoleAdapter:
    """Cards go to whoever follows; presses come back by number. Nobody following loses nothing: it is kept."""

    name = "console"
    limits = AdapterLimits(text=100_000, buttons=20)

    def __init__(self) -> None:
        self._followers: set[asyncio.Queue[Outgoing]] = set()
        self._numbers: dict[str, int] = {}
        self._tokens: list[str] = []

    async def start(self, receive: Receive) -> None:
        """Messages come in through the control socket, so there is nothing to listen to here."""

    async def close(self) -> None:
        """Nothing is held."""

    async def deliver(self, outgoing: Outgoing) -> str:
        """Hands the card to every follower."""
        for action in outgoing.card.actions:
            self.number(action)
        for follower in self._followers:
            follower.put_nowait(outgoing)
        return outgoing.edits or uuid.uuid4().hex

    @contextmanager
    def follow(self) -> Iterator[asyncio.Queue[Outgoing]]:
        """Everything delivered from now on."""
        queue: asyncio.Queue[Outgoing] = asyncio.Queue()
        self._followers.add(queue)
        try:
            yield queue
        finally:
            self._followers.discard(queue)

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
