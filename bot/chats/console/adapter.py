"""The console chat: one conversation for each person, seen by the terminals of that person.

An answer goes to the terminal that asked for it; everything else, and answers to a terminal that is gone, go to all
terminals of that person.
"""

from __future__ import annotations

import asyncio
import uuid
from collections.abc import Collection, Iterator
from contextlib import contextmanager
from dataclasses import replace
from typing import Final

from bot.cards import Action
from bot.chats.console.render import edit_line, render, render_edit
from bot.outbox.port import Outgoing, Receive
from fleet.errors import Unavailable
from fleet.model import ChatRef
from gates.people import CONSOLE_MAIN

BEHIND: Final = 1_000
"""How many cards may wait for a terminal that does not read."""


class Following:
    """The cards that wait for one terminal. A terminal that stops reading is dropped before they fill the
    memory."""

    def __init__(self, chat: ChatRef, terminal: str) -> None:
        self.chat, self.terminal = chat, terminal
        self._cards: asyncio.Queue[Outgoing] = asyncio.Queue(BEHIND)
        self._behind = False

    def put(self, card: Outgoing) -> None:
        """Keeps a card until it is read. One card too many drops the terminal."""
        if self._cards.full():
            self._behind, self._cards = True, asyncio.Queue(BEHIND)
        if not self._behind:
            self._cards.put_nowait(card)

    async def get(self) -> Outgoing:
        """The next card. Raises ``Unavailable`` when this terminal has fallen too far behind."""
        if self._behind:
            raise Unavailable(
                attempted="show the cards",
                cause=f"over {BEHIND} cards were waiting and this terminal did not read",
                hint="Nothing is lost: /status and /logs show what happened. Follow again with: airboss chat",
            )
        return await self._cards.get()

    def get_nowait(self) -> Outgoing:
        """As :meth:`get`, for when :meth:`empty` says no."""
        return self._cards.get_nowait()

    def empty(self) -> bool:
        """Whether nothing waits to be read."""
        return self._cards.empty()


class ConsoleAdapter:
    """Cards go to every follower; a button is pressed by its number. Without a follower, cards are kept."""

    name = "console"

    def __init__(self) -> None:
        self._followers: set[Following] = set()
        self._numbers: dict[str, int] = {}
        self._tokens: list[str] = []
        self._asking: dict[str, str] = {}
        self._terminals: dict[int | str, str] = {}
        self._lines: dict[str, str] = {}

    async def start(self, receive: Receive) -> None:
        """Nothing to do: messages arrive through the control socket."""

    async def close(self) -> None:
        """Nothing is held."""

    async def deliver(self, outgoing: Outgoing) -> str:
        """Gives the card to the terminal that it answers, else to every terminal of its person. An edit is shown
        in full when it answers a press with new buttons, since a button needs its number on the screen."""
        new_buttons = any(action.token not in self._numbers for action in outgoing.card.actions)
        for action in outgoing.card.actions:
            self.number(action)
        shown = replace(outgoing, edits="") if outgoing.soon and new_buttons else outgoing
        message = outgoing.edits or uuid.uuid4().hex
        if not self._says_more(message, shown):
            return message
        terminal = self._terminals.pop(outgoing.id, "") or self._terminals.get(message, "")
        theirs = [follower for follower in self._followers if follower.chat.chat == outgoing.chat.chat]
        asked = [follower for follower in theirs if terminal and follower.terminal == terminal]
        if asked:
            self._remember(message, terminal)
        for follower in asked or theirs:
            follower.put(shown)
        return message

    def _says_more(self, message: str, outgoing: Outgoing) -> bool:
        """Whether a line about an edit would differ from the last one; a full card always counts."""
        said, known = edit_line(outgoing.card).plain, self._lines.pop(message, "")
        self._lines[message] = said
        while len(self._lines) > BEHIND:
            del self._lines[next(iter(self._lines))]
        return not outgoing.edits or said != known

    def asks(self, update_id: str, terminal: str) -> None:
        """The answer to this message goes to that terminal."""
        self._asking[update_id] = terminal

    def answered(self, update_id: str, numbers: Collection[int]) -> None:
        """These rows of the outbox answer a message. Called before they leave."""
        terminal = self._asking.pop(update_id, "")
        for number in numbers:
            self._remember(number, terminal)

    def _remember(self, key: int | str, terminal: str) -> None:
        if terminal:
            self._terminals[key] = terminal
        while len(self._terminals) > BEHIND:
            del self._terminals[next(iter(self._terminals))]

    @contextmanager
    def follow(self, chat: ChatRef = CONSOLE_MAIN, terminal: str = "") -> Iterator[Following]:
        """Everything delivered to this conversation from now on."""
        following = Following(chat, terminal)
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
