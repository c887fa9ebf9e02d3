"""What one controller remembers, another on its store hears of or finds: wakes, slots, permissions, locks."""

from __future__ import annotations

import asyncio
import subprocess
import sys
from pathlib import Path

import pytest

from bot.base import HEARD
from fleet.agent_events import Asked
from fleet.config import parse_fleet
from fleet.flight.sharing import SharedFleet
from fleet.flight.slot_line import SlotLine
from fleet.git.mirror_lock import one_process
from fleet.landing.queue import LandingQueue
from fleet.model import Session
from fleet.store import approvals, controllers, leads, pool_slots
from fleet.store.approvals import Approval
from fleet.store.controllers import Contender, RunsOn
from fleet.store.core import Store, Tx
from fleet.store.notices import Topic
from fleet.store.states import ControllerRole
from fleet.supervise import alongside, first
from gates.rulings.grants import Grants, grant
from tests.contracts.listeners import listening, until
from tests.empty_store import filled_database
from tests.far_end.postgres import Postgres
from tests.rows import asked, placed

HEAD, B = "a:/home:1:x", "b:/home:1:x"
FLEET = """
isolation = "unsafe-same-user"
[machines.box]
executor = "local"
[agents.demo]
driver = "command"
program = ["demo"]
[repos.shop]
url = "/srv/shop.git"
agent = "demo"
[[people]]
name = "Ada"
role = "admin"
ids = ["phone::ada"]
"""


@pytest.fixture
def url(postgres: Postgres) -> str:
    return filled_database(postgres)


async def test_a_wake_news_of_a_queue_and_who_wants_a_slot_back_are_heard_elsewhere(url: str) -> None:
    with Store.open(url) as here, Store.open(url) as there:
        async with listening(here, HEARD) as mine, listening(there, HEARD) as theirs:
            woken, own = list[str](), list[str]()
            slots, other_slots, queue, other_queue = SlotLine(), SlotLine(), LandingQueue(), LandingQueue()
            SharedFleet(mine, HEAD, lambda: RunsOn(""), coordinates=True).connect(slots, queue, woken.append)
            member = SharedFleet(theirs, B, lambda: RunsOn(""), coordinates=False)
            member.connect(other_slots, other_queue, own.append)

            member.tell("t1")
            await until(lambda: "t1" in woken)
            news = queue.news("shop")
            other_queue.changed("shop")
            await until(news.is_set)

            for task in ("t1", "t2"):
                other_slots.wait_to_return(task, "box", lambda: None)
            other_slots.wait_to_return("t3", "mac", lambda: None)
            await until(lambda: slots.returning() == {"box": 2, "mac": 1})
            slots.wait_to_return("t4", "box", lambda: None)
            await until(lambda: other_slots.returning() == {"box": 3, "mac": 1})
            assert slots.returning() == {"box": 3, "mac": 1}, "nobody's are counted twice"
            other_slots.returned("t1")
            other_slots.returned("t3")
            await until(lambda: slots.returning() == {"box": 2})
            slots.changed.clear()
            await there.write(lambda tx: theirs.tell(tx, Topic.RETURNING, '{"box": "many"}'))
            await until(slots.changed.is_set)
            assert slots.returning() == {"box": 1}, "what cannot be read counts nothing"
            assert set(own) <= {""}, "nobody hears itself"


async def test_a_permission_for_a_session_counts_where_its_agent_asks(url: str) -> None:
    config = parse_fleet(FLEET, "fleet.toml")
    with Store.open(url) as coordinator, Store.open(url) as there:

        def asks(tx: Tx) -> tuple[Session, Approval]:
            session = placed(tx, asked(tx).id)
            same = {"tool": "Bash", "request": "make", "command": "make", "directory": "/w"}
            return session, approvals.open_ask(
                tx, session=session, ask="q1", paths=(), reason="it asks", expires_us=0, **same
            )

        grants = Grants(there)
        async with listening(there, HEARD), listening(coordinator, HEARD):
            await grants.load()
            session, approval = await coordinator.write(asks)
            again = Asked("q2", "Bash", "make", "make", (), "/w")
            assert not grants.cover(session, again, config)
            await coordinator.write(lambda tx: grant(tx, approval, "phone::ada"))
            await until(lambda: grants.cover(session, again, config))
        with Store.open(url) as taken_over:
            later = Grants(taken_over)
            await later.load()
            assert later.cover(session, again, config), "and where it is led after a takeover"


async def test_a_task_on_a_slot_of_a_pool_is_led_by_who_keeps_the_pool(url: str) -> None:
    head, b = (Contender(instance, instance[0], "/home", "1") for instance in (HEAD, B))
    with Store.open(url) as store:
        async with listening(store, HEARD) as notices:
            shared = SharedFleet(notices, HEAD, lambda: RunsOn("same"), coordinates=True, patience=0.0)

            def begin(tx: Tx) -> list[str]:
                controllers.note(tx, head, ControllerRole.LEADS, RunsOn("same"))
                controllers.note(tx, b, ControllerRole.SHARES, RunsOn("same"))
                leads.join(tx, B)
                slot = pool_slots.ask(tx, instance=store.instance, pool="farm", terms="{}", price_udollar=0)
                begun = [asked(tx).id for _ in range(3)]
                for task, machine in zip(begun, ("box", slot.slot, slot.slot), strict=True):
                    placed(tx, task, machine)
                    shared.hand_on(tx, task)
                return [lead.controller for _, lead in sorted(leads.every(tx).items())]

            assert await store.write(begin) == [B, HEAD, HEAD]

            def passes_on(tx: Tx) -> list[str]:
                for task in leads.every(tx):
                    leads.give(tx, task, [B])  # as a controller did that coordinated before
                leads.put_out(tx, B)
                leads.join(tx, "c:/home:1:x")
                controllers.note(
                    tx, Contender("c:/home:1:x", "c", "/home", "1"), ControllerRole.SHARES, RunsOn("same")
                )
                return list(leads.every(tx))

            await store.write(passes_on)
            shared.begin()
            await shared.led(store)
            found = await store.read(leads.every)
            assert [lead.controller for _, lead in sorted(found.items())] == ["c:/home:1:x", HEAD, HEAD]


HOLDS = """
import fcntl, sys
lock = open(sys.argv[1], "a")
fcntl.flock(lock, fcntl.LOCK_EX)
print("held", flush=True)
sys.stdin.read()
"""


async def test_two_processes_do_not_change_a_mirror_at_once_and_a_killed_one_holds_nothing(tmp_path: Path) -> None:
    entered, order = asyncio.Event(), list[str]()

    async def enter(name: str) -> None:
        async with one_process(tmp_path):
            order.append(name)
            entered.set()
            await asyncio.sleep(0)
            order.append(name)

    with subprocess.Popen(
        [sys.executable, "-c", HOLDS, str(tmp_path / "airboss.lock")], stdin=subprocess.PIPE, stdout=subprocess.PIPE
    ) as other:
        assert other.stdout is not None
        assert await asyncio.to_thread(other.stdout.readline) == b"held\n"
        async with alongside(enter("a"), "a") as a, alongside(enter("b"), "b") as b:
            assert await first(entered.wait(), asyncio.sleep(1.0)) == {1}, "they wait for the other process"
            other.kill()
            await a
            await b
    assert order in (["a", "a", "b", "b"], ["b", "b", "a", "a"]), "nor within one"
