"""A run's limits, on every kind of login: what passes one is ended, and the record says what was reached."""

from __future__ import annotations

from collections.abc import AsyncIterator

import pytest

from fleet.exits import Exited, Signalled
from fleet.isolation import Walls
from fleet.limits import InForce, LimitedResource, Reached, RunLimits
from fleet.machines.login import LoginExecutor
from fleet.ports import PipeSpec
from tests.conftest import sampled
from tests.contracts.executor_logins import Life, Login, opened, pipe_spec, run_pipe
from tests.contracts.test_executor_walls import room_of

MB = 1 << 20


@pytest.fixture
async def here() -> AsyncIterator[Login]:
    """A login of this machine: what a supervisor does is the same on each kind."""
    async with opened("local") as login:
        yield login


HOG = """
import os, sys
if os.fork():
    print("status", os.wait()[1])
    sys.exit()
open("/proc/self/comm", "w").write("hog")
held = []
while True:
    held.append(bytearray(os.urandom(1 << 10) * 1000))
"""
#: Endless, and slow enough that a machine survives it while the test is red.
BOMB = """
import os, time
while True:
    try:
        if not os.fork():
            break
    except OSError:
        assert PATIENT
    time.sleep(0.005)
os.setsid()
time.sleep(120)
"""
FILLER = """
import itertools
for number in itertools.count():
    with open("/tmp/part-%d" % number, "wb") as file:
        file.write(bytes(1 << 20))
"""
UNLINKED = """
import os, itertools
held = []
for number in itertools.count():
    held.append(open("/tmp/part", "wb"))
    os.unlink("/tmp/part")
    held[-1].write(bytes(1 << 20))
    held[-1].flush()
"""
FLOOD = "import os\nwhile True: os.write(1, bytes(1 << 16))"


def limited(room: str, script: str, limits: RunLimits, *, walls: bool = True) -> PipeSpec:
    """A run of that Python script."""
    return pipe_spec(
        "/usr/bin/python3", "-c", script, bare_env=True, contain=walls, limits=limits,
        walls=Walls(room) if walls else None, env={"PATH": "/usr/bin:/bin"},
    )  # fmt: skip


async def run(executor: LoginExecutor, script: str, *, walls: bool = True, **limits: int) -> Life:
    room = await room_of(executor, "run")
    return await run_pipe(executor, limited(room, script, RunLimits((room,), **limits), walls=walls))


@pytest.mark.parametrize("walls", [True, False])
async def test_the_largest_process_is_ended_and_the_rest_of_the_run_goes_on(login: Login, walls: bool) -> None:
    life = await run(login.executor(), HOG, walls=walls, memory=100 * MB)
    assert life.ended.exit == Exited(0) and life.output == b"status 9\n"
    assert life.ended.reached == (Reached(LimitedResource.MEMORY, 100 * MB, "hog"),)
    assert life.ended.limits is not None and life.ended.limits.memory == 100 * MB


async def test_memory_that_processes_share_counts_once(here: Login) -> None:
    script = "import os, time\nheld = os.urandom(60 << 20)\nfor _ in range(4): os.fork()\ntime.sleep(1.5)"
    life = await run(here.executor(), script, memory=250 * MB)
    assert life.ended.exit == Exited(0) and life.ended.reached == ()


@pytest.mark.parametrize("walls", [True, False])
async def test_a_fork_bomb_is_ended_and_leaves_nothing(login: Login, walls: bool) -> None:
    life = await run(login.executor(), f"PATIENT = True\n{BOMB}", walls=walls, processes=60)
    assert life.ended.exit == Signalled("SIGKILL") and life.ended.gone
    assert life.ended.reached[0] == Reached(LimitedResource.PROCESSES, 60)


async def test_a_bomb_that_ends_by_itself_at_the_limit_is_named_too(login: Login) -> None:
    life = await run(login.executor(), f"PATIENT = False\n{BOMB}", processes=60)
    assert life.ended.exit in (Exited(1), Signalled("SIGKILL")) and life.ended.gone
    assert life.ended.reached[0] == Reached(LimitedResource.PROCESSES, 60)


async def test_the_kernel_bounds_processes_too(login: Login) -> None:
    """By the login's count in the run's own user namespace; for root by the PID namespace, where Linux can."""
    script = (
        "import os, resource\n"
        "bound = int(open('/proc/sys/kernel/pid_max').read())\n"
        "print(resource.getrlimit(resource.RLIMIT_NPROC)[0] if os.getuid() else min(bound, 564))"
    )
    life = await run(login.executor(), script, processes=500)
    assert life.output == b"564\n"


@pytest.mark.parametrize("script", sampled([FILLER, UNLINKED, FLOOD], 1))
async def test_what_fills_the_disk_is_ended(here: Login, script: str) -> None:
    life = await run(here.executor(), script, disk=30 * MB)
    assert life.ended.exit == Signalled("SIGKILL") and life.ended.gone
    assert life.ended.reached[0] == Reached(LimitedResource.DISK, 30 * MB)


async def test_what_was_there_before_does_not_count(here: Login) -> None:
    executor = here.executor()
    room = await room_of(executor, "run")
    await executor.write_file(f"{room}/tree/old", bytes(8 * MB))
    script = "import time\nopen('/tmp/new', 'wb').write(bytes(1 << 20)); time.sleep(1.5)"
    life = await run_pipe(executor, limited(room, script, RunLimits((room,), disk=4 * MB)))
    assert life.ended.exit == Exited(0) and life.ended.reached == ()


async def test_no_file_grows_beyond_the_limit(here: Login) -> None:
    script = "import signal\nsignal.signal(signal.SIGXFSZ, signal.SIG_IGN)\nopen('/tmp/a', 'wb').truncate(3 << 20)"
    life = await run(here.executor(), script, disk=2 * MB)
    assert life.ended.exit == Exited(1)


async def test_limits_that_nobody_wrote_are_the_machines_and_a_run_comes_after_the_controller(here: Login) -> None:
    executor = here.executor()
    script = "import os\nprint(os.nice(0), open('/proc/self/oom_score_adj').read())"
    life = await run(executor, script)
    ours = int((await executor.run(["nice"])).out)
    assert life.output.split() == [b"%d" % min(19, ours + 10), b"500"]
    limits = life.ended.limits
    assert limits is not None and limits.memory > 256 * MB and limits.disk > MB
    facts = await executor.facts()
    assert limits == InForce(limits.memory, 2048, limits.disk) and limits.disk < facts.disk_free
