"""Locks for whoever asks the running controller: at once, or in line.

Where several controllers share the store, each has a line of its own, and only within that is the order kept:
between two controllers, whoever asks first once it is free has it.

A line is fair: nobody is granted what conflicts with the wish of one who has waited longer. Who waits for several
things holds none of them meanwhile, so no two wait for each other. A release serves the line in its own
transaction: the next holder is in the store before the last one hears that it let go.

All that is asked while one transaction runs is answered by the next one, in the order in which it was asked.
"""

from __future__ import annotations

import asyncio
import contextlib
import itertools
import logging
from collections import deque
from collections.abc import Callable, Collection, Iterable, Iterator, Sequence
from dataclasses import replace
from functools import partial
from typing import Final, Protocol, TypeVar

from fleet.errors import StoreUnavailable
from fleet.events import LocksReleased, Recorded
from fleet.locks import Blocked, Granted, Hold, HoldEnd, LockAnswer, Resource
from fleet.ports import Clock
from fleet.store.core import Store, Tx
from fleet.supervise import OwnedTasks, first
from gates.locks import book
from gates.locks.book import OpenBook, Request
from gates.locks.line import Ahead, Waiter, Wish, circle, circle_now, surely_behind, unlooked_after
from gates.locks.remembered import Remembered

T = TypeVar("T")

_log = logging.getLogger(__name__)

_LOOK_SECONDS: Final = 5.0
"""How often the line is looked at when nothing says so. The wall clock may have been set."""

_SWEEP_US: Final = 60_000_000

_SOON: Final = 0.02

_GONE_SECONDS: Final = 1.0
"""So often who waits is asked whether it is still there."""

_PATIENT_SECONDS: Final = 1.0
"""Who waits for longer is asked whether it waits in a circle."""


class Leaves(Protocol):
    """Somebody who asks, and may go away while waiting."""

    @property
    def went(self) -> bool:
        """Whether it has gone."""


