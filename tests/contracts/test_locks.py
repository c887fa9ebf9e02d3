"""Locks over both databases: what is granted and refused, in which order, and what survives errors and expiry."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator

import pytest

from fleet.clock import SystemClock
from fleet.errors import LeaseLost, Refused, StoreUnavailable
from fleet.events import LocksGranted, LocksReleased
from fleet.faults import Fault, Point, injected
from fleet.locks import Blocked, Granted, HoldEnd, LockAnswer, LockCause, LockMode, Resource, Want
from fleet.store import ledger, locks
from fleet.store.core import Store, Tx
from fleet.store.locks import LockFence
from fleet.supervise import alongside, own
from gates.locks import book
from gates.locks.book import Request
from gates.locks.service import LockService

LONG = 60_000_000


def path(pattern: str, mode: LockMode = LockMode.EXCLUSIVE) -> Want:
    return Want(Resource(pattern, "shop"), mode)


def thing(name: str, mode: LockMode = LockMode.EXCLUSIVE) -> Want:
    return Want(Resource(name), mode)


def request(holder: str, *wants: Want, ttl_us: int = LONG, task: str = "", since: int = 0) -> Request:
    return Request(
        holder, wants, ttl_us, LockCause.COMMAND, task=task, secret_sha256=book.digest(holder), had_since_us=since
    )


@pytest.fixture
async def service(store: Store) -> AsyncIterator[LockService]:
    service = LockService(store, SystemClock())
    async with alongside(service.run(), "locks"):
        yield service
    await service.close()


def granted(answer: LockAnswer) -> Granted:
    assert isinstance(answer, Granted), answer
    return answer


def blocked(answer: LockAnswer) -> Blocked:
    assert isinstance(answer, Blocked), answer
    return answer


async def freed(service: LockService, held: Granted) -> None:
    await service.change(lambda page: page.release(held.hold, HoldEnd.RELEASED))


async def runs_out(store: Store, held: Granted) -> None:
    """Its time is over, as if it had been left alone for so long."""
    await store.write(lambda tx: book.renew(tx, held.hold, 0))


async def in_line(service: LockService, count: int) -> None:
    while len(service.line) < count or any(waiter.blocked is None for waiter in service.line):
        await asyncio.sleep(0.001)


async def test_overlapping_paths_exclude_each_other_and_the_holder_is_named(service: LockService) -> None:
    granted(await service.acquire(request("anna", path("src/api/**"))))
    refused = blocked(await service.acquire(request("ben", path("**/*.py"))))
    assert [(held.hold.holder, str(held.lock.resource)) for held in refused.by] == [
        ("anna", "path:shop:src/api/**")
    ]
    assert refused.by[0].path.startswith("src/api/")
    granted(await service.acquire(request("ben", path("docs/**"))))
    granted(await service.acquire(request("ben", Want(Resource("src/api/x", "another")))))


async def test_shared_locks_stand_beside_each_other(service: LockService) -> None:
    granted(await service.acquire(request("a", thing("db", LockMode.SHARED))))
    second = granted(await service.acquire(request("b", thing("db", LockMode.SHARED))))
    assert blocked(await service.acquire(request("c", thing("db")))).by
    assert second.locks[0].token == 2


async def test_all_or_nothing(service: LockService, store: Store) -> None:
    granted(await service.acquire(request("a", thing("two"))))
    blocked(await service.acquire(request("b", thing("one"), thing("two"), path("x"))))
    granted(await service.acquire(request("c", thing("one"), path("x"))))


async def test_a_token_only_grows_also_across_releases(service: LockService) -> None:
    tokens = []
    for holder in "abc":
        held = granted(await service.acquire(request(holder, thing("deploy"))))
        tokens.append(held.locks[0].token)
        await freed(service, held)
    assert tokens == [1, 2, 3]


async def test_a_name_alone_releases_nothing(service: LockService, store: Store) -> None:
    granted(await service.acquire(request("a", thing("deploy"))))
    with pytest.raises(Refused):
        await service.change(lambda page: page.by_secret([Resource("deploy")], "guess", "release"))
    found = await service.change(lambda page: page.by_secret([Resource("deploy")], "a", "release"))
    assert [hold.holder for hold, _ in found] == ["a"]


async def test_an_expired_hold_is_in_nobodys_way_and_its_fence_fails(service: LockService, store: Store) -> None:
    old = granted(await service.acquire(request("a", path("src/**"))))
    fence = LockFence.of(old)
    await store.write(lambda tx: None, under=[fence])
    await runs_out(store, old)
    new = granted(await service.acquire(request("b", path("src/x"))))
    assert new.locks[0].token > old.locks[0].token
    with pytest.raises(LeaseLost):
        await store.write(lambda tx: None, under=[fence])
    with pytest.raises(LeaseLost):
        await store.write(lambda tx: book.renew(tx, old.hold, LONG))


async def test_a_fence_fails_when_one_of_its_locks_was_taken_away(service: LockService, store: Store) -> None:
    held = granted(await service.acquire(request("a", path("src/**"), path("docs/**"))))
    fence = LockFence.of(held)
    await service.change(lambda page: page.let_go(held.hold, held.locks[:1], HoldEnd.BROKEN, actor="anna"))
    granted(await service.acquire(request("b", path("src/x"))))
    blocked(await service.acquire(request("b", path("docs/x"))))
    with pytest.raises(LeaseLost):
        await store.write(lambda tx: None, under=[fence])


async def test_a_renewed_hold_lives_on(service: LockService, store: Store) -> None:
    held = granted(await service.acquire(request("a", thing("deploy"), ttl_us=LONG)))
    kept = await store.write(lambda tx: book.renew(tx, held.hold, 2 * LONG))
    (found,) = await store.read(locks.open_holds)
    assert found.expires_us == kept.expires_us >= held.hold.expires_us + LONG
    blocked(await service.acquire(request("b", thing("deploy"))))


async def test_the_line_is_served_in_order_by_the_release_itself(service: LockService, store: Store) -> None:
    held = granted(await service.acquire(request("first", thing("deploy"))))
    order: list[str] = []

    async def wait(name: str) -> None:
        mine = granted(await service.acquire(request(name, thing("deploy")), wait_seconds=60))
        order.append(name)
        await freed(service, mine)

    waiting = []
    for number in range(5):
        waiting.append(own(wait(f"w{number}"), f"w{number}"))
        await in_line(service, number + 1)
    await freed(service, held)
    await asyncio.gather(*waiting)
    assert order == [f"w{number}" for number in range(5)]


async def test_nobody_overtakes_one_who_waits_for_more(service: LockService) -> None:
    held = granted(await service.acquire(request("a", thing("x"))))
    patient = own(service.acquire(request("b", thing("x"), thing("y")), wait_seconds=60), "patient")
    await in_line(service, 1)
    late = blocked(await service.acquire(request("c", thing("y"))))
    assert late.ahead == "b"
    granted(await service.acquire(request("c", thing("z"))))
    await freed(service, held)
    assert granted(await patient).hold.holder == "b"


async def test_who_holds_something_has_it_again_whoever_waits_for_it(service: LockService) -> None:
    held = granted(await service.acquire(request("t1", path("a"), task="t1")))
    waiting = own(service.acquire(request("t2", path("a"), path("b"), task="t2"), wait_seconds=60), "waiting")
    await in_line(service, 1)
    assert granted(await service.acquire(request("t1", path("a"), path("c"), task="t1"))).hold == held.hold
    assert blocked(await service.acquire(request("t1", path("a"), path("b"), task="t1"))).ahead == "t2"
    await freed(service, held)
    assert granted(await waiting).hold.holder == "t2"


async def test_the_youngest_of_those_who_would_wait_for_each_other_is_refused(service: LockService) -> None:
    """Three who hold one thing each and want the next one's; one who waits and holds nothing is in no circle."""
    have = {
        name: granted(await service.acquire(request(name, thing(what))))
        for name, what in (("anna", "x"), ("ben", "y"), ("cara", "z"))
    }
    waiting = []
    for name, what in (("anna", "y"), ("ben", "z"), ("dora", "x")):
        waiting.append(own(service.acquire(request(name, thing(what)), wait_seconds=60), name))
        await in_line(service, len(waiting))
    refused = blocked(await service.acquire(request("cara", thing("x")), wait_seconds=60))
    assert refused.circle == ("cara", "anna", "ben")
    assert not any(task.done() for task in waiting), "who asked before waits on"
    await freed(service, have["cara"])
    await freed(service, granted(await waiting[1]))
    await freed(service, have["ben"])
    await freed(service, granted(await waiting[0]))
    await freed(service, have["anna"])
    granted(await waiting[2])


