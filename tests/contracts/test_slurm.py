"""Slots that are jobs of a real Slurm cluster: nothing outlives a job, and Slurm is not believed alone."""

from __future__ import annotations

import asyncio
import contextlib
import random
import shutil
import sys
from collections.abc import AsyncIterator, Callable
from pathlib import Path

import pytest

from fleet.config import PoolConfig
from fleet.errors import StoreUnavailable, Unavailable, Unreachable
from fleet.machines.login import LoginExecutor
from fleet.machines.pools.slurm import SlurmProvider
from fleet.machines.slurm import SlurmExecutor
from fleet.ports import Output, PipeSpec
from fleet.store.core import Store
from fleet.store.states import SlotState
from tests.conftest import FULL, SEED
from tests.empty_store import filled
from tests.far_end.cluster import Cluster, running_cluster
from tests.far_end.farm import Farm
from tests.far_end.sshd import new_key
from tests.pool_yard import Yard

MINUTE_US = 60_000_000
NONCE = "0f" * 16
JOB = "airboss-x-big-1-abc"


def pool(cluster: Cluster) -> PoolConfig:
    home = str(cluster.directory / "slots")
    return PoolConfig(provider="slurm", python=sys.executable, labels=["big"], home=home)


def link(cluster: Cluster) -> SlurmExecutor:
    return SlurmExecutor("big-1", job=JOB, door=str(cluster.directory / "slots" / JOB), python=sys.executable)


