"""A far end that breaks the protocol, over the real transports: that machine is faulty, the rest goes on."""

from __future__ import annotations

import asyncio
import contextlib
import sys
import tracemalloc
from collections.abc import AsyncIterator, Awaitable, Callable
from pathlib import Path

import pytest

from fleet.clock import SystemClock
from fleet.config import FleetConfig, MachineConfig
from fleet.errors import MachineFaulty, NotUsable, Unavailable
from fleet.machines.executors import Executors
from fleet.machines.local import LocalExecutor
from fleet.machines.login import LoginExecutor
from fleet.machines.watch import MachineState, MachineWatch
from fleet.model import Isolation
from tests.contracts.executor_logins import NONCE, private_directory, ssh_executor
from tests.far_end import bad_runner
from tests.far_end.sshd import Sshd

Make = Callable[..., LoginExecutor]


def python3(directory: Path, mode: str, *more: str) -> str:
    """A ``python3`` that is the bad runner, whatever it is told to run."""
    program = directory / f"python3-{mode}"
    words = " ".join([sys.executable, "-I", bad_runner.__file__, mode, *more])
    program.write_text(f'#!/bin/sh\nexec {words} "$@"\n')
    program.chmod(0o755)
    return str(program)


@pytest.fixture(params=["local", "ssh"])
async def make(request: pytest.FixtureRequest, sshd: Sshd) -> AsyncIterator[Make]:
    """Makes an executor whose far end is the bad runner in that mode."""
    with private_directory() as directory:
        made: list[LoginExecutor] = []

        def executor(mode: str, *more: str) -> LoginExecutor:
            program = python3(directory, mode, *more)
            if request.param == "ssh":
                made.append(ssh_executor(sshd, python=program))
            else:
                made.append(LocalExecutor("near", python=program))
            return made[-1]

        yield executor
        for each in made:
            await each.close()


@pytest.fixture(autouse=True)
async def nothing_left() -> AsyncIterator[None]:
    """No task of the machines' side outlives its executor."""
    yield
    await asyncio.sleep(0)
    names = [task.get_name() for task in asyncio.all_tasks()]
    assert not [name for name in names if name.startswith(("receive", "watch", "send to", "feed"))]


@pytest.mark.parametrize("mode", sorted({*bad_runner.BAD_FACTS, *bad_runner.ANSWERS} - {"truncated"}))
async def test_a_malformed_answer_is_a_faulty_machine(make: Make, mode: str) -> None:
    executor = make(mode)
    async with asyncio.timeout(60):
        with pytest.raises(MachineFaulty) as caught:
            await executor.facts()
    assert executor.machine in caught.value.on
    assert caught.value.cause.startswith("malformed answer: ") and len(caught.value.cause) < 250


@pytest.mark.parametrize("mode", ["no-newline", "needy", "relative-root"])
async def test_a_malformed_start_is_a_faulty_machine(make: Make, mode: str) -> None:
    async with asyncio.timeout(60):
        with pytest.raises(MachineFaulty):
            await make(mode).facts()


async def test_a_frame_that_is_cut_off_is_a_broken_link(make: Make) -> None:
    async with asyncio.timeout(60):
        with pytest.raises(Unavailable, match="closed the link"):
            await make("truncated").facts()


@pytest.mark.parametrize("mode", sorted(bad_runner.FOLLOWED))
async def test_a_pipe_that_tells_nonsense_is_a_faulty_machine(make: Make, mode: str) -> None:
    """A gap or an overlap above all: output would be lost or repeated without a word."""
    executor = make(mode)
    told = []
    async with asyncio.timeout(60):
        with pytest.raises(MachineFaulty):
            async for event in executor.attach("p", NONCE, 0):
                told.append(event)
    assert len(told) == (1 if mode in ("gap", "overlap") else 0)


@pytest.mark.parametrize("mode", ["bad-status", "no-status"])
async def test_a_command_without_a_sound_status_is_a_faulty_machine(make: Make, mode: str) -> None:
    with pytest.raises(MachineFaulty):
        await make(mode).run(["true"], stdin=b"x" * 3_000_000)


