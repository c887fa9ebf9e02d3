"""A session by hand at the controller's side: what its hook may ask, and what a judgement that broke off leaves."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import pytest

from bot.local.hook_forwards import HookForwards
from bot.local.hooked import HookDoor
from fleet.clock import SystemClock
from fleet.config import FleetConfig
from fleet.errors import Misused, Refused, StoreUnavailable
from fleet.faults import Fault, Point, injected
from fleet.git.workspace import Workspaces
from fleet.locks import Granted, LockCause, Resource, Want
from fleet.machines.runner import hook_stop
from fleet.store import hooked
from fleet.store.core import Tx
from fleet.store.hooked import Hooked
from fleet.supervise import alongside, end, own
from gates.hooked import Caller, HookedSessions
from gates.hooked_work import HookedWork
from gates.locks.book import Request
from gates.locks.service import LockService
from gates.people import console_owner
from tests.far_end.repositories import git
from tests.flying import FastClock
from tests.scenarios.gate_house import WAITING, House, Judge, airboss_toml, begun

pytestmark = pytest.mark.timeout(300)
SLOW = {"airboss.toml": airboss_toml("sh", "-c", f"test -e quick || {{ {WAITING}; }}"), "a.txt": "a\n"}


@dataclass
class Person:
    """A person's hook, with the session that it began."""

    judge: Judge
    door: HookDoor
    given: dict[str, Any] = field(default_factory=lambda: {"session_id": "s", "repo": "demo", "top": "/w"})

    async def asks(self, op: str, handed: bytes = b"", **more: object) -> dict[str, Any]:
        reader = asyncio.StreamReader()
        reader.feed_data(handed)
        request = {"op": op, "agent": "claude", "given": {**self.given, **more}}
        return await self.door.answer(Caller(console_owner(), "macbook"), request, reader)

    async def begins(self) -> None:
        self.given["secret"] = (await self.asks("begin"))["secret"]

    async def is_done(self, file: str) -> dict[str, Any]:
        house = self.judge.house
        base = await house.repository.fetch()
        git(house.work, "checkout", "--quiet", "--detach", base)
        (house.work / file).write_text("mine\n")
        handed = hook_stop.handed(str(house.work), base)
        (house.work / file).unlink()
        assert handed is not None
        return await self.asks("judge", handed.pack, tree=handed.tree, base=base, pack=len(handed.pack))

    async def is_judged(self, judged: str) -> None:
        """As a judgement leaves it."""

        def work(tx: Tx) -> None:
            found = hooked.last_of(tx, "claude", "s")
            assert found is not None
            hooked.change(tx, found, judged=judged)

        await self.judge.store.write(work)

    async def judged(self) -> str:
        found = await self.judge.store.read(lambda tx: hooked.last_of(tx, "claude", "s"))
        return found.judged if found else ""


@asynccontextmanager
async def person(house: House) -> AsyncIterator[Person]:
    async with house.open() as judge:
        store, config, repositories = judge.store, lambda: house.config, lambda _: house.repository
        sessions = HookedSessions(store, LockService(store, SystemClock()), repositories, config)
        workspaces = Workspaces(lambda: house.config.limits)
        work = HookedWork(store, config, repositories, workspaces, judge.pipeline)
        yield Person(judge, HookDoor(sessions, work, config, house.home))


async def broken_off(house: House, ada: Person) -> None:
    """A judgement whose controller is gone in the middle of its gate."""
    await ada.begins()
    judging = own(ada.is_done("slow"), "judge")
    await begun(house.room)
    assert await ada.judged() == "t1 running"
    with pytest.raises(Refused, match="still judge what it had before"):
        await ada.is_done("quick")
    await end(judging)


async def test_a_judgement_that_broke_off_is_closed_by_the_next_one_and_keeps_its_task(tmp_path: Path) -> None:
    house = House(tmp_path, dict(SLOW))
    async with person(house) as ada:
        await broken_off(house, ada)
        assert not await ada.judge.events("gate.closed")
        given = ada.given
    async with person(house) as ada:
        ada.given = given
        assert "gates passed: t1." in (await ada.is_done("quick"))["say"]["systemMessage"]
        outcomes = [each.event.body()["outcome"] for each in await ada.judge.events("gate.closed")]
        assert outcomes == ["aborted", "passed"]
        assert await ada.judged() == "t1 passed"


async def test_the_end_of_a_session_closes_a_judgement_that_broke_off(tmp_path: Path) -> None:
    house = House(tmp_path, dict(SLOW))
    async with person(house) as ada:
        await broken_off(house, ada)
        given = ada.given
    async with person(house) as ada:
        ada.given = given
        assert await ada.asks("end") == {"done": True}
        (closed,) = await ada.judge.events("gate.closed")
        assert closed.event.body()["outcome"] == "aborted"


async def test_a_controller_closes_what_an_earlier_one_judged_though_the_session_never_asks_again(
    tmp_path: Path,
) -> None:
    house = House(tmp_path, dict(SLOW))
    async with person(house) as ada:
        await broken_off(house, ada)
    async with person(house) as ada, asyncio.timeout(60):
        forwards = HookForwards(lambda: house.config, house.home, ada.door, SystemClock())
        async with alongside(forwards.run(), "hooks on machines"):
            while await ada.judged() != "t1 no verdict":
                await asyncio.sleep(0.02)
        for _ in range(2):
            await ada.door.work.close_interrupted()
            (closed,) = await ada.judge.events("gate.closed")
            assert closed.event.body()["outcome"] == "aborted"
            assert await ada.judged() == "t1 no verdict"