@pytest.fixture
async def cluster(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[Cluster]:
    with running_cluster(tmp_path / "slurm") as made:
        monkeypatch.setenv("SLURM_CONF", str(made.directory / "slurm.conf"))
        yield made


def alive(marker: str) -> list[int]:
    """The processes that carry these words in their command line."""
    found = []
    for entry in Path("/proc").glob("[0-9]*"):
        try:
            words = (entry / "cmdline").read_bytes().split(b"\0")
        except OSError:
            continue
        if words[:2] == [b"sleep", marker.encode()]:
            found.append(int(entry.name))
    return found


async def first_output(executor: LoginExecutor, pipe: str) -> bytes:
    async for event in executor.attach(pipe, NONCE, 0):
        if isinstance(event, Output):
            return event.data
    raise AssertionError("it said nothing")


async def until(true: Callable[[], object]) -> None:
    async with asyncio.timeout(60):
        while not true():
            await asyncio.sleep(0.02)


async def at_work(cluster: Cluster, marker: str) -> SlurmExecutor:
    """A process on a slot, with a child that left its session."""
    executor = link(cluster)
    argv = ("sh", "-c", f"setsid sleep {marker} & echo there; exec sleep {marker}")
    await executor.facts()
    await executor.start(PipeSpec(id="p1", nonce=NONCE, argv=argv, cwd=executor.root))
    await until(lambda: len(alive(marker)) == 2)
    return executor


async def a_job_is_a_machine_whose_processes_outlive_links_and_never_the_job(cluster: Cluster) -> None:
    provider = SlurmProvider("big", pool(cluster))
    target = await provider.acquire(JOB)
    assert cluster.run("squeue", "-h", "-o", "%j %T %k") == f"{JOB} RUNNING {JOB}"
    assert await provider.names() == frozenset({JOB}) and await provider.acquire(JOB) == target
    executor = await at_work(cluster, "4711")
    assert executor.root == str(cluster.directory / "slots" / JOB)
    count = [sys.executable, "-c", "import sys; print(len(sys.stdin.buffer.read()))"]
    assert (await executor.run(count, stdin=bytes(range(256)) * 10_000)).out == b"2560000\n"
    await executor.close()
    await until(lambda: cluster.run("squeue", "-h", "--steps", "-o", "%i").split() == ["1.batch"])
    assert len(alive("4711")) == 2, "the step is over, what it started is not"
    again = link(cluster)
    assert await first_output(again, "p1") == b"there\n"
    await provider.release(JOB, target.model_dump_json())
    assert await provider.names() == frozenset()
    await until(lambda: not alive("4711"))
    with pytest.raises(Unreachable):
        await again.facts()
    await again.close()
    await provider.release(JOB, "")


async def a_slurmctld_that_is_away_or_forgets_ends_no_link_and_is_not_believed(cluster: Cluster) -> None:
    provider = SlurmProvider("big", pool(cluster))
    await provider.acquire(JOB)
    executor = await at_work(cluster, "4712")
    cluster.kill("slurmctld")
    assert (await executor.facts()).cpus and len(alive("4712")) == 2
    with pytest.raises(Unavailable):
        await provider.names()
    with pytest.raises(Unavailable):
        await provider.release(JOB, "")
    assert len(alive("4712")) == 2
    shutil.rmtree(cluster.directory / "state")
    (cluster.directory / "state").mkdir()
    cluster.start("slurmctld")
    cluster.wait_ready()
    await executor.close()
    await provider.release(JOB, "")
    await until(lambda: not alive("4712"))


async def a_slot_that_waits_in_the_queue_too_long_says_what_slurm_says(cluster: Cluster) -> None:
    cluster.run("sbatch", "--exclusive", "--output=/dev/null", "--wrap=sleep 600")
    short = pool(cluster).model_copy(update={"acquire_within": "2s"})
    provider = SlurmProvider("big", short)
    with pytest.raises(Unavailable, match=r"waited 2s for Slurm: PENDING \w+"):
        await provider.acquire(JOB)
    assert await provider.names() >= {JOB}, "the keeper gives it back"  # type: ignore[operator]  # Slurm can say
    await provider.release(JOB, "")


async def slurmctld_is_killed_at_any_time_and_no_slot_is_left(cluster: Cluster, tmp_path: Path, block: int) -> None:
    """A whole life of slots, with ``kill -9`` of slurmctld at a moment of the seed's choice."""
    filled(tmp_path / "airboss.db")
    chance = random.Random(f"{SEED} {block}")
    with Store.open(f"sqlite:///{tmp_path / 'airboss.db'}") as store:
        yard = Yard(store, Farm.of(tmp_path / "farm", new_key(tmp_path / "host_key")), tmp_path)
        for seed in range(2):
            config = pool(cluster).model_copy(update={"acquire_within": "10s"})
            yard.configure(idle="1s")
            yard.provider = SlurmProvider("farm", config)
            yard.wants = 1
            killing = asyncio.create_task(killed(cluster, chance.uniform(0, 4)))
            for _ in range(60):
                yard.clock.us += 31 * MINUTE_US
                # Slurm drains a node on which a job was lost; its operator lets it work again.
                cluster.run("scontrol", "update", "nodename=here", "state=resume")
                with contextlib.suppress(StoreUnavailable):
                    await yard.look()
                if any(slot.state is SlotState.UP for slot in await yard.slots()):
                    yard.wants = 0
                if not yard.wants and not await yard.slots():
                    break
                await asyncio.sleep(0.1)
            await killing
            assert await yard.states() == [], f"{seed} of block {block}"
            await until(lambda: cluster.run("squeue", "-h", "-o", "%j") == "")
            await yard.executors.close()
        await until(lambda: not doors(cluster))


def doors(cluster: Cluster) -> list[Path]:
    """The doors of jobs, whatever Slurm knows of them."""
    return [*filter(lambda entry: str(cluster.directory).encode() in _words(entry), Path("/proc").glob("[0-9]*"))]


def _words(entry: Path) -> bytes:
    with contextlib.suppress(OSError):
        words = (entry / "cmdline").read_bytes()
        return words if b"\0door\0" in words else b""
    return b""


async def more_slots_than_the_cluster_has_room_for_wait_and_say_why(cluster: Cluster, tmp_path: Path) -> None:
    filled(tmp_path / "airboss.db")
    with Store.open(f"sqlite:///{tmp_path / 'airboss.db'}") as store:
        yard = Yard(store, Farm.of(tmp_path / "farm", new_key(tmp_path / "host_key")), tmp_path, wants=20)
        yard.configure(most=20)
        yard.provider = SlurmProvider("farm", pool(cluster).model_copy(update={"acquire_within": "10s"}))
        await yard.look()
        await yard.look()
        assert sorted({slot.state for slot in await yard.slots()}) == [SlotState.UP]
        assert len(await yard.slots()) == 2 == len(await yard.provider.names() or ())
        assert "waited 10s for Slurm: PENDING" in yard.troubles["farm"]
        yard.wants = 0
        for _ in range(4):
            yard.clock.us += 11 * MINUTE_US
            await yard.look()
        assert await yard.states() == [] and await yard.provider.names() == frozenset()
        await yard.executors.close()


async def killed(cluster: Cluster, after: float) -> None:
    await asyncio.sleep(after)
    cluster.kill("slurmctld")
    await asyncio.sleep(0.5)
    cluster.start("slurmctld")
    await asyncio.to_thread(cluster.wait_ready)


if FULL:  # make torture: it needs Slurm
    test_a_job_is_a_machine = a_job_is_a_machine_whose_processes_outlive_links_and_never_the_job
    test_a_slurmctld_that_is_away = a_slurmctld_that_is_away_or_forgets_ends_no_link_and_is_not_believed
    test_a_slot_that_waits = a_slot_that_waits_in_the_queue_too_long_says_what_slurm_says
    test_slurmctld_is_killed = pytest.mark.parametrize("block", range(25))(
        slurmctld_is_killed_at_any_time_and_no_slot_is_left
    )
    test_more_slots = more_slots_than_the_cluster_has_room_for_wait_and_say_why
