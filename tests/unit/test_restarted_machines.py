"""A machine that restarts takes its processes along: the task is kept and can go on. Where only the supervisor was
killed, nobody knows what happened, and the task is lost."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from fleet.clock import SystemClock
from fleet.errors import Unreachable
from fleet.exits import Exited
from fleet.flight.flight import Flight
from fleet.flight.pipe_reader import PipeReader
from fleet.model import ENDS, PipeEnd, TaskMode, TaskState
from fleet.ports import Ended, LoginFacts
from fleet.store import approvals, sessions, stalls
from fleet.store.approvals import ApprovalDecision
from fleet.store.core import Tx
from fleet.supervise import Supervisor
from tests.far_end.machine import Machine
from tests.flying import PERSON, World, world


@pytest.fixture
async def there(tmp_path: Path) -> AsyncIterator[World]:
    made = world(tmp_path)
    with made.store:
        yield made


class Flaky(Machine):
    """Its link breaks once more, just when it is asked which boot it has."""

    broken = False

    async def facts(self) -> LoginFacts:
        if self.boot != "b1" and not self.broken:
            self.broken = True
            raise Unreachable(attempted="look at the machine", cause="no route to host")
        return await super().facts()


@pytest.mark.parametrize(
    ("before", "boot", "state"),
    [("b1", "b2", TaskState.STALLED), ("b1", "b1", TaskState.LOST), ("", "b2", TaskState.LOST)],
    ids=["restarted", "supervisor killed", "its boot was not known"],
)
async def test_a_task_goes_on_after_its_machine_restarted_and_only_then(
    there: World, before: str, boot: str, state: TaskState
) -> None:
    there.machine = Flaky()
    there.machine.boot = before
    task = await there.running(TaskMode.ASK)
    flight, supervisor = Flight(there.services, task), Supervisor(there.clock)
    supervisor.run("flight", flight.run, ends=True)

    async def until(wanted: TaskState) -> None:
        while (await there.now(task)).state is not wanted:
            await asyncio.sleep(0.01)
            flight.wake()

    async with asyncio.timeout(60):
        while not await there.store.read(approvals.waiting):
            await asyncio.sleep(0.01)
        there.machine.vanish(boot)
        await until(state)
        session = await there.session(task)
        ended = [body for kind, body in await there.told() if kind == "pipe.ended"]
        if state is TaskState.LOST:
            assert (session.pipe_end, ended[0]["exit"]["how"]) == (PipeEnd.LOST, "lost")
        else:
            assert ended[0]["exit"] == {"how": "lost", "why": "its machine restarted"}
            assert "its machine restarted" in (await there.now(task)).why

            def go(tx: Tx) -> None:
                waiting = stalls.waiting(tx, task.id)
                assert waiting is not None
                stalls.decide(tx, waiting, ApprovalDecision.GO_ON, PERSON)

            await there.store.write(go)

            def yes(tx: Tx) -> None:
                for asked in approvals.waiting(tx):
                    approvals.decide(tx, asked.id, True, PERSON, "")

            while (await there.now(task)).state not in ENDS:
                flight.wake()
                await asyncio.sleep(0.01)
                await there.store.write(yes)
            assert (await there.now(task)).state is TaskState.ANSWERED
            assert len(there.machine.started) == 2
            turns = await there.store.read(lambda tx: sessions.turns(tx, session.id))
            assert [turn.outcome for turn in turns] == ["failed", "completed"]
    await supervisor.close()


async def test_a_process_that_ended_before_its_machine_restarted_ended_as_it_did() -> None:
    machine = Machine()
    machine.end()
    machine.boot = "b2"
    reader = PipeReader(machine, "p", "n", 0, SystemClock(), boot="b1")
    try:
        assert await reader.next(10) == Ended(Exited(0), 0, 1, 2, contained=False, gone=True)
    finally:
        await reader.close()
