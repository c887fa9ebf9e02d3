"""A task that has begun waits while its repository cannot be used, says so, and goes on by itself."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from dataclasses import replace
from pathlib import Path

import pytest

from bot.telling.alarms import Alarms
from fleet.clock import SystemClock
from fleet.errors import RepositoryUnusable
from fleet.flight.flight import Flight
from fleet.flight.lacking import FOR_REPOSITORY
from fleet.git.repository import Repository
from fleet.model import ENDS, ChatRef, Task, TaskState
from fleet.ports import Candidate
from fleet.store import sessions, tasks
from fleet.store.core import Tx
from fleet.supervise import alongside
from fleet.verdict import Outcome, Verdict
from tests.chat_flight import Flight as PlayedFlight
from tests.chat_flight import everything
from tests.chat_house import house
from tests.far_end.repositories import advance, git, make_bare
from tests.flying import PERSON, World, give, passed, world
from tests.landing_queue import LandingHouse

AWAY = "refs/heads/elsewhere"


@pytest.fixture
async def there(tmp_path: Path) -> AsyncIterator[World]:
    made = world(tmp_path, str(make_bare(tmp_path / "shop.git", {"a.txt": "one\n"})))
    made.services = replace(made.services, clock=SystemClock())  # or what waits would look without end
    with made.store:
        yield made


async def _until_why(there: World, task: Task, words: str) -> None:
    while words not in (now := await there.now(task)).why:
        assert now.state not in ENDS, now.why
        await asyncio.sleep(0.02)


async def _until_state(there: World, task: Task, state: TaskState, flight: Flight) -> None:
    flight.wake()
    while (await there.now(task)).state is not state:
        await asyncio.sleep(0.02)


async def _released(there: World) -> tuple[Task, str]:
    base = await there.repository.fetch()
    blob = git(there.repository.mirror, "hash-object", "-w", "--stdin", stdin=b"two\n")
    tree = git(there.repository.mirror, "mktree", stdin=f"100644 blob {blob}\ta.txt\n".encode())
    return await there.released(tree, base)


@pytest.mark.parametrize("stopped", [False, True])
async def test_a_change_that_waits_to_land_waits_for_its_branch(there: World, stopped: bool) -> None:
    task, commit = await _released(there)
    bare = there.repository.path or ""
    git(bare, "branch", "-m", "main", "elsewhere")
    flight = Flight(there.services, task)
    async with alongside(flight.run(), "fly") as flying:
        await _until_why(there, task, "it has no branch main; it has elsewhere")
        now = await there.now(task)
        assert now.state is TaskState.LANDING and now.why.startswith(FOR_REPOSITORY)
        if stopped:
            await there.store.write(lambda tx: tasks.request_stop(tx, task.id, PERSON))
            flight.wake()
        else:
            git(bare, "branch", "-m", "elsewhere", "main")
            await _until_state(there, task, TaskState.LANDED, flight)
        await flying
    assert (await there.now(task)).state is (TaskState.STOPPED if stopped else TaskState.LANDED)
    if not stopped:
        assert git(bare, "rev-parse", "main") == commit


async def test_a_repository_that_does_not_answer_is_waited_for(there: World) -> None:
    task, _ = await _released(there)
    here = there.repository
    there.repository = Repository("shop", "ssh://nobody@127.0.0.1:1/shop.git", "main", here.mirror)
    flight = Flight(there.services, task)
    async with alongside(flight.run(), "fly") as flying:
        await _until_why(there, task, FOR_REPOSITORY)
        there.repository = here
        await _until_state(there, task, TaskState.LANDED, flight)
        await flying


async def test_another_repository_than_before_is_waited_out(there: World, tmp_path: Path) -> None:
    """Not ended as a conflict: the branch has nothing that the task began on."""
    task, _ = await _released(there)
    here = there.repository
    other = make_bare(tmp_path / "other.git", {"a.txt": "of somebody else\n"})
    there.repository = Repository("shop", str(other), "main", here.mirror)
    flight = Flight(there.services, task)
    async with alongside(flight.run(), "fly") as flying:
        await _until_why(there, task, "has no commit that the task began on")
        assert (await there.now(task)).state is TaskState.LANDING
        there.repository = here
        await _until_state(there, task, TaskState.LANDED, flight)
        await flying


async def test_a_task_that_has_not_begun_is_told_at_once(there: World) -> None:
    git(there.repository.path or "", "branch", "-m", "main", "elsewhere")
    task = await there.task()
    await there.fly(task)
    now = await there.now(task)
    assert now.state is TaskState.REFUSED and "it has no branch main" in now.why


async def test_one_whose_server_is_away_says_so_and_ends_after_a_few_tries(tmp_path: Path) -> None:
    """Each time it stands in line for its slot again, which is no success."""
    tries = 0

    def hang_up(_: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        nonlocal tries
        tries += 1
        writer.close()

    server = await asyncio.start_server(hang_up, "127.0.0.1")
    port = server.sockets[0].getsockname()[1]
    made = world(tmp_path, f"https://127.0.0.1:{port}/shop.git")
    async with server:
        with made.store:
            task, patient = await made.task(), made.services
            made.services = replace(patient, clock=SystemClock())
            async with alongside(made.fly(task), "fly"):
                await _until_why(made, task, "waiting to try again: could not read the base branch")
            made.services, tries = patient, 0
            await made.fly(task)
            now = await made.now(task)
    assert now.state is TaskState.UNAVAILABLE
    assert "could not read the base branch" in now.why
    assert tries <= 8, "four times, or a client that asks twice"


def _wrong(base: str) -> None:
    raise RepositoryUnusable(attempted="find the gates", on="airboss.toml of shop", cause="it defines no gate")


async def test_nothing_is_judged_by_wrong_definitions_and_the_words_go_with_them(there: World) -> None:
    judged, let_go = asyncio.Event(), asyncio.Event()

    async def judging(candidate: Candidate) -> Verdict:
        judged.set()
        await let_go.wait()
        return replace(passed(candidate), outcome=Outcome.UNAVAILABLE, reasons=("as the test wants",))

    there.judge.judging, there.judge.usable = judging, _wrong
    task = await there.task(TaskState.PREPARING, TaskState.RUNNING, TaskState.JUDGING)
    flight = Flight(there.services, task)
    async with alongside(flight.run(), "fly") as flying:
        await _until_why(there, task, f"{FOR_REPOSITORY}could not find the gates: it defines no gate")
        assert (await there.now(task)).state is TaskState.JUDGING and not judged.is_set()
        there.judge.usable = lambda base: None
        flight.wake()
        await judged.wait()
        assert (await there.now(task)).why == "", "its gates run: it waits for nothing"
        let_go.set()
        await flying
    assert (await there.now(task)).why == "as the test wants"


async def test_those_in_line_keep_their_places_while_the_base_is_wrong(tmp_path: Path) -> None:
    bare = make_bare(tmp_path / "shop.git", {"a.txt": "one\n"})
    made = world(tmp_path, str(bare))
    made.services = replace(made.services, clock=SystemClock())
    with made.store:
        queue = LandingHouse(made, bare)
        first, second = await queue.add("one"), await queue.add("two")
        advance(bare, {"airboss.toml": "wrong"})
        made.judge.usable = _wrong
        flights = queue.fly(first)
        await _until_why(made, first, FOR_REPOSITORY)
        flights += queue.fly(second)
        await queue.until(lambda line: [place.task for place in line if place.commit] == [first.id, second.id])
        assert queue.gates.asked == []
        made.judge.usable = lambda base: None
        await queue.gates.let_go(first.id, second.id)
        for flight in flights:
            flight.wake()
        await queue.over()
        assert queue.landed()[-2:] == ["one", "two"]
        assert not [body for kind, body in await made.told() if kind == "landing.left"]


async def test_one_behind_another_that_makes_the_definitions_wrong_waits_for_news_of_that(tmp_path: Path) -> None:
    """Nothing is wrong with the repository: no admin is told, and the next step waits for no minute."""
    bare = make_bare(tmp_path / "shop.git", {"a.txt": "one\n"})
    made = world(tmp_path, str(bare))
    made.services = replace(made.services, clock=SystemClock())
    with made.store:
        queue, met = LandingHouse(made, bare), asyncio.Event()
        first, second = await queue.add("one"), await queue.add("two")
        tip = advance(bare, {"theirs.txt": "theirs"})

        async def judging(candidate: Candidate) -> Verdict:
            if candidate.base != tip and not met.is_set():
                met.set()
                _wrong(candidate.base)
            return await queue.gates.judge(candidate)

        made.judge.judging = judging
        queue.fly(first)
        await queue.until(lambda line: len(queue.gates.asked) == 1)
        queue.fly(second)
        await met.wait()
        await queue.gates.let_go(first.id, second.id)
        async with asyncio.timeout(30):  # half of what a task waits for its repository
            await queue.over()
        assert queue.landed()[-2:] == ["one", "two"]


async def test_a_worktree_is_not_moved_onto_a_base_without_gates(tmp_path: Path) -> None:
    bare = make_bare(tmp_path / "shop.git", {"a.txt": "one\n"})
    made = world(tmp_path, str(bare))
    made.services = replace(made.services, clock=SystemClock())
    with made.store:
        queue = LandingHouse(made, bare)
        task = await queue.add("mine", "both")
        moved = advance(bare, {"both.txt": "theirs"})

        def usable(base: str) -> None:
            if base == moved:
                _wrong(base)

        def may_go_back(tx: Tx) -> None:
            (turn,) = sessions.turns(tx, session.id)
            judged = (turn.snapshot, turn.tree, queue.base, Outcome.PASSED)
            give(tx, session, Verdict(*judged, (), (), session.isolation, 3))

        made.judge.usable, session = usable, await made.session(task)
        await made.store.write(may_go_back)
        queue.fly(task)
        await _until_why(made, task, FOR_REPOSITORY)
        assert (await made.now(task)).state is TaskState.LANDING
        assert "session.moves" not in await made.kinds()
        await queue.flying.end()


async def test_the_admins_are_told_once_it_lasts(tmp_path: Path) -> None:
    async with house(tmp_path) as there:
        await PlayedFlight.begin(there)
        alarms = Alarms(there.outbox, lambda: there.config, list, ("phone",))

        def waits(tx: Tx) -> None:
            tasks.explain(tx, "t1", f"{FOR_REPOSITORY}it has no branch main")

        async def told() -> list[str]:
            before = len(there.phone.sent)
            await alarms.look()
            await there.deliverer.drained(ChatRef("phone", "ada"))
            cards = [everything(sent.card) for sent in there.phone.sent[before:]]
            return [words for words in cards if "wait until" in words]

        await there.store.write(waits)
        assert await told() == [], "perhaps an edit of a moment"
        await there.store.write(lambda tx: tx.connection.exec_driver_sql("UPDATE tasks SET updated_us = 1"))
        (card,) = await told()
        assert "Tasks in" in card and "it has no branch main" in card
        await there.store.write(lambda tx: tasks.explain(tx, "t1", ""))
        (over,) = await told()
        assert "Over since" in over


@pytest.mark.parametrize("stopped", [False, True])
async def test_a_lock_that_a_dead_git_left_is_named_and_waited_out(there: World, stopped: bool) -> None:
    """And a person can stop the task: nothing of it is on its way."""
    task, commit = await _released(there)
    bare = Path(there.repository.path or "")
    lock = bare / "refs/heads/main.lock"
    lock.touch()
    flight = Flight(there.services, task)
    async with alongside(flight.run(), "fly") as flying:
        await _until_why(there, task, f"{lock} is there: a git works in the repository, or died there")
        assert (await there.now(task)).why.startswith(FOR_REPOSITORY)
        if stopped:
            await there.store.write(lambda tx: tasks.request_stop(tx, task.id, PERSON))
            await _until_state(there, task, TaskState.STOPPED, flight)
        else:
            lock.unlink()
            await _until_state(there, task, TaskState.LANDED, flight)
        await flying
    assert (git(bare, "rev-parse", "main") == commit) is not stopped
