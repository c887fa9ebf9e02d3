"""A machine that is asleep is woken when work waits for it, with growing pauses, and only then."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from dataclasses import replace
from functools import partial
from pathlib import Path

import pytest

from bot.cards import shown
from bot.telemetry_view import machine_line
from fleet.clock import SystemClock
from fleet.config import AgentConfig, FleetConfig, MachineConfig, RepoConfig
from fleet.machines.waking import Waker, next_try_us
from fleet.machines.watch import MachineSeen, MachineState, WakeTried, want
from fleet.model import Isolation, Task
from fleet.store import queue, sessions
from fleet.store.core import Store
from tests.empty_store import filled
from tests.rows import asked

ASLEEP = MachineSeen(MachineState.AWAY, 1, why="no answer", offers={"macos": "26.1", "xcode": "16.4"})
MINUTE = 60_000_000
WAKE = """#!/bin/sh
echo "$1" >> CALLS
[ "$1" != fail ] || { echo no network >&2; exit 3; }
"""


class SetClock(SystemClock):
    us = 1

    def now_us(self) -> int:
        return self.us


class World:
    """A store, a machine that sleeps, and the command that wakes it: it writes a line."""

    def __init__(self, store: Store, directory: Path) -> None:
        self.store, self.calls, self.clock = store, directory / "calls", SetClock()
        script = directory / "wake"
        script.write_text(WAKE.replace("CALLS", str(self.calls)))
        script.chmod(0o755)
        self.argv = [str(script), "01:23"]
        self.seen = {"mac": ASLEEP, "box": MachineSeen(MachineState.WELL, 1, offers={"linux": "6.1"})}
        self.needs: list[str] = []

    def config(self) -> FleetConfig:
        machines = {
            "mac": MachineConfig(executor="local", wake=self.argv),
            "box": MachineConfig(executor="local", wake=self.argv),
        }
        agents = {"demo": AgentConfig(driver="command", program=["cat"])}
        repos = {"shop": RepoConfig(url="/srv/shop.git", needs=self.needs)}
        return FleetConfig(isolation=Isolation.UNSAFE_SAME_USER, machines=machines, agents=agents, repos=repos)

    async def ask(self, machine: str = "", needs: tuple[str, ...] = (), after: str = "") -> Task:
        return await self.store.write(lambda tx: asked(tx, machine=machine, needs=needs, after=after))

    async def look(self) -> int:
        """How often the command was run so far."""
        await Waker(self.store, self.config, self.seen, self.clock).look()
        return len(self.calls.read_text().splitlines()) if self.calls.exists() else 0


@pytest.fixture
def world(tmp_path: Path) -> Iterator[World]:
    with Store.open(f"sqlite:///{filled(tmp_path / 'airboss.db')}") as store:
        yield World(store, tmp_path)


async def test_it_is_woken_with_growing_pauses_until_it_answers(world: World) -> None:
    assert await world.look() == 0  # nothing waits
    await world.ask()
    counts = []
    for later in (0, 1, MINUTE - 1, MINUTE, 2 * MINUTE, 5 * MINUTE, 10 * MINUTE, 30 * MINUTE, 29 * MINUTE, MINUTE):
        world.clock.us += later
        counts.append(await world.look())
    assert counts == [1, 1, 2, 2, 3, 4, 5, 6, 6, 7]
    assert world.seen["mac"].wake == WakeTried(7, world.clock.us)
    world.seen["mac"] = replace(ASLEEP, state=MachineState.WELL)
    assert await world.look() == 7


@pytest.mark.parametrize(
    ("machine", "needs", "woken"),
    [("mac", (), 1), ("box", (), 0), ("", ("xcode>=16",), 1), ("", ("xcode>=26",), 0), ("", ("linux",), 0)],
)
async def test_only_for_work_that_could_start_there(
    world: World, machine: str, needs: tuple[str, ...], woken: int
) -> None:
    await world.ask(machine, needs)
    assert await world.look() == woken


async def test_not_for_a_drained_machine_nor_a_paused_fleet_but_for_a_session_that_runs_there(world: World) -> None:
    task = await world.ask()
    for paused in ("mac", queue.FLEET):
        await world.store.write(partial(queue.pause, machine=paused, by="console:h:a"))
        assert await world.look() == 0
        if paused:
            await world.store.write(lambda tx: queue.resume(tx, "mac", "console:h:a"))
    await world.store.write(
        lambda tx: sessions.create_session(
            tx, task=task.id, machine="mac", agent="demo", base="b", isolation=Isolation.UNSAFE_SAME_USER
        )
    )
    assert await world.look() == 1


async def test_for_a_gate_that_could_run_nowhere_else_once(world: World) -> None:
    want("mac", world.seen)
    want("gone", world.seen)
    assert await world.look() == 1
    world.clock.us += MINUTE
    assert await world.look() == 1
    assert "gone" not in world.seen


async def test_a_task_that_waits_for_another_wakes_nobody(world: World) -> None:
    first = await world.ask("box")
    await world.ask("mac", after=first.id)
    assert await world.look() == 0


@pytest.mark.parametrize(
    ("argv", "why"), [(["fail"], "exited with 3 no network"), (None, "/no/such/program: No such file or directory")]
)
async def test_a_command_that_fails_is_shown_and_tried_again(
    world: World, argv: list[str] | None, why: str
) -> None:
    world.argv = [world.argv[0], *argv] if argv else ["/no/such/program"]
    await world.ask()
    await world.look()
    tried = world.seen["mac"].wake
    assert tried is not None and tried.why.endswith(why) and next_try_us(tried) == 1 + MINUTE
    row = shown(machine_line("mac", world.config().machines["mac"], 0, world.seen["mac"], 1), 200)
    assert row.endswith("no answer · tried to wake it 1 time")


async def test_a_command_that_says_a_lot_or_leaves_something_running_has_ended(world: World) -> None:
    says = "import sys; sys.stderr.write('no route to host ' * 70_000); sys.exit(3)"
    for argv, why in (
        ([sys.executable, "-c", says], "exited with 3 no route to host"),
        (["sh", "-c", "sleep 60 & exit 0"], ""),
    ):
        world.argv, world.seen["mac"] = argv, ASLEEP
        await world.ask()
        await world.look()
        tried = world.seen["mac"].wake
        assert tried is not None and why in tried.why and (why or not tried.why)
