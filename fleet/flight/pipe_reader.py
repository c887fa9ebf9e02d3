"""Reads one pipe for as long as it lives, through links that break, into a queue that its follower works off."""

from __future__ import annotations

import asyncio
import contextlib
from dataclasses import dataclass
from typing import Final

from fleet.errors import Unavailable
from fleet.ports import Clock, Ended, Executor, Output, PipeEvent

_ATTACH_BACKOFF: Final = (0.2, 0.5, 1, 2, 5, 10, 15)
_QUEUE: Final = 64


@dataclass(frozen=True, slots=True)
class LinkDown:
    """The machine cannot be reached; ``why`` in its own words. The process may well live."""

    why: str


@dataclass(frozen=True, slots=True)
class LinkUp:
    """The machine answers again."""


@dataclass(frozen=True, slots=True)
class Woken:
    """A person did something that concerns this session, or a while has passed."""


Read = PipeEvent | LinkDown | LinkUp | Woken


class PipeReader:
    """Attaches at a spool offset, and attaches again for ever: a broken link says nothing about the process."""

    def __init__(self, executor: Executor, pipe: str, nonce: str, offset: int, clock: Clock) -> None:
        self._executor, self._pipe, self._nonce, self._clock = executor, pipe, nonce, clock
        self._events: asyncio.Queue[Read] = asyncio.Queue(maxsize=_QUEUE)
        self.offset = offset  # of the next byte to be read
        self._task = asyncio.create_task(self._read(), name=f"read {pipe}")

    async def next(self, patience: float = 5.0) -> Read:
        """What comes next; ``Woken`` when that is nothing for so many seconds."""
        try:
            return await asyncio.wait_for(self._events.get(), patience)
        except TimeoutError:
            return Woken()

    def wake(self) -> None:
        """Makes ``next`` answer. A full queue means that there is enough to wake up for."""
        with contextlib.suppress(asyncio.QueueFull):
            self._events.put_nowait(Woken())

    async def close(self) -> None:
        """Lets go of the pipe; its process goes on."""
        self._task.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await self._task

    async def _read(self) -> None:
        failures = 0
        while True:
            try:
                async for event in self._executor.attach(self._pipe, self._nonce, self.offset):
                    if failures:
                        failures = 0
                        await self._events.put(LinkUp())
                    if isinstance(event, Output):
                        self.offset = event.offset + len(event.data)
                    await self._events.put(event)
                    if isinstance(event, Ended):
                        return
            except Unavailable as error:
                if not failures:
                    await self._events.put(LinkDown(error.cause or str(error)))
                pause = _ATTACH_BACKOFF[min(failures, len(_ATTACH_BACKOFF) - 1)]
                failures += 1
                await self._clock.sleep(pause)
