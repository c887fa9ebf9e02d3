"""What controllers of one store tell each other, on a real PostgreSQL: after the commit, also after an outage."""

from __future__ import annotations

import asyncio
from dataclasses import replace
from pathlib import Path

import pytest

from fleet.config import parse_fleet
from fleet.errors import LeadershipLost, LeaseLost
from fleet.events import ControllerStarted, LocksReleased, Recorded, Source
from fleet.flight.flight import Flight
from fleet.flight.sharing import SharedFleet
from fleet.model import AIRBOSS
from fleet.one_controller import between_controllers
from fleet.store import controllers, leads, leases, ledger
from fleet.store.controllers import Contender, RunsOn
from fleet.store.core import Store, Tx
from fleet.store.notices import Notices, Topic
from fleet.store.states import ControllerRole
from fleet.supervise import alongside, first
from tests.contracts.listeners import listening, until
from tests.empty_store import filled_database
from tests.far_end.postgres import Postgres
from tests.flying import FLEET, World

HEARD = (LocksReleased.KIND,)
HEAD, B = (Contender(f"{host}:/home:1:x", host, "/home", "1") for host in ("a", "b"))


@pytest.fixture
def url(postgres: Postgres) -> str:
    return filled_database(postgres)


async def test_what_is_committed_is_told_to_others_and_nothing_else(url: str) -> None:
    with Store.open(url) as here, Store.open(url) as there:
        async with listening(here, HEARD) as mine, listening(there, HEARD) as theirs:
            heard, own = list[str](), list[str]()
            mine.hear(Topic.TASK, lambda key, origin: heard.append(key))
            theirs.hear(Topic.TASK, lambda key, origin: own.append(key))

            def undone(tx: Tx) -> None:
                theirs.tell(tx, Topic.TASK, "t1")
                raise LookupError

            with pytest.raises(LookupError):
                await there.write(undone)

            def twice(tx: Tx) -> None:
                theirs.tell(tx, Topic.TASK, "t2")
                theirs.tell(tx, Topic.TASK, "t2")

            await there.write(twice)
            theirs.tell_soon(Topic.TASK, "t3")
            await until(lambda: "t3" in heard)
            assert heard == ["t2", "t3"]
            assert own == [], "nobody hears itself"


async def test_events_that_matter_are_heard_and_of_others_only_that_there_are_some(url: str) -> None:
    with Store.open(url) as here, Store.open(url) as there:
        found = list[Recorded]()
        here.hear(found.append)
        async with listening(here, HEARD) as mine, listening(there, HEARD):
            grown = list[str]()
            mine.hear(Topic.LEDGER, lambda key, origin: grown.append(key))
            released, other = LocksReleased("h1", "t1", ("x",), "done", ""), ControllerStarted("1", ())

            def work(tx: Tx) -> None:
                for event in (other, released, other):
                    ledger.append(tx, event, actor=AIRBOSS, source=Source.CONTROLLER)

            await there.write(work)
            await until(lambda: found and len(grown) > 1)
            assert [recorded.event for recorded in found] == [released]
            assert sorted(grown) == ["", "heard"], "once for each kind of news, however many events"


async def test_after_a_cut_connection_everybody_looks_and_no_event_is_missed(url: str, postgres: Postgres) -> None:
    with Store.open(url) as here, Store.open(url) as there:
        found, looks = list[Recorded](), list[str]()
        here.hear(found.append)
        async with listening(here, HEARD) as mine:
            mine.hear(Topic.TASK, lambda key, origin: looks.append(key))
            postgres.disconnect(url)
            released = LocksReleased("h1", "t1", ("x",), "done", "")
            with there.transaction() as tx:
                ledger.append(tx, released, actor=AIRBOSS, source=Source.CONTROLLER)
            await until(lambda: found and looks)
            assert [recorded.event for recorded in found] == [released]


async def test_one_controller_at_a_time_has_a_turn_and_a_dead_one_has_none(url: str) -> None:
    with Store.open(url) as here, Store.open(url) as there, Store.open(url) as alone:
        here.share(HEAD.instance)
        there.share(B.instance)
        entered = asyncio.Event()

        async def enter() -> None:
            async with between_controllers(here, "gates@linux"):
                entered.set()

        async with between_controllers(there, "gates@linux"):
            async with between_controllers(alone, "gates@linux"), between_controllers(there, "gates@mac"):
                pass  # who shares its store with nobody waits for nobody
            async with alongside(enter(), "enter") as entering:
                assert await first(entering, asyncio.sleep(1.5)) == {1}, "it waits"
                await here.write(lambda tx: leads.put_out(tx, B.instance))
                await entering
        assert entered.is_set()


async def test_who_is_silent_is_put_out_but_not_right_after_an_outage(url: str) -> None:
    with Store.open(url) as store:
        notices = Notices(store, HEARD)
        shared = SharedFleet(notices, HEAD.instance, lambda: RunsOn("same"), coordinates=True)
        with store.transaction() as tx:
            controllers.note(tx, B, ControllerRole.SHARES, RunsOn("same"))
            member = leads.join(tx, B.instance)
            leads.give(tx, "t1", [B.instance])
            leases.renew(tx, member, 0)
        shared.begin()
        await shared.led(store)
        await store.under(member.fence).write(Tx.now_us)  # it may not have been able to renew either
        shared.patience = 0.0
        shared.begin()
        await shared.led(store)
        with pytest.raises(LeadershipLost):
            await store.under(member.fence).write(Tx.now_us)
        await notices.close()


async def test_a_flight_ends_and_writes_nothing_once_another_controller_leads_it(url: str, tmp_path: Path) -> None:
    with Store.open(url) as store:
        world = World(tmp_path, store, parse_fleet(FLEET.format(url=tmp_path), "fleet.toml"))
        notices = Notices(store, HEARD)
        shared = SharedFleet(notices, HEAD.instance, lambda: RunsOn("same"), coordinates=False)
        services = replace(world.services, sharing=shared)
        task = await world.running()
        with store.transaction() as tx:
            lead = leads.give(tx, task.id, [HEAD.instance])
            assert leads.give(tx, task.id, [B.instance]) != lead
        with pytest.raises(LeaseLost, match="it passed to b:"):
            await services.under(lead).store.write(Tx.now_us)
        await Flight(services, task, lead).run()
        assert await world.now(task) == task
        assert await shared.led(store) == [], "nor is it run here again"
        await notices.close()
