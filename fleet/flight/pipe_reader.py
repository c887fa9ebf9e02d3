"""Reads one pipe across broken links, into a queue for its follower."""

from __future__ import annotations

import asyncio
import contextlib
import logging
from dataclasses import dataclass, replace
from typing import Final

from fleet.errors import MachineFaulty, TakenAway, Unavailable
from fleet.exits import RESTARTED, UNRECORDED, Lost, tampered
from fleet.flight import tampering
from fleet.ports import Clock, Ended, Executor, Output, PipeEvent
from fleet.supervise import end, own

_log = logging.getLogger(__name__)

_ATTACH_BACKOFF: Final = (0.2, 0.5, 1, 2, 5, 10, 15)
_QUEUE: Final = 64


@dataclass(frozen=True, slots=True)
class LinkDown:
    """The machine is unreachable or its answers are malformed; ``why`` is its error. The process may still run."""

    why: str


@dataclass(frozen=True, slots=True)
class LinkUp:
    """The machine answers again."""


@dataclass(frozen=True, slots=True)
class Woken:
    """A person did something about this session, or some time has passed."""


@dataclass(frozen=True, slots=True)
class _Died:
    """The reader failed with an error that is not about the link."""

    error: Exception


Read = PipeEvent | LinkDown | LinkUp | Woken


async def end_of(executor: Executor, pipe: str, nonce: str) -> Ended:
    """The end of a pipe whose output nobody wants. Raises ``Unavailable``."""
    async for event in executor.attach(pipe, nonce, 0):
        if isinstance(event, Ended):
            return event
    raise Unavailable(attempted="wait for a process", on=pipe, cause="the machine did not say how it ended")


class PipeReader:
    """Attaches at a spool offset, and attaches again forever: a broken link says nothing about the process.

    ``boot``: its machine's, when the process was begun; empty where that is not known.
    """

    def __init__(
        self, executor: Executor, pipe: str, nonce: str, offset: int, clock: Clock, *, boot: str = ""
    ) -> None:
        self._boot = boot
        self._executor, self._pipe, self._nonce, self._clock = executor, pipe, nonce, clock
        self._events: asyncio.Queue[Read | _Died] = asyncio.Queue(maxsize=_QUEUE)
        self._next: Read | _Died | None = None  # taken from the queue, not yet returned
        self.offset = offset  # of the next byte to read
        self._read_so_far = tampering.OutputRead(offset)
        self._task = own(self._read(), f"read {pipe}")

    async def next(self, patience: float = 5.0) -> Read:
        """The next event; ``Woken`` when there is none within ``patience`` seconds.

        Raises the reader's error, unless it was the pipe's end or a broken link.
        """
        if self._next is None:
            try:
                async with asyncio.timeout(patience):
                    self._next = await self._events.get()
            except TimeoutError:
                return Woken()
        if isinstance(self._next, _Died):
            raise self._next.error  # raised again at each call
        event, self._next = self._next, None
        return event

    def output(self) -> Output | None:
        """The next event, if it is output that is already waiting."""
        if self._next is None and not self._events.empty():
            self._next = self._events.get_nowait()
        if not isinstance(self._next, Output):
            return None
        event, self._next = self._next, None
        return event

    def wake(self) -> None:
        """Makes ``next`` return. If the queue is full, it will return anyway."""
        with contextlib.suppress(asyncio.QueueFull):
            self._events.put_nowait(Woken())

    async def close(self) -> None:
        """Detaches from the pipe; its process continues."""
        await end(self._task)

    async def _read(self) -> None:
        try:
            await self._read_to_the_end()
        except Exception as error:
            _log.exception("the reader of %s failed", self._pipe)
            await self._events.put(_Died(error))

    async def _read_to_the_end(self) -> None:
        failures = 0
        while True:
            try:
                async for event in self._executor.attach(self._pipe, self._nonce, self.offset):
                    if failures:
                        failures = 0
                        await self._events.put(LinkUp())
                    if isinstance(event, Output):
                        self.offset = event.offset + len(event.data)
                        self._read_so_far.add(event.data)
                    if isinstance(event, Ended):
                        await self._events.put(await self._explained(event))
                        return
                    await self._events.put(event)
                why = "the link closed"
            except TakenAway as error:
                await self._events.put(Ended(Lost(error.cause), None, 0, 0, contained=False, gone=False))
                return
            except MachineFaulty as error:
                why = f"faulty answer: {error.cause or error}"
            except Unavailable as error:
                why = error.cause or str(error)
            if not failures:
                await self._events.put(LinkDown(why))
            pause = _ATTACH_BACKOFF[min(failures, len(_ATTACH_BACKOFF) - 1)]
            failures += 1
            await self._clock.sleep(pause)

    async def _explained(self, ended: Ended) -> Ended:
        """A process without an exit record may have ended with its machine: that has another boot then.

        One whose output is not what its supervisor took from it was tampered with.
        """
        if ended.streams is not None and (why := self._read_so_far.differs(ended.streams.said)):
            return replace(ended, exit=Lost(tampered(why)), gone=False)
        if ended.exit != UNRECORDED or not self._boot or (await self._executor.facts()).boot == self._boot:
            return ended
        return replace(ended, exit=RESTARTED, gone=True)
