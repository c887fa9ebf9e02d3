"""One transaction for all who ask about locks: its commit fails, one of them cannot be served, another process
writes, a client dies in line; and many wait. Memory says what the store says, always."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import AsyncIterator
from dataclasses import replace
from pathlib import Path

import pytest

from fleet.clock import SystemClock
from fleet.errors import Malformed, StoreUnavailable
from fleet.faults import Fault, Point, injected
from fleet.locks import Blocked, Granted, HoldEnd, LockCause, Resource, Want
from fleet.store import locks
from fleet.store.core import Store, Tx
from fleet.supervise import own
from gates.locks import book
from gates.locks.book import NotHeld, Request
from gates.locks.memory import Memory
from gates.locks.service import LockService
from tests.empty_store import filled

LONG = 60_000_000


class Client:
    """An asker that may go away."""

    def __init__(self) -> None:
        self.gone = False

    @property
    def went(self) -> bool:
        return self.gone


def request(holder: str, *names: str, repo: str = "") -> Request:
    wants = tuple(Want(Resource(name, repo)) for name in names)
    return Request(holder, wants, LONG, LockCause.COMMAND, secret_sha256=book.digest(holder))


@pytest.fixture
async def service(store: Store) -> AsyncIterator[LockService]:
    service = LockService(store, SystemClock())
    yield service
    await service.close()


async def agree(store: Store) -> None:
    """Memory has what the store has."""

    def look(tx: Tx) -> None:
        with book.opened(tx):
            memory = store.kept(Memory)
            kept = {name: sorted(opened.locks) for name, opened in memory.holds.items()}
        memory.forget()
        with book.opened(tx):
            assert kept == {name: sorted(opened.locks) for name, opened in memory.holds.items()}

    await store.write(look)


async def test_a_commit_that_fails_fails_each_of_its_group_and_memory_follows(
    store: Store, service: LockService
) -> None:
    held = await service.acquire(request("a", "x"))
    assert isinstance(held, Granted)
    with injected(Fault(Point.STORE_COMMIT)):
        answers = await asyncio.gather(
            service.acquire(request("b", "y")),
            service.release([Resource("x")], "a"),
            service.renew([Resource("x")], "a", LONG),
            return_exceptions=True,
        )
    assert [type(answer) for answer in answers] == [StoreUnavailable] * 3
    assert answers[0] is not answers[1], "each has its own"
    await agree(store)
    found = await store.read(locks.held)
    assert [(hold.holder, [str(lock.resource) for lock in had]) for hold, had in found] == [("a", ["x"])]
    again = await service.acquire(request("b", "y"))
    assert isinstance(again, Granted) and again.locks[0].token == 1


async def test_one_who_cannot_be_served_costs_the_others_nothing(store: Store, service: LockService) -> None:
    broken = request("lone \ud800 surrogate", "y")
    answers = await asyncio.gather(
        service.acquire(request("a", "x")),
        service.acquire(broken),
        service.release([Resource("z")], "a"),
        service.acquire(request("c", "x")),
        return_exceptions=True,
    )
    assert isinstance(answers[0], Granted)
    assert isinstance(answers[1], Malformed | UnicodeEncodeError)
    assert isinstance(answers[2], NotHeld)
    assert isinstance(answers[3], Blocked) and answers[3].by[0].hold.holder == "a"
    await agree(store)


async def test_what_another_process_changed_is_seen(store: Store, store_url: str, service: LockService) -> None:
    mine = await service.acquire(request("a", "x"))
    assert isinstance(mine, Granted)
    with Store.open(store_url) as another:
        theirs = LockService(another, SystemClock())
        assert isinstance(await theirs.acquire(request("b", "x")), Blocked)
        await theirs.change(lambda page: page.release(mine.hold, HoldEnd.BROKEN))
        got = await theirs.acquire(request("b", "x"))
        assert isinstance(got, Granted) and got.locks[0].token == 2
        await theirs.close()
    refused = await service.acquire(request("c", "x"))
    assert isinstance(refused, Blocked) and refused.by[0].hold.holder == "b"
    await agree(store)


async def test_a_client_that_dies_in_line_holds_nothing(store: Store, service: LockService) -> None:
    assert isinstance(await service.acquire(request("a", "x")), Granted)
    dying, patient = Client(), Client()
    first = own(service.acquire(request("b", "x"), wait_seconds=60, asker=dying), "dies")
    second = own(service.acquire(request("c", "x"), wait_seconds=60, asker=patient), "stays")
    while len(service.line) < 2 or any(waiter.blocked is None for waiter in service.line):
        await asyncio.sleep(0.001)
    dying.gone = True
    assert isinstance(await first, Blocked)
    await service.release([Resource("x")], "a")
    assert isinstance(await second, Granted)
    late = Client()
    late.gone = True
    await service.release([Resource("x")], "c")
    assert isinstance(await service.acquire(request("d", "x"), wait_seconds=60, asker=late), Blocked)
    assert isinstance(await service.acquire(request("e", "y"), asker=late), Blocked)
    while await store.read(locks.open_holds):
        await asyncio.sleep(0.001)


class Frozen:
    """A transaction that has begun, and whose process is frozen before it does anything."""

    def __init__(self) -> None:
        self.begun, self.thaws = threading.Event(), threading.Event()

    def check(self, tx: Tx) -> None:
        """Waits."""
        self.begun.set()
        assert self.thaws.wait(60)


async def test_who_asks_after_a_frozen_process_woke_sees_no_lease_that_was_over_before(store: Store) -> None:
    frozen = Frozen()
    service = LockService(store.under(frozen), SystemClock())
    frozen.thaws.set()
    short = replace(request("short", "x"), ttl_us=300_000)
    given = await service.acquire(short)
    assert isinstance(given, Granted)
    frozen.begun.clear()
    frozen.thaws.clear()
    before = own(service.acquire(request("a", "y")), "asks before")
    await asyncio.to_thread(frozen.begun.wait, 60)
    while await store.read(Tx.now_us) <= given.hold.expires_us:
        await asyncio.sleep(0.02)
    after = own(service.acquire(request("b", "x")), "asks after")
    await asyncio.sleep(0)  # it has begun
    frozen.thaws.set()
    assert isinstance(await before, Granted)
    assert isinstance(await after, Granted)
    await service.close()


async def test_ten_thousand_locks_and_a_thousand_waiters(tmp_path: Path) -> None:
    with Store.open(f"sqlite:///{filled(tmp_path / 'many.db')}") as store:
        service = LockService(store, SystemClock())
        names = [f"src/{number % 100}/{number}.py" for number in range(10_000)]
        assert isinstance(await service.acquire(request("much", *names, repo="shop")), Granted)
        waiting = [
            own(service.acquire(request(f"w{at}", f"src/{at % 100}/**", repo="shop"), wait_seconds=60), "waits")
            for at in range(1_000)
        ]
        while any(waiter.blocked is None for waiter in service.line) or len(service.line) < 1_000:
            await asyncio.sleep(0.01)
        found = await store.read(locks.open_holds)
        await service.change(lambda page: page.release(found[0], HoldEnd.RELEASED))
        while len(service.line) > 900:
            await asyncio.sleep(0.01)
        won = [task.result() for task in waiting[:100]]
        assert all(isinstance(answer, Granted) for answer in won), "one for each folder, and nobody overtook"
        for task in waiting:
            task.cancel()
        await asyncio.wait(waiting)
        await service.close()