async def test_a_far_end_that_sends_without_end_fills_no_memory(make: Make, tmp_path: Path) -> None:
    executor = make("endless-frames")
    await executor.facts()
    tracemalloc.start()
    try:
        calls: tuple[Callable[[], Awaitable[object]], ...] = (
            lambda: executor.read_file("f", 200_000),
            lambda: executor.run(["cat"], limit=100_000),
            lambda: executor.run(["cat"], limit=100_000, stdout=tmp_path / "out"),
            lambda: anext(aiter(executor.attach("p", NONCE, 7))),
        )
        for call in calls:
            async with asyncio.timeout(60):
                with pytest.raises(MachineFaulty):
                    await call()
        assert tracemalloc.get_traced_memory()[1] < 12 << 20
    finally:
        tracemalloc.stop()
    assert not (tmp_path / "out").exists() or (tmp_path / "out").stat().st_size <= 100_000


async def test_a_reader_that_does_not_come_back_bounds_what_waits_for_it(make: Make) -> None:
    """The far end ignores its credit: the link is closed as faulty, whoever waits hears why."""
    executor = make("endless-frames")
    lives = executor.attach("p", NONCE, 0)
    async with asyncio.timeout(60):
        await anext(lives)  # and then it is not read for a while
        with pytest.raises(MachineFaulty, match="credit"):
            while True:
                await executor.facts()
                await asyncio.sleep(0.05)
        with contextlib.suppress(MachineFaulty):
            await anext(lives)


async def test_the_watch_shows_who_is_faulty_and_the_others_go_on() -> None:
    with private_directory() as directory:
        machines = {
            name: MachineConfig(executor="local", home=str(directory / name), python=python)
            for name, python in (
                ("good", sys.executable),
                ("bad", python3(directory, "facts-empty")),
                ("mad", python3(directory, "garbage")),
            )
        }
        config = FleetConfig(isolation=Isolation.UNSAFE_SAME_USER, machines=machines)
        executors = Executors(config, directory)
        watch = MachineWatch(lambda: config, executors, SystemClock())
        looking = asyncio.ensure_future(watch.run())
        try:
            async with asyncio.timeout(60):
                while len(watch.seen) < 3:
                    await asyncio.sleep(0.02)
            states = {name: seen.state for name, seen in watch.seen.items()}
            assert states == {
                "good": MachineState.WELL,
                "bad": MachineState.FAULTY,
                "mad": MachineState.FAULTY,
            }
            assert "missing required field" in watch.seen["bad"].why and not looking.done()
        finally:
            looking.cancel()
            await asyncio.wait([looking])
            await executors.close()


async def test_a_login_in_which_the_runner_does_not_start_says_why_and_is_not_called_asleep(
    tmp_path: Path, sshd: Sshd
) -> None:
    (tmp_path / "file").write_text("no directory")
    slow = tmp_path / "python3-slow"
    slow.write_text("#!/bin/sh\nexec cat > /dev/null\n")
    slow.chmod(0o755)
    machines = {
        "full": MachineConfig(executor="local", home=str(tmp_path / "file")),
        "none": MachineConfig(executor="local", home=str(tmp_path), python="no-python-here"),
    }
    config = FleetConfig(isolation=Isolation.UNSAFE_SAME_USER, machines=machines)
    executors = Executors(config, tmp_path)
    watch = MachineWatch(lambda: config, executors, SystemClock())
    await watch.look()
    await executors.close()
    assert {name: seen.state for name, seen in watch.seen.items()} == dict.fromkeys(machines, MachineState.UNUSABLE)
    assert "Not a directory" in watch.seen["full"].why and "no-python-here" in watch.seen["none"].hint
    waits = ssh_executor(sshd, python=str(slow), connect_timeout=2.0)
    with pytest.raises(NotUsable, match="it lets us in, but its login said nothing"):
        await waits.facts()
    await waits.close()


async def test_a_machine_that_answers_well_again_is_used_again(make: Make, tmp_path: Path) -> None:
    executor = make("once-well", str(tmp_path / "mark"))
    with pytest.raises(MachineFaulty):
        await executor.write_file("f", b"")
    await executor.write_file("f", b"")
    assert (await executor.facts()).host == "box"
