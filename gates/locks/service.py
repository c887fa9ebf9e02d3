"""Locks for whoever asks the running controller: at once, or in line.

A line is fair: nobody is granted what conflicts with the wish of one who has waited longer. Who waits for several
things holds none of them meanwhile, so no two wait for each other. A release serves the line in its own
transaction: the next holder is in the store before the last one hears that it let go.
"""

from __future__ import annotations

import asyncio
import contextlib
import itertools
import logging
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import Final

from fleet.errors import StoreUnavailable
from fleet.locks import Blocked, Granted, HoldEnd, LockAnswer
from fleet.ports import Clock
from fleet.store import leases, locks
from fleet.store.core import Store, Tx
from fleet.supervise import OwnedTasks, first
from gates.locks import book
from gates.locks.book import Request
from gates.locks.overlap import conflict
from gates.locks.remembered import Remembered

_log = logging.getLogger(__name__)

_LOOK_SECONDS: Final = 5.0
"""How often the line is looked at when nothing says so. The wall clock may have been set."""

_SWEEP_US: Final = 60_000_000

_SOON: Final = 0.02


@dataclass(eq=False, slots=True)
class Waiter:
    """One in line. ``answer`` is set by the commit that grants; ``blocked``: what was last in its way."""

    number: int
    request: Request
    since_us: int
    answer: asyncio.Future[Granted] = field(repr=False)
    blocked: Blocked | None = None


