"""A disk that is almost full: safe worktrees go first, then nothing new starts there, and the admins hear of it."""

from __future__ import annotations

from pathlib import Path

from bot.cards import shown
from bot.telemetry_view import machine_line
from fleet.clock import SystemClock
from fleet.config import FleetConfig, Limits, MachineConfig
from fleet.flight.placement import FleetNow, Placed, Waiting, place
from fleet.machines.disks import Disks
from fleet.machines.executors import Executors
from fleet.machines.watch import DiskSeen, MachineSeen, MachineState
from fleet.model import Isolation
from tests.unit.test_placement import FLEET, wants


async def test_safe_work_is_reclaimed_before_nothing_new_starts(tmp_path: Path) -> None:
    machines = {"box": MachineConfig(executor="local", home=str(tmp_path / "box"), gates=False)}
    configs = [
        FleetConfig(isolation=Isolation.UNSAFE_SAME_USER, machines=machines, limits=Limits(low_disk="99999T"))
    ]
    executors, reclaimed = Executors(configs[0], tmp_path), list[str]()

    async def reclaim(machine: str) -> None:
        assert machine not in disks.full, "reclaiming comes first"
        reclaimed.append(machine)

    disks = Disks(lambda: configs[0], executors, SystemClock(), reclaim)
    try:
        await disks.look()
        await disks.look()
        assert (reclaimed, list(disks.full), disks.seen["box"].full) == (["box"], ["box"], True)
        assert disks.seen["box"].used > 0, "the runner's own files are there"
        configs[0] = configs[0].model_copy(update={"limits": Limits(low_disk="1M")})
        await disks.look()
        assert (reclaimed, list(disks.full), disks.seen["box"].full) == (["box"], [], False)
    finally:
        await executors.close()


def test_a_full_machine_takes_nothing_new_and_says_so() -> None:
    now = FleetNow(FLEET, full={"evo-x2"})
    assert place(wants(), now) == Placed("macbook", ("evo-x2: its disk is almost full",))
    only = place(wants("evo-x2"), now)
    assert only == Waiting("evo-x2: its disk is almost full")


def test_machines_shows_what_is_ours_and_what_is_free() -> None:
    config = MachineConfig(executor="local", slots=2)

    def told(disk: DiskSeen, *, whole: bool) -> str:
        seen = MachineSeen(MachineState.WELL, 5_000_000, load_milli=500, disk=disk)
        return shown(machine_line("box", config, 1, seen, 10_000_000, disk=whole))

    room = DiskSeen(free=20 << 30, used=700 << 20, measured_us=1)
    assert told(room, whole=True) == "● box 1/2 load 0.5 · 5 s ago · disk: 700 MB ours, 20.0 GB free"
    assert told(room, whole=False) == "● box 1/2 load 0.5 · 5 s ago"
    full = DiskSeen(free=1 << 30, full=True)
    line = "⚠ box 1/2 load 0.5 · 5 s ago · disk: 1.0 GB free, almost full: nothing new starts"
    assert told(full, whole=False) == line
