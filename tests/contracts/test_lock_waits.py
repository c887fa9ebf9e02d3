"""Moments of a line of locks that go wrong by chance only, each made to come: on both databases."""

from __future__ import annotations

import asyncio
import threading
from dataclasses import dataclass

from fleet.clock import SystemClock
from fleet.store.core import Store, Tx
from fleet.supervise import alongside, own
from gates.locks.service import LockService
from tests.contracts.test_locks import blocked, freed, granted, in_line, request, service, thing

__all__ = ["service"]


class Stays(SystemClock):
    """A wait of a second or more does not end by itself."""

    def __init__(self) -> None:
        self.rests = asyncio.Event()

    async def sleep(self, seconds: float) -> None:
        if seconds >= 1:
            self.rests.set()
            await asyncio.Event().wait()
        await super().sleep(seconds)


async def test_what_expires_before_the_next_look_is_looked_at_in_time(store: Store) -> None:
    service = LockService(store, clock := Stays())
    async with alongside(service.run(), "locks"):
        await clock.rests.wait()
        granted(await service.acquire(request("a", thing("x"), ttl_us=200_000)))
        assert granted(await service.acquire(request("b", thing("x")), wait_seconds=60)).hold.holder == "b"
    await service.close()


async def test_who_was_never_looked_at_gets_what_the_one_before_lets_expire(service: LockService) -> None:
    first = own(service.acquire(request("a", thing("x"), ttl_us=200_000), wait_seconds=60), "first")
    second = own(service.acquire(request("b", thing("x")), wait_seconds=60), "second")
    assert granted(await second).hold.holder == "b"
    assert granted(await first).hold.holder == "a"


async def test_a_caller_that_is_cancelled_as_it_is_granted_gives_it_back(service: LockService) -> None:
    held = granted(await service.acquire(request("a", thing("x"))))
    waiting = own(service.acquire(request("b", thing("x")), wait_seconds=60), "waiting")
    await in_line(service, 1)
    service.line[0].answer.add_done_callback(lambda _: waiting.cancel())
    await freed(service, held)
    await asyncio.wait([waiting])
    assert waiting.cancelled()
    assert granted(await service.acquire(request("c", thing("x")), wait_seconds=60)).hold.holder == "c"


@dataclass
class Asker:
    went: bool = False

    def go(self, _: object) -> None:
        self.went = True


async def test_an_asker_that_goes_as_it_is_granted_holds_nothing(service: LockService) -> None:
    held, asker = granted(await service.acquire(request("a", thing("x")))), Asker()
    waiting = own(service.acquire(request("b", thing("x")), wait_seconds=60, asker=asker), "waiting")
    await in_line(service, 1)
    service.line[0].answer.add_done_callback(asker.go)
    await freed(service, held)
    assert blocked(await waiting).by == ()
    assert granted(await service.acquire(request("c", thing("x")), wait_seconds=60)).hold.holder == "c"


class LongCommit(LockService):
    """A look along the line whose commit takes until ``go``."""

    def __init__(self, store: Store) -> None:
        super().__init__(store, SystemClock())
        self.looked, self.go = threading.Event(), threading.Event()

    def serve(self, tx: Tx) -> None:
        super().serve(tx)
        self.looked.set()
        self.go.wait(60)


async def test_who_leaves_while_the_line_is_looked_at_lets_the_next_one_pass(store: Store) -> None:
    service = LongCommit(store)
    async with alongside(service.run(), "locks"):
        granted(await service.acquire(request("a", thing("x"))))
        ahead = await service.line_up(request("b", thing("x"), thing("y")), lambda: None)
        behind = await service.line_up(request("c", thing("y")), lambda: None)
        gone = await service.line_up(request("d", thing("x")), lambda: None)
        service.leave(gone)
        await asyncio.to_thread(service.looked.wait)
        service.leave(ahead)
        service.go.set()
        assert (await behind.answer).hold.holder == "c"
    await service.close()
