"""The placer on a real store and a real git: slots are reserved once, in order, and never lost."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Collection, Iterator
from contextlib import asynccontextmanager, contextmanager
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import Engine, event, update

from fleet.clock import SystemClock
from fleet.config import parse_fleet
from fleet.errors import StoreUnavailable
from fleet.faults import Fault, Point, injected
from fleet.flight import starting
from fleet.flight.dispatcher import Dispatcher
from fleet.flight.flight import Flight
from fleet.flight.placer import Placer
from fleet.git.command import Git, GitEnded
from fleet.locks import Resource, Want
from fleet.machines.watch import MachineSeen, MachineState
from fleet.model import TaskMode, TaskState
from fleet.store import queue, sessions, tasks
from fleet.store.tables import tasks as task_rows
from fleet.supervise import Supervisor, alongside
from tests.far_end.machine import Machine
from tests.far_end.repositories import make_bare
from tests.flying import FLEET, PERSON, World, world


class Frozen(Machine):
    """A machine on which no worktree is ever made: its tasks keep their slots until they are stopped."""

    async def run(self, *args: Any, **more: Any) -> Any:
        await asyncio.Event().wait()


class Counting(Git):
    """Counts the git processes of the controller."""

    def __init__(self) -> None:
        super().__init__()
        self.runs: list[str] = []

    async def run(self, *args: str, **more: Any) -> GitEnded:
        self.runs.append(args[0])
        return await super().run(*args, **more)


@pytest.fixture
async def there(tmp_path: Path) -> AsyncIterator[World]:
    made = world(tmp_path, str(make_bare(tmp_path / "shop.git", {"a.txt": "one\n"})))
    made.machine = Frozen()
    made.services = replace(made.services, clock=SystemClock())
    with made.store:
        slots(made, 1)
        yield made


def slots(there: World, number: int) -> None:
    text = FLEET.format(url=there.repository.url).replace('"local"', f'"local"\nslots = {number}')
    there.config = parse_fleet(text, "fleet.toml")


@asynccontextmanager
async def dispatching(there: World) -> AsyncIterator[Dispatcher]:
    supervisor = Supervisor(there.services.clock)
    dispatcher = Dispatcher(there.services, supervisor, "1")
    supervisor.run("dispatch", dispatcher.run)
    try:
        yield dispatcher
    finally:
        await supervisor.close()


async def in_state(there: World, state: TaskState) -> list[str]:
    return [task.id for task in await there.store.read(tasks.unfinished) if task.state is state]


async def until(there: World, state: TaskState, expected: Collection[str]) -> None:
    while sorted(await in_state(there, state)) != sorted(expected):
        await asyncio.sleep(0.01)


async def stop(there: World, dispatcher: Dispatcher, task_id: str) -> None:
    await there.store.write(lambda tx: tasks.request_stop(tx, task_id, PERSON))
    dispatcher.wake(task_id)


@contextmanager
def reads_of_the_queue() -> Iterator[list[str]]:
    """Each time that the store reads what waits for a slot."""
    found: list[str] = []

    def note(connection: Any, cursor: Any, statement: str, *more: Any) -> None:
        if "ORDER BY tasks.rank" in statement:
            found.append(statement)

    event.listen(Engine, "before_cursor_execute", note)
    try:
        yield found
    finally:
        event.remove(Engine, "before_cursor_execute", note)


async def test_forty_tasks_on_four_slots_are_placed_in_order_with_few_looks_and_one_fetch_each(
    there: World,
) -> None:
    slots(there, 4)
    git = Counting()
    there.repository = replace(there.repository, git=git)
    placed = [await there.task(mode=TaskMode.ASK) for _ in range(40)]
    with reads_of_the_queue() as reads:
        async with dispatching(there) as dispatcher:
            for at, task in enumerate(placed):
                await until(there, TaskState.PREPARING, [one.id for one in placed[at : at + 4]])
                await stop(there, dispatcher, task.id)
    assert len(git.runs) <= 6 * len(placed), "the base is fetched once for each"
    assert len(reads) <= 12 * len(placed), "a slot that is free is not looked at by every task that waits"


async def test_a_reservation_that_cannot_be_committed_leaves_no_trace_and_is_made_again(there: World) -> None:
    task = await there.task(mode=TaskMode.ASK)
    placer = Placer(there.services)
    with injected(Fault(Point.STORE_COMMIT)), pytest.raises(StoreUnavailable):
        await placer.look()
    assert await there.store.read(queue.reserved) == {}
    assert await there.store.read(queue.served) == {}
    await placer.look()
    await placer.look()
    assert list(await there.store.read(queue.reserved)) == [task.id]
    assert await there.store.read(queue.served) == {(PERSON, "shop"): 1}


async def test_a_reserved_slot_is_used_by_the_same_task_after_a_restart(there: World) -> None:
    first, second = await there.task(mode=TaskMode.ASK), await there.task(mode=TaskMode.ASK)
    known = starting.FleetSeen(there.config)
    known = replace(known, aside={first.id})
    await there.store.write(partial(starting.reserve, known=known))  # and the controller died
    assert await there.store.read(sessions.busy) == {"box": 1}
    async with dispatching(there):
        await until(there, TaskState.PREPARING, [second.id])
        while "1 of 1 slots busy" not in (await there.now(first)).why:
            await asyncio.sleep(0.01)
    assert await there.store.read(queue.reserved) == {}
    assert await there.store.read(sessions.busy) == {"box": 1}


async def test_a_task_that_is_stopped_while_a_slot_is_kept_for_it_gives_it_back(there: World) -> None:
    first, second = await there.task(mode=TaskMode.ASK), await there.task(mode=TaskMode.ASK)
    known = starting.FleetSeen(there.config)
    await there.store.write(partial(starting.reserve, known=known))
    assert list(await there.store.read(queue.reserved)) == [first.id]
    await there.store.write(lambda tx: tasks.request_stop(tx, first.id, PERSON))
    async with dispatching(there):
        await until(there, TaskState.PREPARING, [second.id])
    assert (await there.now(first)).state is TaskState.STOPPED


@pytest.mark.parametrize("where", ["", "box"])
async def test_a_pause_between_reservation_and_start_starts_nothing(there: World, where: str) -> None:
    task = await there.task(mode=TaskMode.ASK)
    known = starting.FleetSeen(there.config)
    await there.store.write(partial(starting.reserve, known=known))
    await there.store.write(lambda tx: queue.pause(tx, where, PERSON))
    async with dispatching(there) as dispatcher:
        while not (await there.now(task)).why:
            await asyncio.sleep(0.01)
        assert (await there.now(task)).state is TaskState.QUEUED
        assert await there.store.read(queue.reserved) == {}
        await there.store.write(lambda tx: queue.resume(tx, where, PERSON))
        dispatcher.wake()
        await until(there, TaskState.PREPARING, [task.id])


async def waits_for(there: World, waiter: str, holder: str) -> bool:
    """Whether it says so: of who was granted the lock, or of who stands before it in line."""
    why = (await there.store.read(partial(tasks.task, task_id=waiter))).why
    return why.startswith("waiting for a lock: ") and holder in why


async def test_a_task_that_waits_for_a_lock_keeps_no_slot(there: World) -> None:
    lock = Want(Resource("deploy"))
    tasks_ = [await there.task(mode=TaskMode.ASK) for _ in range(3)]
    for task in tasks_[:2]:
        await there.store.write(partial(tasks.declare, task_id=task.id, locks=(lock,)))
    slots(there, 2)
    first, second, free = [task.id for task in tasks_]
    async with dispatching(there) as dispatcher:
        while len(preparing := await in_state(there, TaskState.PREPARING)) < 2:
            await asyncio.sleep(0.01)
        assert free in preparing, "the lock's second task gave its slot back"
        holder, waiter = (first, second) if first in preparing else (second, first)
        while not await waits_for(there, waiter, holder):
            await asyncio.sleep(0.01)
        await stop(there, dispatcher, holder)
        await until(there, TaskState.PREPARING, [waiter, free])


async def test_what_no_machine_can_ever_take_is_refused_with_the_remedy(there: World) -> None:
    text = FLEET.format(url=there.repository.url).replace('agent = "helper"', 'agent = "helper"\nneeds = ["xcode"]')
    there.config = parse_fleet(text, "fleet.toml")
    there.services.machines_seen["box"] = MachineSeen(MachineState.WELL, 1, offers={"linux": "6.1"})
    task = await there.task(mode=TaskMode.ASK)
    async with dispatching(there):
        while (await there.now(task)).state is TaskState.QUEUED:
            await asyncio.sleep(0.01)
    now = await there.now(task)
    assert now.state is TaskState.REFUSED
    assert "box: lacks xcode" in now.why


@pytest.mark.parametrize(
    ("gone", "said"),
    [
        ("[agents.helper]", "no longer names agent helper"),
        ("[machines.box]", "no longer names machine box"),
        ("[repos.shop]", "no longer names repository shop"),
    ],
)
async def test_a_task_that_has_not_started_waits_for_what_fleet_toml_no_longer_names(
    there: World, gone: str, said: str
) -> None:
    whole, text = there.config, FLEET.format(url=there.repository.url)
    changed = text.replace(gone, gone.replace("]", "-2]"))
    if gone.startswith("[agents"):
        changed = changed.replace('agent = "helper"', 'agent = "helper-2"')
    there.config = parse_fleet(changed, "fleet.toml")
    task = await there.task(mode=TaskMode.ASK)
    await there.store.write(lambda tx: tx.connection.execute(update(task_rows).values(machine="box")))
    async with dispatching(there) as dispatcher:
        while said not in (await there.now(task)).why:
            await asyncio.sleep(0.01)
        assert (await there.now(task)).state is TaskState.QUEUED
        there.config = whole
        dispatcher.woken()
        dispatcher.wake(task.id)
        await until(there, TaskState.PREPARING, [task.id])


async def test_a_task_whose_repository_is_missing_gets_no_slot_and_says_so(there: World) -> None:
    task = await there.task(mode=TaskMode.ASK)
    text = FLEET.format(url=there.repository.url)
    there.config = parse_fleet(text.replace("[repos.shop]", "[repos.shop-2]"), "fleet.toml")
    await Placer(there.services).look()
    assert await there.store.read(queue.reserved) == {}
    assert (await there.now(task)).why == "waiting: fleet.toml no longer names repository shop"


async def test_a_task_that_wants_to_go_on_gets_the_slot_before_one_that_has_not_started(there: World) -> None:
    task = await there.task(mode=TaskMode.ASK)
    line = there.services.slot_line
    line.wait_to_return("t9", "box", lambda: None)
    await Placer(there.services).look()
    assert await there.store.read(queue.reserved) == {}
    line.returned("t9")
    await Placer(there.services).look()
    assert list(await there.store.read(queue.reserved)) == [task.id]


async def test_a_slot_whose_reservation_was_committed_without_an_answer_is_used(there: World) -> None:
    """A connection that is cut during a commit: the placer does not know, and the task waits to be told."""
    task = await there.task(mode=TaskMode.ASK)
    flight, placer = Flight(there.services, task), Placer(there.services)
    async with alongside(flight.run(), "fly"), asyncio.timeout(60):
        while not there.services.slot_line.standing_now:
            await asyncio.sleep(0.01)
        await there.store.write(partial(starting.reserve, known=starting.FleetSeen(there.config)))
        assert list(await there.store.read(queue.reserved)) == [task.id]
        await placer.look()
        await until(there, TaskState.PREPARING, [task.id])


async def test_a_task_that_was_ended_without_an_answer_is_closed(there: World) -> None:
    task = await there.task(mode=TaskMode.ASK)
    flight, placer = Flight(there.services, task), Placer(there.services)
    async with alongside(flight.run(), "fly") as flying, asyncio.timeout(60):
        while not there.services.slot_line.standing_now:
            await asyncio.sleep(0.01)
        await there.store.write(lambda tx: tasks.move(tx, task.id, TaskState.REFUSED, "no such machine", "airboss"))
        await placer.look()
        await flying