async def test_who_waits_behind_one_who_waits_for_it_is_refused(service: LockService) -> None:
    """Nobody holds what it asks for."""
    granted(await service.acquire(request("anna", thing("x"))))
    async with alongside(service.acquire(request("ben", thing("x"), thing("y")), wait_seconds=60), "ben"):
        await in_line(service, 1)
        refused = blocked(await service.acquire(request("anna", thing("y")), wait_seconds=60))
    assert refused.circle == ("anna", "ben")


async def test_a_line_that_could_not_be_looked_at_is_looked_at_when_the_store_answers(store: Store) -> None:
    service = LockService(store, SystemClock())
    held = granted(await service.acquire(request("anna", thing("x"), thing("y"))))
    first = await service.line_up(request("ben", thing("y")), lambda: None)
    second = await service.line_up(request("cara", thing("x")), lambda: None)
    await store.write(lambda tx: book.release(tx, held.hold, HoldEnd.RELEASED))
    service.leave(first)
    with injected(Fault(Point.STORE_COMMIT)), pytest.raises(StoreUnavailable):
        await service.run()
    async with alongside(service.run(), "locks"):
        assert (await second.answer).hold.holder == "cara"
    await service.close()


async def test_who_leaves_the_line_lets_the_next_one_pass(service: LockService) -> None:
    granted(await service.acquire(request("a", thing("x"))))
    impatient = own(service.acquire(request("b", thing("x"), thing("y")), wait_seconds=60), "impatient")
    await in_line(service, 1)
    behind = own(service.acquire(request("c", thing("y")), wait_seconds=60), "behind")
    await in_line(service, 2)
    impatient.cancel()
    assert granted(await behind).hold.holder == "c"


