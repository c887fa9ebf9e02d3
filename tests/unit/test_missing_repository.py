"""A task in a late state whose repository fleet.toml no longer names says so and waits; the controller goes on."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from dataclasses import replace
from pathlib import Path

import pytest

from fleet.agent_events import TurnOutcome
from fleet.clock import SystemClock
from fleet.config import FleetConfig, parse_fleet
from fleet.flight import lacking
from fleet.flight.dispatcher import Dispatcher
from fleet.model import PipeEnd, Task, TaskState
from fleet.ports import Candidate
from fleet.store import approvals, sessions, tasks
from fleet.store.core import Tx
from fleet.supervise import Supervisor
from fleet.verdict import Verdict
from tests.far_end.repositories import git, make_bare
from tests.flying import FLEET, PERSON, World, world


@pytest.fixture
async def there(tmp_path: Path) -> AsyncIterator[World]:
    made = world(tmp_path, str(make_bare(tmp_path / "shop.git", {"a.txt": "one\n"})))
    with made.store:
        yield made


async def _until_why(there: World, task: Task, words: str) -> None:
    while words not in (await there.now(task)).why:
        await asyncio.sleep(0.01)


NO_SHOP = "waiting: fleet.toml no longer names repository shop"


def _without_shop(there: World) -> FleetConfig:
    return parse_fleet(FLEET.format(url=there.repository.url).replace("repos.shop", "repos.other"), "fleet.toml")


async def _late(there: World, state: TaskState) -> Task:
    """A task in that state, whose agent's process has ended, with the question that belongs to the state."""
    judged = (TaskState.JUDGING,) if state in (TaskState.HELD, TaskState.LANDING) else ()
    task = await there.task(TaskState.PREPARING, TaskState.RUNNING, *judged, state)
    session = await there.session(task)

    def work(tx: Tx) -> Task:
        sessions.update(tx, session.id, pipe="p", pipe_end=PipeEnd.GONE)
        sessions.update_turn(tx, f"{session.id}.1", ended_us=1, outcome=TurnOutcome.FAILED)
        if state is TaskState.HELD:
            approvals.open_hold(tx, session=session, commit="c" * 40, tree="d" * 40, reason="protected: check.py")
        if state in (TaskState.STALLED, TaskState.PARKED):
            approvals.open_stall(tx, session=session, commit="", tree="", reason="exit status 1")
        return tasks.explain(tx, task.id, "why it is there" if state is not TaskState.LANDING else "")

    return await there.store.write(work)


@pytest.mark.parametrize("state", sorted(lacking.LATE))
async def test_a_late_task_says_that_its_repository_is_missing_and_can_be_stopped(
    there: World, state: TaskState
) -> None:
    async def judging(candidate: Candidate) -> Verdict:
        there.named(candidate.task.repo)
        await asyncio.Event().wait()
        raise AssertionError

    there.judge.judging = judging
    there.services = replace(there.services, clock=SystemClock())
    task = await _late(there, state)
    there.config = _without_shop(there)
    supervisor = Supervisor(there.clock)
    for _ in range(2):  # a second start finds it as the first did
        running = supervisor.run("dispatch", Dispatcher(there.services, supervisor, "1").run)
        await _until_why(there, task, NO_SHOP)
        assert (await there.now(task)).state is state
        assert (await there.now(task)).why == f"{NO_SHOP}; {task.why}".removesuffix("; "), "and why it is there"
        assert not supervisor.failed.done()
        await running.end()
    dispatcher = Dispatcher(there.services, supervisor, "1")
    supervisor.run("dispatch", dispatcher.run)
    await there.store.write(lambda tx: tasks.request_stop(tx, task.id, PERSON))
    while (await there.now(task)).state is not TaskState.STOPPED:
        dispatcher.wake()
        await asyncio.sleep(0.01)
    await supervisor.close()


@pytest.mark.parametrize("state", [TaskState.STALLED, TaskState.ASKING, TaskState.JUDGING, TaskState.HELD])
async def test_once_its_repository_is_back_a_late_task_says_why_it_waits(there: World, state: TaskState) -> None:
    async def judging(candidate: Candidate) -> Verdict:
        there.named(candidate.task.repo)
        await asyncio.Event().wait()
        raise AssertionError

    there.judge.judging = judging
    there.services = replace(there.services, clock=SystemClock())
    task = await _late(there, state)
    whole, there.config = there.config, _without_shop(there)
    supervisor = Supervisor(there.clock)
    dispatcher = Dispatcher(there.services, supervisor, "1")
    supervisor.run("dispatch", dispatcher.run)
    await _until_why(there, task, NO_SHOP)
    there.config = whole
    while NO_SHOP in (await there.now(task)).why:
        dispatcher.wake()  # as after each edit of fleet.toml
        await asyncio.sleep(0.01)
    now = await there.now(task)
    assert (now.state, now.why) == (state, "why it is there")
    await supervisor.close()


async def test_a_released_change_waits_for_its_repository_and_lands(there: World) -> None:
    there.services = replace(there.services, clock=SystemClock())
    base = await there.repository.fetch()
    blob = git(there.repository.mirror, "hash-object", "-w", "--stdin", stdin=b"two\n")
    tree = git(there.repository.mirror, "mktree", stdin=f"100644 blob {blob}\ta.txt\n".encode())
    task, commit = await there.released(tree, base)
    whole, there.config = there.config, _without_shop(there)
    supervisor = Supervisor(there.clock)
    dispatcher = Dispatcher(there.services, supervisor, "1")
    supervisor.run("dispatch", dispatcher.run)
    while (await there.now(task)).state is not TaskState.LANDING:
        await asyncio.sleep(0.01)
    await _until_why(there, task, NO_SHOP)
    there.config = whole
    while (await there.now(task)).state is not TaskState.LANDED:
        dispatcher.wake()
        await asyncio.sleep(0.01)
    await supervisor.close()
    assert git(there.repository.path or "", "rev-parse", "main") == commit