class LockService:
    """One for a controller: it alone grants, under the leadership that ``store`` writes under."""

    def __init__(self, store: Store, clock: Clock) -> None:
        self._store, self._clock = store, clock
        self.remembered = Remembered(store)
        self._line: list[Waiter] = []
        self._numbers = itertools.count(1)
        self._changed, self._left = asyncio.Event(), False
        self._looks_us = 0  # when the line is looked at next
        self._asked, self._answers = deque[Wish](), False
        self._late = OwnedTasks()
        store.hear(self._heard)

    @property
    def line(self) -> tuple[Waiter, ...]:
        """Who waits, the longest first."""
        return tuple(self._line)

    async def acquire(
        self, request: Request, *, wait_seconds: float = 0.0, asker: Leaves | None = None
    ) -> LockAnswer:
        """Everything that is wanted, or what is in the way; with ``wait_seconds``, waits in line for so long, or
        until the asker has gone.

        A caller that is cancelled holds nothing, nor does an asker that went before it was told. Raises
        ``StoreUnavailable``: nothing is granted then.
        """
        waiter = self._waiter(request)
        if wait_seconds > 0:
            self._line.append(waiter)
        try:
            answer = await self._try(waiter)
            if isinstance(answer, Blocked) and wait_seconds > 0:
                await _until(waiter, min(wait_seconds, _PATIENT_SECONDS), asker)
                if wait_seconds > _PATIENT_SECONDS and not waiter.answer.done():
                    ring = await self._circle(waiter)
                    if ring and not waiter.answer.done():
                        return replace(waiter.blocked or answer, circle=ring)
                    await _until(waiter, wait_seconds - _PATIENT_SECONDS, asker)
                self._drop(waiter)
                if not waiter.answer.done():
                    await self._store.write(_nothing)  # a grant that was on its way is known after this
            if asker is not None and asker.went and waiter.answer.done():
                self.give_back(waiter.answer.result())
                return Blocked(())
        except asyncio.CancelledError:
            if waiter.answer.done():
                self.give_back(waiter.answer.result())
            raise
        finally:
            self.leave(waiter)
        if waiter.answer.cancelled():
            return waiter.blocked or Blocked(())
        return waiter.answer.result()

    async def _circle(self, waiter: Waiter) -> tuple[str, ...]:
        """The holders who wait for each other for ever, if this one is the last of them to have asked."""
        among = circle(waiter, self._line)
        return await self._ask(lambda page, _: circle_now(page, waiter, self.line, among)) if among else ()

    def at_once(self) -> Callable[[Tx, Request], LockAnswer]:
        """Takes locks in a transaction of the caller: everything, behind those in line, or nothing. Used once."""
        nobody_waits: asyncio.Future[Granted] = asyncio.get_running_loop().create_future()

        def acquire(tx: Tx, request: Request) -> LockAnswer:
            waiter = Waiter(next(self._numbers), request, self._clock.now_us(), nobody_waits)
            with book.opened(tx) as page:
                answer = Ahead(self.line).attempt(page, waiter)
            tx.after_commit(_telling(self, waiter, answer))
            return answer

        return acquire

    async def line_up(self, request: Request, told: Callable[[], None]) -> Waiter:
        """A place in line, also where everything was granted at once: ``answer`` says which. Leave it in the end.

        ``told`` is called on the event loop once the answer is there.
        """
        waiter = self._waiter(request)
        self._line.append(waiter)
        try:
            await self._try(waiter)
        except BaseException:
            self.leave(waiter)
            raise
        waiter.answer.add_done_callback(lambda _: told())
        return waiter

    def leave(self, waiter: Waiter) -> None:
        """Gives up a place in line. What was granted stays granted."""
        self._drop(waiter)
        if not waiter.answer.done():
            waiter.answer.cancel()

    async def release(self, resources: Sequence[Resource], secret: str) -> None:
        """Releases what a secret opens. Raises ``NotHeld`` and ``NotYours``."""

        def work(page: OpenBook) -> None:
            for hold, some in page.by_secret(resources, secret, "release a lock"):
                page.let_go(hold, some, HoldEnd.RELEASED)

        await self.change(work)

    async def renew(self, resources: Sequence[Resource], secret: str, ttl_us: int) -> list[book.Opened]:
        """Renews the holds that a secret opens; returns them, each with the locks meant. Raises as
        :meth:`release`."""

        def work(page: OpenBook) -> list[book.Opened]:
            found = page.by_secret(resources, secret, "renew a lock")
            return [(page.renew(hold, ttl_us), some) for hold, some in found]

        return await self.change(work)

    async def change(self, work: Callable[[OpenBook], T]) -> T:
        """Does something in the book that may free locks, and serves the line in the same transaction."""
        return await self._ask(lambda page, _: work(page))

    def serve(self, tx: Tx) -> None:
        """Grants what can be granted to those in line. Part of every other transaction that frees locks."""
        with book.opened(tx) as page:
            self._serve(tx, page, set(), None)

    async def run(self) -> None:
        """Serves the line when a hold in its way expires or somebody leaves it, and ends what has expired. Until
        cancelled."""
        swept = self._clock.now_us()
        while True:
            if self._left or any(self._due()):
                self._left = False  # who leaves from now on may come too late for this transaction
                try:
                    await self._store.write(self.serve)
                except BaseException:
                    self._left = True
                    raise
            if self._clock.now_us() - swept > _SWEEP_US:
                await self.sweep()
                swept = self._clock.now_us()
            if self._left:
                continue
            pause = self._pause()
            self._looks_us = self._clock.now_us() + round(pause * 1_000_000)
            self._changed.clear()
            await first(self._changed.wait(), self._clock.sleep(pause))

    def _heard(self, recorded: Recorded) -> None:
        """Another controller ended locks: the line here is looked at."""
        if isinstance(recorded.event, LocksReleased) and self._line:
            self._left = True
            self._changed.set()

    async def sweep(self) -> int:
        """Ends the holds whose time is over; returns how many."""
        return await self.change(lambda page: page.end_late())

    async def close(self) -> None:
        """Nothing is granted any more; what was granted to nobody is given back."""
        await self._late.end()
        while self._asked:
            self._asked.popleft().answer.cancel()

    # --- one transaction for all who ask ----------------------------------------------------------------

    async def _ask(self, work: Callable[[OpenBook, Ahead], T], told: Callable[[T], None] | None = None) -> T:
        """Does something in the next transaction, after what was asked before."""
        answer: asyncio.Future[T] = asyncio.get_running_loop().create_future()
        self._asked.append(Wish(work, answer, told))
        if not self._answers:
            self._answers = True
            self._late.begin(self._answer(), "answer about locks")
        return await answer

    async def _answer(self) -> None:
        """Answers until nobody asks."""
        try:
            while self._asked:
                await self._answer_all()
        finally:
            self._answers = False

    async def _answer_all(self) -> None:
        """One transaction for all who wait for one. Where something is wrong with it, one for each of them."""
        asked: list[Wish] = []
        before = len(self._asked)
        try:
            await self._store.write(lambda tx: self._do(tx, asked, self._asked, before))
        except StoreUnavailable as error:
            for each in asked or _all(self._asked):
                each.fail(error)
        except Exception as error:
            if len(asked) <= 1:
                for each in asked or _all(self._asked):
                    each.fail(error)
                return
            for each in asked:
                try:
                    await self._store.write(partial(self._do, asked=[each], more=()))
                except Exception as its_own:
                    each.fail(its_own)

    def _do(self, tx: Tx, asked: list[Wish], more: Iterable[Wish], before: int = 0) -> None:
        """Does what is asked, ``more`` included, which is taken from there; then serves the line.
        ``before``: how many asked before the transaction did."""
        if isinstance(more, deque):
            asked.extend(_all(more))
            if len(asked) > before:
                tx.look_again()  # who asked later is not judged by the time of its begin
        with book.opened(tx) as page:
            ahead = Ahead(self.line)
            for each in asked:
                each.run(page, ahead)
            tx.after_commit(lambda: _settle(asked))
            if page.freed and self._line:
                self._serve(tx, page, ahead.won, page.freed)

    def _serve(self, tx: Tx, page: OpenBook, won: set[int], freed: Collection[str] | None) -> None:
        """Grants what can be granted to those in line, except who has ``won`` already; to those who want something
        in what was ``freed``, ``None``: to all."""
        line = self.line
        concerned = [waiter for waiter in line if freed is None or not waiter.scopes.isdisjoint(freed)]
        scopes = {scope for waiter in concerned for scope in waiter.scopes}
        ahead = Ahead([waiter for waiter in line if not waiter.scopes.isdisjoint(scopes)], won)
        left = None if freed is None else set(freed)
        for waiter in concerned:
            if waiter.number in won or waiter.answer.done() or ahead.surely(waiter):
                continue
            answer = ahead.attempt(page, waiter)
            tx.after_commit(_telling(self, waiter, answer))
            if left is not None and isinstance(answer, Blocked):
                left -= waiter.things
                if not left:
                    return  # whoever comes later wants what this one waits for

    async def _try(self, waiter: Waiter) -> LockAnswer:
        """One attempt, behind those who wait already; what it brought is told by the commit itself."""
        behind = surely_behind(waiter, self._line)
        if behind is not None:
            waiter.blocked, waiter.unlooked = behind, True
            return behind
        return await self._ask(
            lambda page, ahead: ahead.attempt(page, waiter), lambda answer: self.tell(waiter, answer)
        )

    def tell(self, waiter: Waiter, answer: LockAnswer) -> None:
        """Tells somebody what was committed; gives back what was granted where nobody is there any more."""
        if isinstance(answer, Blocked):
            waiter.blocked, waiter.unlooked = answer, False
            if not answer.ahead and any(held.hold.expires_us < self._looks_us for held in answer.by):
                self._changed.set()
            return
        self.remembered.granted(answer)
        if unlooked_after(waiter, self._line):
            # Looked at once more when the others of this commit are told: the next in line is usually one of them.
            waiter.answer.get_loop().call_soon(self._look_behind, waiter)
        if waiter.answer.cancelled():
            self.give_back(answer)
        elif not waiter.answer.done():
            waiter.answer.set_result(answer)

    def _look_behind(self, winner: Waiter) -> None:
        if unlooked_after(winner, self._line):
            self._left = True
            self._changed.set()

    # --- parts ----------------------------------------------------------------------------------------

    def _waiter(self, request: Request) -> Waiter:
        return Waiter(
            next(self._numbers), request, self._clock.now_us(), asyncio.get_running_loop().create_future()
        )

    def _drop(self, waiter: Waiter) -> None:
        """Takes a waiter out of the line; those behind it are looked at where it got nothing."""
        if waiter in self._line:
            self._line.remove(waiter)
            if self._line and not waiter.answer.done():
                self._left = True
                self._changed.set()

    def give_back(self, answer: Granted) -> None:
        """Releases what was granted to somebody who has gone meanwhile; nobody waits for that."""
        self._late.begin(self._released(answer.hold), "give locks back")

    async def _released(self, hold: Hold) -> None:
        try:
            await self.change(lambda page: page.release(hold, HoldEnd.RELEASED))
        except StoreUnavailable as error:
            _log.warning("a lock of %s was not given back, and expires: %s", hold.holder, error)

    def _due(self) -> Iterator[bool]:
        """For each hold in the way of somebody in line, whether its time is over by the wall clock."""
        now = self._clock.now_us()
        return (until_us <= now for until_us in self._ends())

    def _pause(self) -> float:
        """Seconds until the first hold expires that somebody in line waits for."""
        end = min(self._ends(), default=None)
        if end is None:
            return _LOOK_SECONDS
        return min(max((end - self._clock.now_us()) / 1_000_000, _SOON), _LOOK_SECONDS)

    def _ends(self) -> Iterator[int]:
        """When each hold ends that somebody in line waits for; who is behind others waits for these."""
        for waiter in self._line:
            if waiter.blocked is not None and not waiter.blocked.ahead and not waiter.answer.done():
                yield from (held.hold.expires_us for held in waiter.blocked.by)


async def _until(waiter: Waiter, seconds: float, asker: Leaves | None) -> None:
    """Waits for the answer, at most so long, or until the asker has gone, which is seen within a second. Without a
    task of its own: one would cost more than the rest of a wait."""
    now = asyncio.get_running_loop().time
    end = now() + seconds
    while not waiter.answer.done() and (left := end - now()) > 0 and not (asker is not None and asker.went):
        await asyncio.wait((waiter.answer,), timeout=left if asker is None else min(left, _GONE_SECONDS))


def _nothing(_: Tx) -> None:
    """A write that only waits for those before it."""


def _all(asked: deque[Wish]) -> Iterator[Wish]:
    """Takes out all."""
    with contextlib.suppress(IndexError):
        while True:
            yield asked.popleft()


def _settle(asked: Sequence[Wish]) -> None:
    for each in asked:
        each.settle()


def _telling(service: LockService, waiter: Waiter, answer: LockAnswer) -> Callable[[], None]:
    return lambda: service.tell(waiter, answer)
