"""A person's stop at any moment leaves nothing open: turn, session, process, question, slot, lock, place."""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import AsyncIterator, Awaitable, Callable
from pathlib import Path

import pytest
from sqlalchemy import select

from fleet.agent_events import TurnOutcome
from fleet.config import parse_fleet
from fleet.events import PermissionAsked, Recorded, SessionEnded, TaskMoved, TurnClosed
from fleet.faults import Fault, Point, injected
from fleet.flight.flight import Flight
from fleet.flight.follower import Follower
from fleet.model import ENDS, Task, TaskMode, TaskState
from fleet.ports import Output, PipeEvent, PipeSpec
from fleet.store import landing_line, ledger, locks, queue, sessions, tables, tasks
from fleet.store.core import Tx
from fleet.supervise import alongside
from tests.far_end.machine import Machine
from tests.far_end.repositories import git, make_bare
from tests.flying import FLEET, PERSON, World, world
from tests.unit import agent_lines as lines

UNSEEN = "its session was closed before its end was seen"
Begin = Callable[[World], Awaitable[Task]]


@pytest.fixture
async def there(tmp_path: Path) -> AsyncIterator[World]:
    made = world(tmp_path)
    with made.store:
        yield made


async def _settled(there: World, task: Task) -> None:
    """Nothing of an ended task is open, and each turn and session ended once."""

    def look(tx: Tx) -> None:
        assert tasks.task(tx, task.id).state in ENDS
        of_turns, kinds = Counter[tuple[str, str]](), Counter[str]()
        for recorded in ledger.read(tx, limit=1_000):
            kinds[recorded.event.KIND] += 1
            if recorded.event.KIND in ("turn.started", "turn.closed"):
                of_turns[recorded.event.KIND, recorded.refs.turn] += 1
        for session in sessions.of_task(tx, task.id):
            assert session.ended_us
            for turn in sessions.turns(tx, session.id):
                if not turn.snapshot:  # of one that was made by hand there is no event
                    ends = of_turns["turn.started", turn.id], of_turns["turn.closed", turn.id]
                    assert ends == (1, 1), (turn.id, ends)
                    assert turn.ended_us and turn.outcome is not None and turn.error != UNSEEN
        assert kinds["pipe.started"] == kinds["pipe.ended"] and kinds["session.ended"] == 1
        asked = tx.connection.execute(select(tables.approvals.c.id, tables.approvals.c.decision)).all()
        assert [row.id for row in asked if not row.decision] == []
        assert not sessions.slots_held(tx) and not queue.reserved(tx) and not locks.open_holds(tx)
        assert not landing_line.line(tx, "shop") and not tasks.unfinished(tx)

    await there.store.read(look)


async def _another_turn(there: World) -> Task:
    """An agent asks before it acts, is told yes and answers. Then a person says something else, and the living
    process has another turn."""

    def said(tx: Tx, recorded: Recorded) -> None:
        if isinstance(recorded.event, TurnClosed) and recorded.refs.turn.endswith(".1"):
            sessions.add_note(tx, recorded.refs.session, "and then?", PERSON)

    there.store.observe(said)
    return await there.running(TaskMode.ASK)


async def _late_answer(there: World) -> Task:
    """A question gives its slot back, is answered later, and is asked again in a new process."""
    there.late = True
    limits = there.config.limits.model_copy(update={"question_seconds": 0})
    there.config = there.config.model_copy(update={"limits": limits})
    return await there.running(TaskMode.ASK)


async def _landing(there: World) -> Task:
    """A held change that a person approved, and that lands."""
    base = await there.repository.fetch()
    tree = git(there.repository.mirror, "rev-parse", f"{base}^{{tree}}")
    return (await there.released(tree, base))[0]


async def _flown(directory: Path, begin: Begin, stop_in: int) -> range:
    """Flies a task that is stopped in the very commit of the ledger's event ``stop_in``; its flight's events."""
    url = str(make_bare(directory / "shop.git", {"a.txt": "one\n"})) if begin is _landing else "/nowhere"
    there = world(directory, url)
    with there.store:
        task = await begin(there)
        there.stop_in = stop_in
        first = len(await there.told()) + 1
        await there.fly(task)
        await _settled(there, task)
        assert there.judge.closed == [task.id], "its gates too"
        if stop_in:
            assert (await there.now(task)).state in (TaskState.STOPPED, TaskState.ANSWERED, TaskState.LANDED)
        return range(first, len(await there.told()) + 1)


