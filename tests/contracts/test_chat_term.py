"""Who leads is sure of it before a chat is told something, or asked: what was frozen meanwhile says nothing."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable

import pytest

from bot.cards import Card, line
from bot.chats.telegram.http import NotSent, PollRequest
from bot.leading import TTL_US, SureLead
from bot.outbox.contact import Contact
from bot.outbox.delivering import Deliverer
from bot.outbox.port import always
from bot.outbox.posting import Outbox
from fleet.clock import SystemClock
from fleet.errors import LeadershipLost
from fleet.faults import Fault, Point, injected
from fleet.model import ChatRef
from fleet.store import leases
from fleet.store.chat import outbox
from fleet.store.core import Store, Tx
from fleet.store.leases import Lease
from fleet.supervise import Supervisor
from tests.chat_house import Phone
from tests.far_end.bot_api import TOKEN, BotApi

CHAT = ChatRef("phone", "c")


def leads(store: Store, who: str) -> Lease:
    with store.transaction() as tx:
        return leases.seize(tx, leases.LEADERSHIP, f"{who}:/home:1:x", TTL_US)


def term(store: Store, lease: Lease, uptime_us: Callable[[], int]) -> SureLead:
    return SureLead(store.under(lease.fence), lease, SystemClock(), uptime_us)


async def test_a_renewal_counts_for_six_seconds_and_then_there_is_another_one(store: Store) -> None:
    up = [1_000_000]
    held = term(store, leads(store, "a"), lambda: up[0])
    held.renewed(up[0])
    with injected(Fault(Point.STORE_COMMIT, times=0)) as commits:
        up[0] += 5_900_000
        await held.sure()
        assert commits.visits == 0
        up[0] += 200_000
        await asyncio.gather(held.sure(), held.sure(), held.sure())
        assert commits.visits == 1
        await held.sure()
        assert commits.visits == 1


async def test_a_renewal_counts_from_when_it_was_begun(store: Store) -> None:
    """Its commit may be slow: nobody else may lead for ten seconds after the store took it, which was before."""
    up = [0]

    class Slow:
        def check(self, _: Tx) -> None:
            up[0] += 3_000_000

    held = term(store.under(Slow()), leads(store, "a"), lambda: up[0])
    await held.sure()
    with injected(Fault(Point.STORE_COMMIT, times=0)) as commits:
        up[0] = 6_100_000
        await held.sure()
        assert commits.visits == 1


async def test_one_that_was_taken_over_from_is_not_sure(store: Store) -> None:
    up = [0]
    held = term(store, leads(store, "a"), lambda: up[0])
    await held.sure()
    leads(store, "b")
    up[0] += TTL_US
    with pytest.raises(LeadershipLost):
        await held.sure()


async def test_a_store_that_is_away_is_waited_for(store: Store) -> None:
    held = term(store, leads(store, "a"), lambda: 0)
    with injected(Fault(Point.STORE_COMMIT, times=1)) as commits:
        await held.sure()
    assert commits.visits == 2


def delivering(store: Store, phone: Phone, sure: Callable[[], Awaitable[None]]) -> tuple[Outbox, Deliverer]:
    posted = Outbox(store)
    made = Deliverer(posted, [phone], Supervisor(SystemClock()), sure=sure)
    made.start()
    return posted, made


async def test_what_a_frozen_controller_had_claimed_the_next_one_sends_once(
    store: Store, caplog: pytest.LogCaptureFixture
) -> None:
    up, wakes, phone = [0], asyncio.Event(), Phone()
    old = leads(store, "a")
    held = term(store, old, lambda: up[0])
    held.renewed(0)

    async def frozen() -> None:
        await wakes.wait()
        await held.sure()

    posted, first = delivering(store.under(old.fence), phone, frozen)
    await posted.store.write(lambda tx: posted.open(tx).post(CHAT, Card(line("once"))))
    while not await store.read(lambda tx: outbox.in_flight(tx, "phone")):
        await asyncio.sleep(0.01)
    _, second = delivering(store.under(leads(store, "b").fence), phone, always)
    await second.drained(CHAT)
    assert [(each.card.title, each.again) for each in phone.sent] == [(line("once"), True)]
    up[0] += TTL_US
    wakes.set()
    while "deliver to phone ended with an error" not in caplog.text:
        await asyncio.sleep(0.01)
    assert len(phone.sent) == 1, "the woken one says nothing"
    await first.close()
    await second.close()


async def test_telegram_is_not_polled_by_one_that_is_not_sure() -> None:
    async def lost() -> None:
        raise LeadershipLost(attempted="lead", cause="it passed to b")

    with BotApi() as api:
        for sure, calls in ((lost, 0), (always, 1)):
            request = PollRequest(api.url, Contact(), sure)
            await request.initialize()
            url = f"{api.url}/bot{TOKEN}/getMe"
            if sure is lost:
                with pytest.raises(NotSent, match="not polled: it passed to b"):
                    await request.do_request(url, "POST")
            else:
                await request.do_request(url, "POST")
            await request.shutdown()
            assert len(api.calls) == calls
