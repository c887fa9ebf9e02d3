"""What a task says while it waits for a machine, a disk or a repository, and that nothing else ends it."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Coroutine
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from fleet.clock import SystemClock
from fleet.config import parse_fleet
from fleet.errors import DiskFull, NotLetIn
from fleet.flight.flight import Flight
from fleet.flight.waits import Waits
from fleet.landing.leased import LeasedLanding
from fleet.landing.outcome import ChangeToLand, Doing, Landed
from fleet.model import Task, TaskState
from fleet.ports import Candidate
from fleet.store import pool_slots, sessions, tasks
from fleet.store.core import Tx
from fleet.supervise import alongside, first
from fleet.verdict import Verdict
from tests.far_end.repositories import git, make_bare
from tests.flying import FLEET, FastClock, World, give, passed, world
from tests.rows import placed


@pytest.fixture
async def there(tmp_path: Path) -> AsyncIterator[World]:
    made = world(tmp_path, str(make_bare(tmp_path / "shop.git", {"a.txt": "one\n"})))
    with made.store:
        yield made


async def _until_why(there: World, task: Task, words: str) -> None:
    while words not in (await there.now(task)).why:
        await asyncio.sleep(0.01)


async def _until_back(there: World, task: Task) -> None:
    there.machine.trouble = None
    while (now := await there.now(task)).why:
        await asyncio.sleep(0.01)
    assert now.state is TaskState.RUNNING


async def test_a_machine_that_no_longer_lets_us_in_ends_nothing_that_runs_there(there: World) -> None:
    there.machine.trouble = NotLetIn(attempted="connect", on="box", cause="its host key is not the pinned one")
    task = await there.running()
    async with alongside(Flight(there.services, task).run(), "fly"):
        await _until_why(there, task, "waiting for the link: its host key is not the pinned one")
        await _until_back(there, task)
    there.machine.trouble = NotLetIn(attempted="connect", on="box", cause="its host key is not the pinned one")
    new = await there.task(TaskState.PREPARING)
    async with alongside(Flight(there.services, new).run(), "fly"):
        while (now := await there.now(new)).state is TaskState.PREPARING:
            await asyncio.sleep(0.01)
    assert now.state is TaskState.REFUSED and "not the pinned one" in now.why, "whoever asked is still there"


async def test_a_slot_may_answer_before_it_lets_us_in(there: World) -> None:
    there.machine.trouble = NotLetIn(attempted="log in", on="box", cause="Permission denied for user agents")
    task = await there.task(TaskState.PREPARING)

    def up(tx: Tx) -> None:
        asked = pool_slots.ask(tx, instance="i", pool="big", terms="{}", price_udollar=0)
        placed(tx, task.id, asked.slot)

    await there.store.write(up)
    there.config = parse_fleet(FLEET.format(url="/nowhere").replace("machines.box", "machines.big-1"), "fleet.toml")
    async with alongside(Flight(there.services, task).run(), "fly"):
        await _until_why(there, task, "waiting for the link: Permission denied for user agents")
        assert (await there.now(task)).state is TaskState.PREPARING


class Reads(FastClock):
    """Reads what the task shows whenever it waits for room on a disk."""

    there: World

    def __init__(self) -> None:
        super().__init__()
        self.shown: list[str] = []

    async def sleep(self, seconds: float) -> None:
        if seconds == 30:
            self.shown.append((await self.there.store.read(lambda tx: tasks.task(tx, "t1"))).why)
        await super().sleep(seconds)


async def test_a_task_says_why_it_waits_after_each_try(there: World) -> None:
    clock = Reads()
    clock.there = there = World(there.directory, there.store, there.config, clock=clock)
    task = await there.task(TaskState.PREPARING, TaskState.RUNNING, TaskState.JUDGING)

    async def judging(candidate: Candidate) -> Verdict:
        await there.store.write(lambda tx: tasks.explain(tx, task.id, ""))  # as a landing begins
        raise DiskFull(attempted="keep the output", cause="No space left on device")

    there.judge.judging = judging
    async with alongside(Flight(there.services, task).run(), "fly"):
        while len(clock.shown) < 4:
            await asyncio.sleep(0.01)
    assert set(clock.shown[:4]) == {"waiting: could not keep the output: No space left on device"}


async def test_a_repository_that_does_not_answer_is_named_while_it_is_waited_for(there: World) -> None:
    task, answered = await there.task(), asyncio.Event()
    waits = Waits(there.store, there.clock, task.id)
    waits.patience_s = 0.01
    async with alongside(waits.unless_stopped(answered.wait(), Doing.FETCH), "wait") as waiting:
        await _until_why(there, task, "waiting for its repository: it has not answered")
        answered.set()
        assert await waiting


@pytest.mark.parametrize(
    ("hook", "told"), [("pre-receive", "the push to main has not"), ("post-receive", "it is on main")]
)
async def test_a_hook_of_the_repository_that_takes_long_is_told(there: World, hook: str, told: str) -> None:
    """Before the branch moves, or after it: that hook is not cut off."""
    base = await there.repository.fetch()
    tree = git(there.repository.mirror, "rev-parse", f"{base}^{{tree}}")
    task, commit = await there.released(tree, base)
    go, ran = there.directory / "go", there.directory / "ran"
    assert there.repository.path is not None
    script = there.repository.path / "hooks" / hook
    script.parent.mkdir(exist_ok=True)
    script.write_text(f"#!/bin/sh\nwhile [ ! -e {go} ]; do sleep 0.1; done\ntouch {ran}\n")
    script.chmod(0o700)
    await there.store.write(lambda tx: tasks.move(tx, task.id, TaskState.LANDING, "", "airboss"))
    session = await there.session(task)
    (turn,) = await there.store.read(lambda tx: sessions.turns(tx, session.id))
    context = replace(there.services.landing_context("shop"), clock=SystemClock())
    landing = LeasedLanding(context, ChangeToLand(task, session, turn))
    landing.patience_s = 0.2
    candidate = Candidate(task, session, turn, commit, tree, base, 1)
    await there.store.write(lambda tx: give(tx, session, passed(candidate)))

    async def interruptible(work: Coroutine[Any, Any, Any], what: Doing) -> Any:
        return await work

    async with asyncio.timeout(60), alongside(landing.land(candidate, interruptible), "land") as landed:
        assert await first(_until_why(there, task, told), landed) == {0}
        go.touch()
        assert await landed == Landed("refs/heads/main")
    assert ran.exists()
