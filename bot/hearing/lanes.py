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
from fleet.failpoints import failpoint
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
    came_s: float = 0.0


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

    def came_in(self, new: WaitingMessage) -> None:
        """Waits behind the others, but before what its sender sent after it: a part that had to be sent again may
        arrive later than the next one. Who waits already does not wait twice."""
        if any(waiting.row.id == new.row.id for waiting in self.waiting):
            return
        later = (
            number
            for number, waiting in enumerate(self.waiting)
            if waiting not in self.acting and acts.sent_before(new.message, waiting.message)
        )
        self.waiting.insert(next(later, len(self.waiting)), new)
        self.came.set()

    async def next_act(self, registry: Registry) -> list[WaitingMessage]:
        """The next message, with those that its sender sent with it. Waits for them, if there may be some."""
        failpoint("update-committed")
        now = asyncio.get_running_loop().time
        while True:
            found, complete = self._gathered(registry)
            first, last = found[0], found[-1]
            quiet = (
                acts.patience(last.message, registry, recovered=first.recovered)
                if last.message and not complete
                else 0.0
            )
            until = first.came_s + (_MISSED_SECONDS if self.missed else _LONGEST_SECONDS)
            if not (self.coming or self.missed):
                until = min(until, last.came_s + quiet)
            if not quiet or (left := until - now()) <= 0:
                return found
            self.came.clear()
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(left):
                    await self.came.wait()

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