class JudgedMeanwhile(HookedWork):
    def _interrupted(self, tx: Tx, session: Hooked) -> None:
        hooked.change(tx, session, judged="t1 passed")
        super()._interrupted(tx, session)


async def test_what_was_judged_anew_meanwhile_keeps_its_outcome(tmp_path: Path) -> None:
    async with person(House(tmp_path, {"a.txt": "a\n"})) as ada:
        await ada.begins()
        await ada.is_judged("t1 running")
        work = ada.door.work
        meanwhile = JudgedMeanwhile(work.store, work.config, work.repositories, work.workspaces, work.gatekeeper)
        await meanwhile.close_interrupted()
        assert await ada.judged() == "t1 passed"
        await ada.is_judged("t1 running")
        await work.close_interrupted()
        assert await ada.judged() == "t1 no verdict"


class ClosesLong(HookedWork):
    """A machine is waited for until ``go``; then the store is away."""

    go = asyncio.Event()

    async def close_interrupted(self) -> None:
        await self.go.wait()
        raise StoreUnavailable(attempted="read the store")


async def test_hooks_are_heard_while_what_broke_off_is_still_closed(tmp_path: Path) -> None:
    house = House(tmp_path, {"a.txt": "a\n"})
    async with person(house) as ada:
        work, looked = ada.door.work, asyncio.Event()

        def config() -> FleetConfig:
            looked.set()
            return house.config

        closes = ClosesLong(work.store, work.config, work.repositories, work.workspaces, work.gatekeeper)
        forwards = HookForwards(config, house.home, replace(ada.door, work=closes), FastClock())
        async with alongside(forwards.run(), "hooks on machines") as running:
            await looked.wait()
            assert not running.done()
            closes.go.set()
            with pytest.raises(StoreUnavailable):
                await running


async def test_a_judgement_with_an_error_does_not_look_as_if_it_ran(tmp_path: Path) -> None:
    house = House(tmp_path, dict(SLOW))
    async with person(house) as ada:
        await ada.begins()
        house.config.repos.clear()
        with pytest.raises(Misused, match="no longer names repository demo"):
            await ada.is_done("quick")
        assert await ada.judged() == "t1 no verdict"


@pytest.mark.parametrize("paths", [[], ["a\ud800.txt"], ["a\0.txt"], ["../a.txt"], ["/a.txt"], [1]])
async def test_an_edit_that_names_no_path_of_the_working_copy_is_malformed(
    tmp_path: Path, paths: list[object]
) -> None:
    async with person(House(tmp_path, {"a.txt": "a\n"})) as ada:
        await ada.begins()
        with pytest.raises(Misused, match="malformed"):
            await ada.asks("edit", paths=paths)


async def test_a_name_that_is_no_text_is_locked_and_shown(tmp_path: Path) -> None:
    async with person(House(tmp_path, {"a.txt": "a\n"})) as ada:
        ada.given["session_id"] = "s\0"
        await ada.begins()
        assert await ada.asks("edit", tool_name="Write\0", paths=["a\udcff.txt"]) == {"done": True}
        found = await ada.judge.store.read(lambda tx: hooked.last_of(tx, "claude", "s\ufffd"))
        assert found is not None and found.doing == "Write\ufffd a\\xff.txt"


async def test_an_edit_is_one_commit_whether_it_is_granted_or_refused(tmp_path: Path) -> None:
    async with person(House(tmp_path, {"a.txt": "a\n"})) as ada:
        await ada.begins()
        second = Person(ada.judge, ada.door, {**ada.given, "session_id": "second"})
        await second.begins()
        with injected(Fault(Point.STORE_COMMIT, first=2)):
            assert await ada.asks("edit", tool_name="Write", tool_use_id="1", paths=["a.txt"]) == {"done": True}
        with injected(Fault(Point.STORE_COMMIT, first=2)):
            refused = await second.asks("edit", tool_name="Write", tool_use_id="2", paths=["a.txt"])
        assert "a.txt" in str(refused["say"])
        with injected(Fault(Point.STORE_COMMIT)), pytest.raises(StoreUnavailable):
            await ada.asks("edit", tool_name="Write", tool_use_id="3", paths=["b.txt"])
        started = await ada.judge.events("tool.started")
        assert [each.event.body()["call"] for each in started] == ["1", "2"]
        assert await second.asks("edit", tool_name="Write", tool_use_id="4", paths=["b.txt"]) == {"done": True}


async def test_an_edit_goes_behind_those_who_wait_in_line(tmp_path: Path) -> None:
    async with person(House(tmp_path, {"a.txt": "a\n"})) as ada:
        await ada.begins()
        locks = ada.door.sessions.service
        a, b = (Want(Resource(name, "demo")) for name in ("a.txt", "b.txt"))
        holder, waiter = (
            Request(name, wants, 60_000_000, LockCause.COMMAND)
            for name, wants in (("holder", (b,)), ("waiter", (a, b)))
        )
        assert isinstance(await locks.acquire(holder), Granted)
        waits = await locks.line_up(waiter, lambda: None)
        refused = await ada.asks("edit", tool_name="Write", paths=["a.txt"])
        assert "holder (b.txt)" in str(refused["say"])
        locks.leave(waits)
        assert await ada.asks("edit", tool_name="Write", paths=["a.txt"]) == {"done": True}