async def test_a_wait_that_runs_out_holds_nothing(service: LockService, store: Store) -> None:
    held = granted(await service.acquire(request("a", thing("x"))))
    assert blocked(await service.acquire(request("b", thing("x")), wait_seconds=0.05)).by[0].hold.holder == "a"
    await freed(service, held)
    assert await store.read(locks.open_holds) == []


async def test_one_in_line_gets_what_expires(service: LockService) -> None:
    granted(await service.acquire(request("a", thing("x"), ttl_us=50_000)))
    assert granted(await service.acquire(request("b", thing("x")), wait_seconds=60)).hold.holder == "b"


async def test_a_caller_that_goes_away_in_the_middle_holds_nothing(service: LockService, store: Store) -> None:
    for _ in range(20):
        asking = own(service.acquire(request("a", thing("x")), wait_seconds=60), "asking")
        await asyncio.sleep(0)
        asking.cancel()
        await asyncio.wait([asking])
    assert granted(await service.acquire(request("b", thing("x")), wait_seconds=60)).hold.holder == "b"


async def test_a_commit_that_fails_grants_and_frees_nothing(service: LockService, store: Store) -> None:
    with injected(Fault(Point.STORE_COMMIT)), pytest.raises(StoreUnavailable):
        await service.acquire(request("a", thing("x")))
    held = granted(await service.acquire(request("b", thing("x"))))
    waiting = own(service.acquire(request("c", thing("x")), wait_seconds=60), "waiting")
    await in_line(service, 1)
    with injected(Fault(Point.STORE_COMMIT)), pytest.raises(StoreUnavailable):
        await freed(service, held)
    assert not waiting.done()
    assert [hold.holder for hold in await store.read(locks.open_holds)] == ["b"]
    await freed(service, held)
    assert granted(await waiting).hold.holder == "c"


async def test_a_task_adds_to_what_it_holds(service: LockService, store: Store) -> None:
    first = granted(await service.acquire(request("task t1", path("src/**"), task="t1")))
    second = granted(await service.acquire(request("task t1", path("docs/a.md"), path("src/x"), task="t1")))
    assert second.hold.id == first.hold.id
    assert [lock.token for lock in second.locks] == [2, 1], "what a held pattern covers is not taken again"
    assert len(await store.read(lambda tx: locks.of_hold(tx, first.hold.id))) == 2


async def test_what_another_task_held_since_then_is_in_the_way(service: LockService, store: Store) -> None:
    since = await store.write(lambda tx: tx.now_us())
    other = granted(await service.acquire(request("task t1", path("src/x"), task="t1")))
    await service.change(lambda page: page.release(other.hold, HoldEnd.DONE))
    assert blocked(await service.acquire(request("task t2", path("src/**"), task="t2", since=since))).by
    now = await store.write(lambda tx: tx.now_us())
    granted(await service.acquire(request("task t2", path("src/**"), task="t2", since=now)))


async def test_the_ledger_tells_who_got_what_and_how_it_ended(service: LockService, store: Store) -> None:
    held = granted(await service.acquire(request("a", path("src/**"), thing("deploy", LockMode.SHARED))))
    await service.change(lambda page: page.release(held.hold, HoldEnd.BROKEN, actor="anna", reason="stuck"))
    told = [item.event for item in await store.read(ledger.read)]
    assert isinstance(told[0], LocksGranted)
    assert (told[0].resources, told[0].modes) == (("path:shop:src/**", "deploy"), ("exclusive", "shared"))
    assert isinstance(told[1], LocksReleased)
    assert (told[1].end, told[1].reason) == ("broken", "stuck")


async def test_many_paths_of_one_change_are_taken_at_once(service: LockService, store: Store) -> None:
    wants = [path(f"node_modules/{number // 100}/{number}.js") for number in range(2_000)]
    held = granted(await service.acquire(request("task t1", *wants, task="t1")))
    assert len(held.locks) == 2_000
    blocked(await service.acquire(request("b", path("node_modules/7/**"))))


async def test_ended_holds_of_tasks_are_forgotten_after_a_while(service: LockService, store: Store) -> None:
    held = granted(await service.acquire(request("task t1", path("src/**"), task="t1")))
    await service.change(lambda page: page.release(held.hold, HoldEnd.DONE))
    assert await store.write(lambda tx: locks.forget_ended(tx, LONG)) == 0
    assert await store.write(lambda tx: locks.forget_ended(tx, -1)) == 1


async def test_a_sweep_ends_what_expired(service: LockService, store: Store) -> None:
    over = granted(await service.acquire(request("a", thing("x"))))
    granted(await service.acquire(request("b", thing("y"))))
    await runs_out(store, over)
    assert await service.sweep() == 1

    def holders(tx: Tx) -> list[str]:
        return [hold.holder for hold in locks.open_holds(tx)]

    assert await store.read(holders) == ["b"]
