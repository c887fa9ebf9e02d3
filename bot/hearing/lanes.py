"""The waiting messages of one chat, in order of arrival, and how the next act of a person is taken from them."""

from __future__ import annotations

import asyncio
import contextlib
from collections import deque
from dataclasses import dataclass, field
from typing import Final

from bot.hearing import acts
from bot.hearing.meaning import Background
from bot.message import Message
from bot.registry import Registry
from fleet.store.chat import inbox
from fleet.supervise import Component

_LONGEST_SECONDS: Final = 5.0
"""An act is complete after so long at the latest, however much goes on in its chat."""

_MISSED_SECONDS: Final = 15.0
"""The same while a message of the chat could not be committed: the platform sends it again."""


@dataclass(frozen=True, slots=True, eq=False)
class WaitingMessage:
    """A committed message; ``None`` for a message that cannot be read, or a background not looked up yet.
    ``recovered``: an earlier process received it."""

    row: inbox.Received
    message: Message | None
    background: Background | None
    recovered: bool = False


@dataclass(slots=True)
class Lane:
    """``coming``: messages that are being committed; ``missed``: those that could not be, by their update.
    ``acting``: the act that was started; after an error it is unknown whether its commit succeeded."""

    waiting: deque[WaitingMessage] = field(default_factory=deque)
    worker: Component | None = None
    coming: int = 0
    missed: set[str] = field(default_factory=set)
    acting: list[WaitingMessage] = field(default_factory=list)
    came: asyncio.Event = field(default_factory=asyncio.Event)

    async def next_act(self, registry: Registry) -> list[WaitingMessage]:
        """The next message, with those that its sender sent with it. Waits for them, if there may be some."""
        loop = asyncio.get_running_loop()
        start = loop.time()
        while True:
            found, complete = self._gathered(registry)
            last, recovered = found[-1].message, found[0].recovered
            quiet = acts.patience(last, registry, recovered=recovered) if last and not complete else 0.0
            if not quiet:
                return found
            longest = _MISSED_SECONDS if self.missed else _LONGEST_SECONDS
            self.came.clear()
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(min(quiet, max(0.0, start + longest - loop.time()))):
                    await self.came.wait()
            late = loop.time() > start + (_MISSED_SECONDS if self.missed else _LONGEST_SECONDS)
            if late or not (self.came.is_set() or self.coming or self.missed):
                return self._gathered(registry)[0]

    def _gathered(self, registry: Registry) -> tuple[list[WaitingMessage], bool]:
        """The act that is here, and whether a later message of its sender shows that it is complete."""
        first = self.waiting[0]
        found = [first]
        if first.message is None:
            return found, True
        parts = [first.message]
        for waiting in list(self.waiting)[1:]:
            message = waiting.message
            if message is None or message.sender != first.message.sender:
                continue
            if not acts.continues(parts, message, registry):
                return found, True
            found.append(waiting)
            parts.append(message)
        return found, False
