"""The port that every chat implements: the card to send, and the errors that sending it may raise."""

from __future__ import annotations

import math
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import Final, Protocol

from bot.cards import Card
from bot.message import Message
from fleet.errors import Unavailable
from fleet.model import ChatRef

_LONGEST_WAIT: Final = 3_600.0
"""A platform that asks for more is asked again after so many seconds: nobody is silent for years by its mistake."""


async def always() -> None:
    """Nobody else may send to these chats, or read them."""


async def as_it_is(card: Card) -> Card:
    """Its files are where it says."""
    return card


class RetryAfter(Exception):
    """The platform asks us to wait ``seconds``, in this chat only or everywhere (``everywhere``). ``unsure``: as
    :class:`Unsure` says."""

    def __init__(self, seconds: float, *, everywhere: bool = False) -> None:
        self.seconds = min(max(seconds, 0.0), _LONGEST_WAIT) if math.isfinite(seconds) else _LONGEST_WAIT
        super().__init__(f"try again in {self.seconds} s")
        self.everywhere, self.unsure = everywhere, False


class Unsure(Unavailable):
    """The platform may show a new card already, or the beginning of it: its answer was lost. Also after a restart,
    the next try is marked."""


class Undeliverable(Exception):
    """The platform will never accept this (the chat is gone, the bot was removed): it is given up."""


class ChatMoved(Exception):
    """The chat has a new id, ``chat``: the store is updated, and the card is sent there.

    ``message_id``: the card has arrived there already, as this message.
    """

    def __init__(self, chat: str, message_id: str = "") -> None:
        super().__init__(f"the chat is now {chat}")
        self.chat, self.message_id = chat, message_id


@dataclass(frozen=True, slots=True)
class Outgoing:
    """A card to send. ``edits`` is the platform's id of the message it replaces, empty for a new one.
    ``again``: an earlier process may have sent it already, so it is marked for the reader. ``root``: the thread
    or the message under which its task's cards go in this chat; empty for the task's own first card.
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
"""Commits a message; returns false when it was received before. If it raises, nothing was committed."""


class Adapter(Protocol):
    """One chat platform. The only thing that sends."""

    @property
    def name(self) -> str:
        """What ``ChatRef.adapter`` says."""

    async def start(self, receive: Receive) -> None:
        """Starts to receive messages. Each is acknowledged only after ``receive`` has returned."""

    async def deliver(self, outgoing: Outgoing) -> str:
        """Sends the card and returns the platform's id of the message. Raises ``RetryAfter``, ``Unavailable`` and
        ``Unsure`` (retried with growing delays), ``ChatMoved`` or ``Undeliverable``."""

    async def close(self) -> None:
        """Stops receiving messages."""
