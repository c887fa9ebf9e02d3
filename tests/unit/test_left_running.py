"""What a stopped task left running on a machine that was away is recorded, ended once that is back, and told."""

from __future__ import annotations

import asyncio
import math
from collections.abc import AsyncIterator, Awaitable, Callable
from pathlib import Path

import pytest

from fleet.clock import SystemClock
from fleet.errors import Refused, Unreachable
from fleet.flight.flight import Flight
from fleet.flight.keeping import Keeper
from fleet.machines.watch import MachineSeen, MachineState
from fleet.model import PipeEnd, TaskMode, TaskState
from fleet.store import left_running, refusals, sessions, tasks, trees
from fleet.store.approvals import ApprovalDecision
from fleet.store.core import Tx
from fleet.supervise import alongside
from tests.far_end.machine import Machine
from tests.far_end.repositories import make_bare
from tests.flying import PERSON, World, world
from tests.scenarios.fault_house import PacedLoop


@pytest.fixture
async def there(tmp_path: Path) -> AsyncIterator[World]:
    made = world(tmp_path, str(make_bare(tmp_path / "shop.git", {"a.txt": "one\n"})))
    with made.store:
        yield made


@pytest.mark.parametrize(
    ("mode", "soon", "lingers"),
    [
        (TaskMode.CHANGE, True, 1.0),
        (TaskMode.CHANGE, True, math.inf),
        (TaskMode.CHANGE, False, math.inf),
        (TaskMode.ASK, False, math.inf),
    ],
)
def test_a_stopped_agent_is_ended_once_its_machine_is_back(
    tmp_path: Path, mode: TaskMode, soon: bool, lingers: float
) -> None:
    """While its session is closed, or later, when nobody follows it. One that ends by itself is not killed."""

    async def stopped() -> PipeEnd:
        there = world(tmp_path)
        with there.store:
            there.machine.lingers = lingers
            task = await there.running(mode)
            flight = Flight(there.services, task)
            async with alongside(flight.run(), "fly") as flying:
                while "permission.asked" not in await there.kinds():
                    await asyncio.sleep(0.1)
                there.machine.trouble = Unreachable(attempted="reach it", cause="the link is down")
                await there.store.write(lambda tx: tasks.request_stop(tx, task.id, PERSON))
                flight.wake()
                if soon:
                    await asyncio.sleep(90)  # longer than it takes until the task has ended
                    there.machine.trouble = None
                await flying
            keeper = Keeper(there.services, SystemClock())
            await keeper.end_left()  # tried, where it is away
            there.machine.trouble = None
            if not soon:
                assert not there.machine.over
                (ended,) = [body for kind, body in await there.told() if kind == "session.ended"]
                assert ended["left"] == ("its agent may still run on box: ended once box answers",)
            for _ in range(2):
                await keeper.end_left()
            late = [body["what"] for kind, body in await there.told() if kind == "pipe.stopped"]
            assert late == ([] if soon else ["agent"]), "told once, if anything was left"
            assert there.machine.over and there.machine.killed is (lingers == math.inf)
            return (await there.session(task)).pipe_end

    with asyncio.Runner(loop_factory=lambda: PacedLoop(100)) as runner:
        assert runner.run(stopped()) is (PipeEnd.GONE if soon else PipeEnd.NONE)


async def test_what_runs_on_is_not_ended_once_its_task_goes_on_or_its_machine_is_known_to_be_away(
    there: World,
) -> None:
    task = await there.running(TaskMode.CHANGE)
    session, keeper = await there.session(task), Keeper(there.services, SystemClock())

    def closed(tx: Tx) -> None:
        left_running.note(tx, session.id)
        sessions.update(tx, session.id, ended_us=tx.now_us())

    await there.store.write(closed)
    there.services.machines_seen["box"] = MachineSeen(MachineState.AWAY)
    await keeper.end_left()
    assert not there.machine.over
    await there.store.write(lambda tx: sessions.reopen(tx, session.id))
    there.services.machines_seen["box"] = MachineSeen(MachineState.WELL)
    await keeper.end_left()
    assert not there.machine.over
    assert await there.store.read(left_running.every) == []


class Slow(Machine):
    """What happens while it ends a process: ``meanwhile``."""

    meanwhile: Callable[[], Awaitable[None]]

    async def stop(self, pipe: str, grace: float = 5.0) -> None:
        await self.meanwhile()
        await super().stop(pipe, grace)


async def test_nobody_takes_up_an_agent_that_is_being_ended(there: World) -> None:
    """A person continues the task in the moment in which the keeper ends its old process, or just before."""
    task = await there.running(TaskMode.CHANGE)
    session, keeper = await there.session(task), Keeper(there.services, SystemClock())
    there.machine = machine = Slow()
    tried: list[str] = []

    def goes_on(tx: Tx) -> None:
        trees.go_on(tx, tasks.task(tx, task.id), ApprovalDecision.GO_ON, PERSON)

    def closed(tx: Tx) -> None:
        left_running.note(tx, session.id)
        sessions.update(tx, session.id, ended_us=tx.now_us())
        tasks.move(tx, task.id, TaskState.STOPPED, "", PERSON)

    def may_be_told(tx: Tx) -> bool:
        return refusals.closed(tx, tasks.task(tx, task.id))

    async def meanwhile() -> None:
        assert not await there.store.read(may_be_told), "a message would begin its agent anew"
        with pytest.raises(Refused, match="its session is still ending") as refused:
            await there.store.write(goes_on)
        tried.append(refused.value.hint)
        if len(tried) == 1:
            raise Unreachable(attempted="reach it", cause="the link is down")

    machine.meanwhile = meanwhile
    await there.store.write(closed)
    (left,) = [found for found, _ in await there.store.read(left_running.every)]
    await keeper.end_left()
    assert tried == ["Try again in a moment."]
    assert not await there.store.read(lambda tx: left_running.being_ended(tx, session.id)), "it could not be ended"
    assert await there.store.read(may_be_told)

    assert await there.store.write(lambda tx: left_running.begin(tx, left)), "and whoever began dies"
    there.services.machines_seen["box"] = MachineSeen(MachineState.AWAY)
    await keeper.end_left()
    assert not await there.store.read(lambda tx: left_running.being_ended(tx, session.id))
    there.services.machines_seen["box"] = MachineSeen(MachineState.WELL)

    await there.store.write(goes_on)
    assert not await there.store.write(lambda tx: left_running.begin(tx, left)), "its agent goes on in it"
    await there.store.write(lambda tx: sessions.update(tx, session.id, ended_us=tx.now_us()))
    await keeper.end_left()
    assert len(tried) == 2 and machine.over
    assert await there.store.read(left_running.every) == []