@pytest.mark.parametrize("begin", [_another_turn, _late_answer, _landing])
async def test_a_stop_in_the_commit_of_any_event_leaves_nothing_open(tmp_path: Path, begin: Begin) -> None:
    for seq in await _flown(tmp_path / "0", begin, 0):
        await _flown(tmp_path / str(seq), begin, seq)


async def test_a_stop_while_the_process_is_started_closes_its_turn(there: World) -> None:
    """The stop is seen when the follower stands and nobody waits for its turn yet."""
    task = await there.running()
    flight = Flight(there.services, task)

    class Slow(Machine):
        """Its process has started only once the flight has heard of the stop and looks for it in the store."""

        async def start(self, spec: PipeSpec) -> None:
            await super().start(spec)
            await there.store.write(lambda tx: tasks.request_stop(tx, task.id, PERSON))
            looked = reads.visits
            flight.wake()
            while reads.visits == looked:
                await asyncio.sleep(0)

    there.machine = Slow()
    with injected(Fault(Point.STORE_READ, first=1_000_000)) as reads:
        async with asyncio.timeout(60):
            await flight.run()
    assert (await there.now(task)).state is TaskState.STOPPED
    await _settled(there, task)


async def test_what_was_made_for_a_session_that_never_began_is_removed(there: World) -> None:
    """Its worktree may be there, whole or half, and nobody's work is in it."""
    task = await there.task(TaskState.PREPARING)
    await there.store.write(lambda tx: tasks.request_stop(tx, task.id, PERSON))
    await there.fly(task)
    name = (await there.session(task)).outside(there.store.instance)
    assert {f"/x/work/{name}", f"sessions/{name}"} <= set(there.machine.removed)


async def test_a_session_whose_machine_is_gone_ends_with_its_turn(there: World) -> None:
    task = await there.running()
    there.config = parse_fleet(FLEET.format(url="/nowhere").replace("machines.box", "machines.other"), "fleet.toml")
    await there.store.write(lambda tx: tasks.request_stop(tx, task.id, PERSON))
    await there.fly(task)
    session = await there.session(task)
    (turn,) = await there.store.read(lambda tx: sessions.turns(tx, session.id))
    assert (turn.outcome, turn.error) == (TurnOutcome.FAILED, UNSEEN)
    kinds = await there.kinds()
    assert kinds.count("turn.closed") == 1 and kinds.index("turn.closed") < kinds.index("session.ended")


async def test_what_is_asked_after_the_task_ended_is_withdrawn_with_its_session(there: World) -> None:
    """An earlier controller had started the process; its question is read late, and its end is never seen."""

    class Breaking(Machine):
        async def start(self, spec: PipeSpec) -> None:
            await super().start(spec)
            self.say(lines.CONFIRMED, lines.INIT, lines.can_use("r1", "c1", "Bash", command="ls"))

        async def attach(self, pipe: str, nonce: str, offset: int) -> AsyncIterator[PipeEvent]:
            async for event in super().attach(pipe, nonce, offset):
                yield event
                if isinstance(event, Output) and b"can_use_tool" in event.data:
                    raise ValueError("not what was expected")

        async def send(self, pipe: str, position: int, data: bytes, *, eof: bool = False) -> int:
            return await super().send(pipe, position, data)

    there.machine, there.late = Breaking(), True
    task = await there.running()
    await there.store.write(lambda tx: tasks.request_stop(tx, task.id, PERSON))
    await there.fly(task)
    kinds = await there.kinds()
    assert kinds.index(TaskMoved.KIND) < kinds.index(PermissionAsked.KIND) < kinds.index(SessionEnded.KIND)
    asked = await there.store.read(lambda tx: tx.connection.execute(select(tables.approvals)).all())
    assert [row.decision for row in asked] == ["withdrawn"]


async def test_what_is_read_of_a_turn_that_was_closed_unseen_ends_it_no_second_time(there: World) -> None:
    task = await there.running()
    session = await there.session(task)
    there.machine.say(lines.CONFIRMED, lines.INIT, lines.heard("see to it"), lines.result("all done"))
    there.machine.end()
    follower = Follower(there.services, there.machine, task, session, None)
    async with alongside(follower.catch_up(), "catch up") as reading:
        await reading
    await follower.close()
    kinds = await there.kinds()
    assert "pipe.ended" in kinds and "turn.closed" not in kinds