class LockService:
    """One for a controller: it alone grants, under the leadership that ``store`` writes under."""

    def __init__(self, store: Store, clock: Clock) -> None:
        self._store, self._clock = store, clock
        self.remembered = Remembered(store)
        self._line: list[Waiter] = []
        self._numbers = itertools.count(1)
        self._changed, self._left = asyncio.Event(), False
        self._late = OwnedTasks()

    @property
    def line(self) -> tuple[Waiter, ...]:
        """Who waits, the longest first."""
        return tuple(self._line)

    async def acquire(self, request: Request, *, wait_seconds: float = 0.0) -> LockAnswer:
        """Everything that is wanted, or what is in the way; with ``wait_seconds``, waits in line for so long.

        A caller that is cancelled holds nothing. Raises ``StoreUnavailable``: nothing is granted then.
        """
        waiter = Waiter(next(self._numbers), request, self._clock.now_us(), _future())
        if wait_seconds > 0:
            self._line.append(waiter)
        try:
            waiter.blocked = await self._try(waiter)
            if waiter.blocked is not None and wait_seconds > 0:
                self._changed.set()
                with contextlib.suppress(TimeoutError):
                    async with asyncio.timeout(wait_seconds):
                        await asyncio.shield(waiter.answer)
                self._drop(waiter)
                if not waiter.answer.done():
                    await self._store.write(_nothing)  # a grant that was on its way is known after this
        except asyncio.CancelledError:
            if waiter.answer.done():
                self._late.begin(self._give_back(waiter.request, waiter.answer.result()), "give locks back")
            raise
        finally:
            self.leave(waiter)
        if waiter.answer.cancelled():
            return waiter.blocked or Blocked(())
        return waiter.answer.result()

    async def line_up(self, request: Request, told: Callable[[], None]) -> Waiter:
        """A place in line, also where everything was granted at once: ``answer`` says which. Leave it in the end.

        ``told`` is called on the event loop once the answer is there.
        """
        waiter = Waiter(next(self._numbers), request, self._clock.now_us(), _future())
        self._line.append(waiter)
        try:
            waiter.blocked = await self._try(waiter)
        except BaseException:
            self.leave(waiter)
            raise
        waiter.answer.add_done_callback(lambda _: told())
        self._changed.set()
        return waiter

    def leave(self, waiter: Waiter) -> None:
        """Gives up a place in line. What was granted stays granted."""
        self._drop(waiter)
        if not waiter.answer.done():
            waiter.answer.cancel()

    def _drop(self, waiter: Waiter) -> None:
        """Takes a waiter out of the line; those behind it are looked at where it got nothing."""
        if waiter in self._line:
            self._line.remove(waiter)
            if self._line and not waiter.answer.done():
                self._left = True
                self._changed.set()

    async def change(self, work: Callable[[Tx], None]) -> None:
        """Does something that may free locks, and serves the line in the same transaction."""

        def whole(tx: Tx) -> None:
            work(tx)
            self.serve(tx)

        await self._store.write(whole)

    def serve(self, tx: Tx) -> None:
        """Grants what can be granted to those in line. Part of every transaction that frees locks."""
        ahead: list[Waiter] = []
        for waiter in tuple(self._line):
            if waiter.answer.done():
                continue
            if not _behind(waiter.request, ahead):
                answer = book.acquire(tx, waiter.request)
                if isinstance(answer, Granted):
                    tx.after_commit(_telling(self, waiter, answer))
                    continue
                tx.after_commit(_noting(waiter, answer))
            ahead.append(waiter)

    async def run(self) -> None:
        """Serves the line when a hold in its way expires or somebody leaves it, and ends what has expired. Until
        cancelled."""
        swept = self._clock.now_us()
        while True:
            self._changed.clear()
            if self._left or any(self._due()):
                await self._store.write(self.serve)
                self._left = False
            if self._clock.now_us() - swept > _SWEEP_US:
                await self.sweep()
                swept = self._clock.now_us()
            await first(self._changed.wait(), self._clock.sleep(self._pause()))

    async def sweep(self) -> int:
        """Ends the holds whose time is over; returns how many."""

        def work(tx: Tx) -> int:
            now = tx.now_us()
            late = [hold for hold in locks.open_holds(tx) if hold.expires_us <= now]
            over = [hold for hold in late if not leases.held(tx, hold.lease)]
            for hold in over:
                book.expire(tx, hold)
            if over:
                self.serve(tx)
            return len(over)

        return await self._store.write(work)

    async def close(self) -> None:
        """Nothing is granted any more; what was granted to nobody is given back."""
        await self._late.end()

    # --- parts ----------------------------------------------------------------------------------------

    async def _try(self, waiter: Waiter) -> Blocked | None:
        """One attempt, behind those who wait already. ``None``: granted, and told by the commit itself."""
        ahead = [other for other in self._line if other.number < waiter.number and not other.answer.done()]
        held_up = _behind(waiter.request, ahead)
        if held_up is not None:
            return held_up

        def work(tx: Tx) -> Blocked | None:
            answer = book.acquire(tx, waiter.request)
            if isinstance(answer, Blocked):
                return answer
            tx.after_commit(_telling(self, waiter, answer))
            return None

        return await self._store.write(work)

    def take(self, waiter: Waiter, answer: Granted) -> None:
        """Tells one in line that it holds what it wanted; gives that back where nobody is there any more."""
        self.remembered.granted(answer)
        if waiter.answer.cancelled():
            self._late.begin(self._give_back(waiter.request, answer), "give locks back")
        elif not waiter.answer.done():
            waiter.answer.set_result(answer)

    async def _give_back(self, request: Request, answer: Granted) -> None:
        try:
            await self.change(lambda tx: book.release(tx, answer.hold, HoldEnd.RELEASED))
        except StoreUnavailable as error:
            _log.warning("a lock of %s was not given back, and expires: %s", request.holder, error)

    def _due(self) -> Iterator[bool]:
        """For each hold in the way of somebody in line, whether its time is over by the wall clock."""
        now = self._clock.now_us()
        for waiter in self._line:
            if waiter.blocked is not None and not waiter.answer.done():
                yield from (held.hold.expires_us <= now for held in waiter.blocked.by)

    def _pause(self) -> float:
        """Seconds until the first hold expires that somebody in line waits for."""
        ends = [held.hold.expires_us for waiter in self._line if waiter.blocked for held in waiter.blocked.by]
        if not ends:
            return _LOOK_SECONDS
        return min(max((min(ends) - self._clock.now_us()) / 1_000_000, _SOON), _LOOK_SECONDS)


def _nothing(_: Tx) -> None:
    """A write that only waits for those before it."""


def _future() -> asyncio.Future[Granted]:
    return asyncio.get_running_loop().create_future()


def _telling(service: LockService, waiter: Waiter, answer: Granted) -> Callable[[], None]:
    return lambda: service.take(waiter, answer)


def _noting(waiter: Waiter, answer: Blocked) -> Callable[[], None]:
    def note() -> None:
        waiter.blocked = answer

    return note


def _behind(request: Request, ahead: Sequence[Waiter]) -> Blocked | None:
    """Who waited longer for something that conflicts with this request, if anybody."""
    for waiter in ahead:
        for want in request.wants:
            if any(conflict(want, other) is not None for other in waiter.request.wants):
                return Blocked(waiter.blocked.by if waiter.blocked else (), waiter.request.holder)
    return None
