"""One look at a machine that goes wrong ends no other look, and not the watch."""

from __future__ import annotations

import asyncio
from pathlib import Path

import pytest

from bot.doctor.offers import check_offers
from bot.telemetry_view import machine_line
from fleet.clock import SystemClock
from fleet.config import FleetConfig, MachineConfig
from fleet.errors import Unreachable
from fleet.machines.executors import Executors
from fleet.machines.watch import MachineSeen, MachineState, MachineWatch
from fleet.model import Isolation
from fleet.ports import Executor


class HalfBroken(Executors):
    """The link to one machine cannot even be thought of."""

    def agent(self, machine: str, login: str = "") -> Executor:
        if machine == "odd":
            raise ZeroDivisionError("a bug")
        return super().agent(machine)


class RoundClock(SystemClock):
    """Ends the watch's wait between rounds at once, and counts the rounds."""

    rounds = 0

    async def sleep(self, seconds: float) -> None:
        self.rounds += 1
        await asyncio.sleep(0)


async def test_a_look_that_hits_a_bug_ends_no_other_look(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    machines = {name: MachineConfig(executor="local", home=str(tmp_path / name)) for name in ("odd", "well")}
    config = FleetConfig(isolation=Isolation.UNSAFE_SAME_USER, machines=machines)
    executors, clock = HalfBroken(config, tmp_path), RoundClock()
    watch = MachineWatch(lambda: config, executors, clock)
    looking = asyncio.create_task(watch.run())
    try:
        async with asyncio.timeout(60):
            while clock.rounds < 3:
                await asyncio.sleep(0.01)
    finally:
        looking.cancel()
        await asyncio.wait([looking])
        await executors.close()
    assert looking.cancelled()
    assert {name: seen.state for name, seen in watch.seen.items()} == {
        "odd": MachineState.FAULTY,
        "well": MachineState.WELL,
    }
    assert "ZeroDivisionError" in caplog.text and "internal error" in watch.seen["odd"].why


async def test_doctor_names_a_machine_that_is_listed_twice(tmp_path: Path) -> None:
    homes = {"new": "a", "old": "a", "other": "b"}
    machines = {name: MachineConfig(executor="local", home=str(tmp_path / home)) for name, home in homes.items()}
    config = FleetConfig(isolation=Isolation.UNSAFE_SAME_USER, machines=machines)
    executors = Executors(config, tmp_path)
    findings, _ = await check_offers(config, executors)
    await executors.close()
    assert [(found.subject, found.what) for found in findings if "same login" in found.what] == [
        ("machine old", "is the same login as machine new: its slots count twice")
    ]


class LongClock(SystemClock):
    """No wait ends by itself."""

    async def sleep(self, seconds: float) -> None:
        await asyncio.Event().wait()


async def test_what_was_learned_of_a_machine_is_told_at_once(tmp_path: Path) -> None:
    config = FleetConfig(
        isolation=Isolation.UNSAFE_SAME_USER,
        machines={"box": MachineConfig(executor="local", home=str(tmp_path / "box"))},
    )
    executors, told = Executors(config, tmp_path), asyncio.Event()
    watch = MachineWatch(lambda: config, executors, LongClock(), tell=told.set)
    looking = asyncio.create_task(watch.run())
    try:
        async with asyncio.timeout(60):
            await told.wait()
            assert watch.seen["box"].offers is None, "it answers; what it offers is not known yet"
            told.clear()
            await watch.probes.look()
            await told.wait()
    finally:
        looking.cancel()
        await asyncio.wait([looking])
        await executors.close()
    assert watch.seen["box"].offers


@pytest.mark.parametrize(
    ("seen", "shown"),
    [
        (None, "● box 1/2 · not seen yet"),
        (MachineSeen(MachineState.WELL, 5_000_000, load_milli=1500), "● box 1/2 load 1.5 · 5 s ago"),
        (MachineSeen(MachineState.AWAY, 5_000_000, why="no answer"), "⚠ box · 5 s ago · no answer"),
        (MachineSeen(MachineState.AWAY, why="no answer"), "⚠ box 1/2 · not seen yet · no answer"),
        (MachineSeen(MachineState.FAULTY, 5_000_000, why="no boot id"), "⚠ box faulty · 5 s ago · no boot id"),
        (MachineSeen(MachineState.FAULTY, why="no boot id"), "⚠ box 1/2 faulty · not seen yet · no boot id"),
    ],
)
def test_each_state_of_a_machine_is_shown(seen: MachineSeen | None, shown: str) -> None:
    parts = machine_line("box", MachineConfig(executor="local", slots=2), 1, seen, 10_000_000)
    assert "".join(str(part) for part in parts) == shown


class Switched(Executors):
    """The link to the machine can be cut."""

    cut = True

    def agent(self, machine: str, login: str = "") -> Executor:
        if self.cut:
            raise Unreachable(attempted="connect", on=machine, cause="no route to host")
        return super().agent(machine)


class HandClock(SystemClock):
    """The time is what the test says."""

    us = 1

    def now_us(self) -> int:
        return self.us


async def test_a_machine_is_away_since_the_first_look_that_failed_however_long_we_slept_before(
    tmp_path: Path,
) -> None:
    machines = {"box": MachineConfig(executor="local", home=str(tmp_path / "box"))}
    config = FleetConfig(isolation=Isolation.UNSAFE_SAME_USER, machines=machines)
    executors, clock = Switched(config, tmp_path), HandClock()
    watch, since = MachineWatch(lambda: config, executors, clock), list[int]()
    for cut, at in ((False, 1), (True, 9_000), (True, 9_020), (False, 9_040), (True, 9_060)):
        executors.cut, clock.us = cut, at
        await watch.look()
        since.append(watch.seen["box"].bad_us)
    await executors.close()
    assert since == [0, 9_000, 9_000, 0, 9_060]
