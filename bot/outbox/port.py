"""The port that every chat implements: what a card on its way says, and what may come of sending it."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import Protocol

from bot.cards import Card
from bot.message import Message
from fleet.model import ChatRef


class RetryAfter(Exception):
    """The platform asks for patience: ``seconds``, for this chat only or for everything (``everywhere``)."""

    def __init__(self, seconds: float, *, everywhere: bool = False) -> None:
        super().__init__(f"try again in {seconds} s")
        self.seconds, self.everywhere = seconds, everywhere


class Undeliverable(Exception):
    """The platform will never take this (the chat is gone, the bot was thrown out): it is given up."""


class ChatMoved(Exception):
    """The chat has a new id, ``chat``: what is in the store moves along, and the card is sent there."""

    def __init__(self, chat: str) -> None:
        super().__init__(f"the chat is now {chat}")
        self.chat = chat


@dataclass(frozen=True, slots=True)
class AdapterLimits:
    """What a chat can carry. ``text``: characters of one message; ``buttons``: of one card; ``edits``: whether
    a message can be changed afterwards."""

    text: int
    buttons: int
    edits: bool = True


@dataclass(frozen=True, slots=True)
class Outgoing:
    """A card on its way. ``edits`` is the platform's id of the message it replaces, empty for a new one.
    ``again``: an earlier process may have sent it already, so it is marked for the reader. ``root``: the thread
    or the message under which its task is talked about in this chat; empty for the task's own first card.
    ``soon``: an edit that somebody waits for."""

    id: int
    chat: ChatRef
    card: Card
    edits: str
    ping: bool
    again: bool
    task: str
    key: str
    root: str = ""
    soon: bool = False


Receive = Callable[[Message], Awaitable[bool]]
"""Commits a message; answers false when it was received before. What it raises was not committed."""


class Adapter(Protocol):
    """One chat platform. The only thing that sends."""

    @property
    def name(self) -> str:
        """What ``ChatRef.adapter`` says."""

    @property
    def limits(self) -> AdapterLimits:
        """What the platform can carry."""

    async def start(self, receive: Receive) -> None:
        """Begins to take messages. Each is acknowledged only after ``receive`` has returned."""

    async def deliver(self, outgoing: Outgoing) -> str:
        """Sends the card and answers with the platform's id of the message. Raises ``RetryAfter``,
        ``Unavailable`` (tried again, later and later), ``ChatMoved`` or ``Undeliverable``."""

    async def close(self) -> None:
        """Stops taking messages."""
