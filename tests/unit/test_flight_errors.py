"""Whose error it is decides what follows: the task waits, ends, or says what is missing; the others go on."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncIterator, Sequence
from dataclasses import replace
from pathlib import Path

import pytest

from fleet.config import parse_fleet
from fleet.errors import LeaseLost, MachineFaulty, MachineFull, StoreUnavailable, Unreachable
from fleet.faults import Fault, Point, injected
from fleet.flight.dispatcher import Dispatcher
from fleet.flight.flight import Flight
from fleet.flight.pipe_reader import LinkDown, PipeReader, Woken
from fleet.git.repository import Repository
from fleet.landing.attempt import LandingAttempt
from fleet.landing.outcome import ChangeToLand
from fleet.landing.queue import LandingQueue
from fleet.model import PipeEnd, Task, TaskMode, TaskState
from fleet.ports import Candidate, Executor, PipeEvent
from fleet.store import approvals, leases, sessions, stalls, tasks
from fleet.store.approvals import ApprovalDecision
from fleet.store.core import Precondition, Tx
from fleet.supervise import Supervisor, alongside, own
from fleet.verdict import Verdict
from gates.locks.guard import LockGuard
from gates.locks.service import LockService
from tests.far_end.machine import Machine
from tests.far_end.repositories import git, make_bare
from tests.flying import FLEET, PERSON, World, passed, world


@pytest.fixture
async def there(tmp_path: Path) -> AsyncIterator[World]:
    made = world(tmp_path, str(make_bare(tmp_path / "shop.git", {"a.txt": "one\n"})))
    with made.store:
        yield made


async def _until_why(there: World, task: Task, words: str) -> None:
    while words not in (await there.now(task)).why:
        await asyncio.sleep(0.01)


@pytest.mark.parametrize(
    ("gone", "said"),
    [("machines.box", "no longer names machine box"), ("agents.helper", "no longer names agent helper")],
)
async def test_a_task_waits_for_what_fleet_toml_no_longer_names(there: World, gone: str, said: str) -> None:
    task = await there.running()
    whole = there.config
    text = FLEET.format(url="/nowhere").replace(gone, f"{gone}-2").replace('agent = "helper"', 'agent = "helper-2"')
    there.config = parse_fleet(
        text if gone.startswith("agents") else text.replace("helper-2", "helper"), "fleet.toml"
    )
    supervisor = Supervisor(there.clock)
    for _ in range(2):  # the second start finds it as the first did
        dispatcher = Dispatcher(there.services, supervisor, "1")
        running = supervisor.run("dispatch", dispatcher.run)
        await _until_why(there, task, said)
        assert (await there.now(task)).state is TaskState.RUNNING
        assert not supervisor.failed.done()
        await running.end()
    dispatcher = Dispatcher(there.services, supervisor, "1")
    supervisor.run("dispatch", dispatcher.run)
    await _until_why(there, task, said)
    there.config = whole
    while (await there.now(task)).state is not TaskState.ANSWERED:
        dispatcher.wake()
        await _answer(there, task)
    await supervisor.close()


async def test_a_machine_that_leaves_fleet_toml_while_the_base_is_fetched_costs_no_task(there: World) -> None:
    def edited(_: str) -> Repository:
        there.config = parse_fleet(
            FLEET.format(url=there.repository.url).replace("machines.box", "machines.other"), "fleet.toml"
        )
        return there.repository

    there.services = replace(there.services, repositories=edited)
    task = await there.task(mode=TaskMode.ASK)
    supervisor = Supervisor(there.clock)
    supervisor.run("dispatch", Dispatcher(there.services, supervisor, "1").run)
    while (await there.now(task)).state is TaskState.QUEUED:
        await asyncio.sleep(0.01)
    await supervisor.close()
    assert (await there.session(task)).machine == "other"


async def _answer(there: World, task: Task) -> None:
    def yes(tx: Tx) -> None:
        for approval in approvals.waiting(tx, task.id):
            approvals.decide(tx, approval.id, True, PERSON, "")

    await there.store.write(yes)
    await asyncio.sleep(0.01)


async def test_a_task_whose_machine_is_gone_can_be_stopped(there: World) -> None:
    task = await there.running()
    there.config = parse_fleet(FLEET.format(url="/nowhere").replace("machines.box", "machines.other"), "fleet.toml")
    flight = Flight(there.services, task)
    async with alongside(flight.run(), "fly") as flying:
        await _until_why(there, task, "no longer names")
        await there.store.write(lambda tx: tasks.request_stop(tx, task.id, PERSON))
        flight.wake()
        await flying
    assert (await there.now(task)).state is TaskState.STOPPED
    (ended,) = [body for kind, body in await there.told() if kind == "session.ended"]
    assert "left behind on box" in ended["why"], "and it is not asked for at each start again"
    assert not await there.store.read(tasks.unfinished)


async def test_a_bug_ends_its_task_and_nothing_else(there: World, caplog: pytest.LogCaptureFixture) -> None:
    async def judging(candidate: Candidate) -> Verdict:
        raise ZeroDivisionError("a secret of the traceback")

    there.judge.judging = judging
    task = await there.task(TaskState.PREPARING, TaskState.RUNNING, TaskState.JUDGING)
    await there.fly(task)
    now = await there.now(task)
    assert (now.state, now.why) == (TaskState.LOST, "internal error: airboss.log has the details")
    assert any(record.exc_info for record in caplog.records if record.levelno == logging.ERROR)


async def test_a_faulty_machine_is_waited_for_with_its_reason(there: World) -> None:
    task = await there.running()
    flight = Flight(there.services, task)
    there.machine.trouble = MachineFaulty(attempted="look at the machine", on="box", cause="no JSON")
    async with alongside(flight.run(), "fly"):
        await _until_why(there, task, "box gives faulty answers: no JSON")
        assert (await there.now(task)).state is TaskState.RUNNING
    assert ("link.changed", {"up": False, "why": "faulty answer: no JSON"}) in await there.told()


async def test_a_full_disk_of_its_machine_is_waited_for(there: World) -> None:
    task = await there.task(TaskState.PREPARING)
    full = MachineFull(attempted="prepare a workspace", on="w on box", cause="its disk is full", hint="Free some.")
    there.machine.trouble = full
    async with alongside(Flight(there.services, task).run(), "fly"):
        await _until_why(there, task, "waiting: could not prepare a workspace: its disk is full. Free some.")
        tries = len(there.clock.slept)
        while len(there.clock.slept) < tries + 10:
            await asyncio.sleep(0.01)
        assert (await there.now(task)).state is TaskState.PREPARING


@pytest.mark.parametrize("restarted", [False, True])
async def test_a_running_task_says_no_more_that_it_waits_once_its_machine_is_back(
    there: World, restarted: bool
) -> None:
    task = await there.running()
    there.machine.trouble = Unreachable(attempted="reach the machine", on="box", cause="no route to host")
    flight = Flight(there.services, task)
    async with alongside(flight.run(), "fly"):
        await _until_why(there, task, "waiting for the link: no route to host")
        if not restarted:
            await _until_back(there, task)
    if restarted:
        async with alongside(Flight(there.services, task).run(), "fly"):
            await _until_back(there, task)
    else:
        ups = [body["up"] for kind, body in await there.told() if kind == "link.changed"]
        assert ups == [False, True], "while its turn goes on, not at its end"


async def _until_back(there: World, task: Task) -> None:
    there.machine.trouble = None
    while (now := await there.now(task)).why:
        await asyncio.sleep(0.01)
    assert now.state is TaskState.RUNNING


async def test_a_failed_commit_leaves_the_flight_where_the_store_is(there: World) -> None:
    task = await there.running()
    flight = Flight(there.services, task)
    with injected(Fault(Point.STORE_COMMIT)), pytest.raises(StoreUnavailable):
        await flight.run()
    assert flight.task == await there.now(task)


# --- stops ------------------------------------------------------------------------------------------


async def test_what_could_not_be_ended_is_told_by_name(there: World) -> None:
    there.machine.left = ("could not end sh (process 7 of root)",)
    task = await there.running()
    await there.store.write(lambda tx: tasks.request_stop(tx, task.id, PERSON))
    await there.fly(task)
    (ended,) = [body for kind, body in await there.told() if kind == "session.ended"]
    assert ended["left"][0] == there.machine.left[0], ended
    assert not any("unconfirmed" in line for line in ended["left"])


async def test_the_work_of_a_stopped_task_waits_for_the_disk_that_it_is_saved_on(there: World) -> None:
    """What a machine does not give stays there; a full disk here is waited for, and the task keeps its reason."""
    task = await there.running(TaskMode.CHANGE, base=await there.repository.fetch())
    await there.store.write(lambda tx: tasks.request_stop(tx, task.id, PERSON))
    with injected(Fault(Point.FILE_WRITE, times=5)) as full:
        await there.fly(task)
    assert full.raised == 5 < full.visits
    assert there.clock.slept.count(30.0) == 5, "between two tries it waits"
    now = await there.now(task)
    assert (now.state, now.why) == (TaskState.STOPPED, f"stopped by {PERSON}")
    assert [body["why"] for kind, body in await there.told() if kind == "session.ended"] == [""]


async def test_a_stop_of_an_agent_that_is_not_followed_closes_its_turn(there: World) -> None:
    task = await there.running()
    await there.store.write(lambda tx: tasks.request_stop(tx, task.id, PERSON))
    await there.fly(task)
    assert (await there.now(task)).state is TaskState.STOPPED
    session = await there.session(task)
    (turn,) = await there.store.read(lambda tx: sessions.turns(tx, session.id))
    assert turn.ended_us
    assert (await there.kinds()).count("turn.closed") == 1


async def test_a_stop_is_heard_in_the_line_of_those_that_want_to_land(there: World) -> None:
    base = await there.repository.fetch()
    states = (TaskState.PREPARING, TaskState.RUNNING, TaskState.JUDGING, TaskState.LANDING)
    task = await there.task(*states, base=base)
    flight = Flight(there.services, task)
    with there.services.landing_queue.place("shop") as first_in_line:
        assert first_in_line.is_set()
        async with alongside(flight.run(), "fly") as flying:
            while len(there.services.landing_queue.line("shop")) < 2:
                await asyncio.sleep(0)
            await there.store.write(lambda tx: tasks.request_stop(tx, task.id, PERSON))
            flight.wake()
            await flying
        assert len(there.services.landing_queue.line("shop")) == 1
    assert (await there.now(task)).state is TaskState.STOPPED


def test_who_comes_first_lands_first_and_may_leave_the_line() -> None:
    queue = LandingQueue()
    first, second, third = queue.place("shop"), queue.place("shop"), queue.place("shop")
    turns = [first.__enter__(), second.__enter__(), third.__enter__()]
    with queue.place("other") as elsewhere:
        assert elsewhere.is_set(), "another repository has a line of its own"
    assert [turn.is_set() for turn in turns] == [True, False, False]
    second.__exit__(None, None, None)
    assert not turns[2].is_set()
    first.__exit__(None, None, None)
    assert turns[2].is_set()
    third.__exit__(None, None, None)
    assert queue.line("shop") == ()


async def test_a_landing_whose_lease_passed_on_ends_and_says_so(there: World) -> None:
    base = await there.repository.fetch()
    tree = git(there.repository.mirror, "rev-parse", f"{base}^{{tree}}")
    change = await there.repository.commit_tree(tree, (base,), "ours", 1_700_000_100)
    theirs = await there.repository.commit_tree(tree, (base,), "theirs", 1_700_000_200)
    git(there.repository.path or "", "fetch", "--quiet", str(there.repository.mirror), theirs)
    git(there.repository.path or "", "update-ref", "refs/heads/main", theirs)
    task = await there.task(TaskState.PREPARING, TaskState.RUNNING, TaskState.JUDGING, base=base)
    session = await there.session(task)
    turn = await there.store.write(
        lambda tx: sessions.update_turn(tx, f"{session.id}.1", snapshot=change, tree=tree, ended_us=1)
    )

    class Overtaken(LockGuard):
        """Another holder takes the lease while this landing looks at its locks."""

        async def landing(self, task: Task, base: str, commit: str) -> Sequence[Precondition]:
            await there.store.write(lambda tx: leases.seize(tx, "landing:shop", "another", 60_000_000))
            await asyncio.Event().wait()
            raise AssertionError

    async def judge(candidate: Candidate) -> Verdict:
        return passed(candidate)

    locks = LockService(there.store, there.clock)
    there.services = replace(there.services, locks=Overtaken(there.store, locks, lambda _: there.repository))
    attempt = LandingAttempt(there.services.landing_context("shop"), ChangeToLand(task, session, turn), judge)
    with pytest.raises(LeaseLost):
        await attempt.land(lambda work, _: work)


# --- the reader of a pipe -----------------------------------------------------------------------------


class _Silent(Machine):
    """A machine whose pipe never says anything, or breaks."""

    def __init__(self, error: Exception | None = None) -> None:
        super().__init__()
        self.error = error

    async def attach(self, pipe: str, nonce: str, offset: int) -> AsyncIterator[PipeEvent]:
        if self.error is not None:
            raise self.error
        await asyncio.Event().wait()
        yield  # type: ignore[misc]  # never reached


def _reader(executor: Executor, there: World) -> PipeReader:
    return PipeReader(executor, "p", "n", 0, there.clock)


async def test_a_cancel_that_meets_news_is_not_swallowed(there: World) -> None:
    reader = _reader(_Silent(), there)
    heard: list[object] = []

    async def follow() -> None:
        while True:
            heard.append(await reader.next(60))

    following = own(follow(), "follow")
    await asyncio.sleep(0.05)
    reader.wake()
    await asyncio.sleep(0)  # the news is on its way in this moment
    following.cancel()
    done, _ = await asyncio.wait({following}, timeout=60)
    assert done, f"went on with {heard}"
    await reader.close()


async def test_the_death_of_a_reader_reaches_who_follows(there: World) -> None:
    reader = _reader(_Silent(ValueError("not what was expected")), there)
    for _ in range(2):
        with pytest.raises(ValueError, match="not what was expected"):
            await reader.next()
    await reader.close()


async def test_a_faulty_machine_is_a_broken_link_to_its_reader(there: World) -> None:
    reader = _reader(_Silent(MachineFaulty(attempted="follow", cause="no JSON")), there)
    assert await reader.next() == LinkDown("faulty answer: no JSON")
    assert await reader.next(0.05) == Woken(), "told once, and tried again"
    await reader.close()


async def test_a_stalled_task_gives_its_slot_back_and_takes_one_again_to_go_on(there: World) -> None:
    there.config = parse_fleet(FLEET.format(url="/nowhere").replace('"local"', '"local"\nslots = 1'), "fleet.toml")
    stalled = await there.task(TaskState.PREPARING, TaskState.RUNNING, TaskState.STALLED)
    session = await there.session(stalled)
    assert await there.store.read(sessions.busy) == {}
    other = await there.task(TaskState.PREPARING, TaskState.RUNNING)
    assert await there.store.read(sessions.busy) == {"box": 1}

    def judge_it(tx: Tx) -> None:
        sessions.update(tx, session.id, pipe_end=PipeEnd.GONE)
        asked = approvals.open_stall(tx, session=session, commit="c" * 40, tree="d" * 40, reason="x")
        stalls.decide(tx, asked, ApprovalDecision.JUDGE, PERSON)

    await there.store.write(judge_it)
    supervisor = Supervisor(there.clock)
    flight = Flight(there.services, stalled)
    supervisor.run("flight", flight.run, ends=True)
    await _until_why(there, stalled, "waiting for a slot: box: 1 of 1 slots busy")
    assert (await there.now(stalled)).state is TaskState.STALLED

    other_session = await there.session(other)
    await there.store.write(lambda tx: sessions.update(tx, other_session.id, ended_us=1))
    while (await there.now(stalled)).state is TaskState.STALLED:
        flight.wake()
        await asyncio.sleep(0.01)
    await supervisor.close()
    assert "stall.decided" in await there.kinds()
