"""What becomes of a gate whose machine goes away in the middle: nothing is guessed, and a person is told."""

from __future__ import annotations

import asyncio
import itertools
import shutil
import subprocess
from dataclasses import replace
from pathlib import Path

import pytest

from fleet.config import MachineConfig
from fleet.errors import MachineFull, Unreachable
from fleet.faults import Fault, Point, injected
from fleet.machines.executors import Executors
from fleet.machines.local import LocalExecutor
from fleet.ports import Executor, LoginFacts
from fleet.store import tasks
from fleet.verdict import Outcome
from tests.far_end.tools import GATE_TOOLS
from tests.scenarios.gate_house import WAITING, House, airboss_toml, begun

REPORT = '<testsuite tests="1"><testcase name="a"/></testsuite>'
#: Where a run is followed, and where its report is read.
FOLLOWED = (
    "login.LoginExecutor._link < login.LoginExecutor.attach < watch._read < watch.watch"
    " < attempt.Suite._watch_run < attempt.Suite._attempt_at"
)
READ = (
    "login.LoginExecutor._link < login.LoginExecutor._stream < login.LoginExecutor.read_file"
    " < place.retry_unreachable < counting.left_at < counting.read_report"
)


class Restarting(LocalExecutor):
    """A machine that has another boot whenever it is looked at."""

    boots = itertools.count()

    async def facts(self) -> LoginFacts:
        return replace(await super().facts(), boot=f"b{next(self.boots)}")


class Machines(Executors):
    """Where every gate runs on such a machine."""

    def gate(self, machine: str, login: str = "") -> Executor:
        home = self._config.machines[machine].home
        made = self._made.setdefault(
            (machine, ""), (self._config.machines[machine], Restarting(machine, root=f"{home}/.airboss"))
        )
        return made[1]


async def test_a_machine_that_lost_all_it_had_of_us_is_used_again_and_its_restart_is_named(tmp_path: Path) -> None:
    house = House(
        tmp_path, {"airboss.toml": airboss_toml("/bin/sh", "-c", WAITING)}, attempts=2, executors=Machines
    )
    async with house.open() as judge:
        judging = asyncio.create_task(judge.pipeline.judge(await judge.candidate()))
        await begun(tmp_path)
        shutil.rmtree(tmp_path / "machine" / ".airboss")
        while not (again := list(tmp_path.glob("machine/.airboss/gates/*/home/count"))):
            assert not judging.done(), judging.result().reasons
            await asyncio.sleep(0.02)
        (again[0].parent / "go").touch()
        verdict = await judging
    assert verdict.outcome is Outcome.PASSED
    assert "tests: passed on run 2; run 1 lost: its machine restarted" in verdict.reasons


async def test_a_link_that_is_down_is_told_and_a_report_that_cannot_be_read_is_not_missing(tmp_path: Path) -> None:
    toml = airboss_toml("/bin/sh", "-c", f"{WAITING}; echo '{REPORT}' > {{junit}}")
    house = House(tmp_path, {"airboss.toml": toml}, attempts=1)
    async with house.open() as judge:
        candidate = await judge.candidate()

        async def why() -> str:
            return (await judge.store.read(lambda tx: tasks.task(tx, candidate.task.id))).why

        with injected(Fault(Point.MACHINE_CALL, times=3, site=FOLLOWED)):
            judging = asyncio.create_task(judge.pipeline.judge(candidate))
            while not (said := await why()):
                assert not judging.done(), judging.result().reasons
                await asyncio.sleep(0.02)
        with injected(Fault(Point.MACHINE_CALL, times=4, site=READ)), pytest.raises(Unreachable):
            (await begun(tmp_path) / "go").touch()
            await judging
        assert said == "waiting for the link to here: injected fault: the link is down"
        judging = asyncio.create_task(judge.pipeline.judge(candidate))
        (await begun(tmp_path) / "go").touch()
        assert (await judging).outcome is Outcome.PASSED
        assert await why() == "", "what it waited for is there"
        closed = [item.event.body()["outcome"] for item in await judge.events("gate.closed")]
    assert closed == ["unavailable", "passed"]


@pytest.mark.needs_root
async def test_a_machine_whose_disk_is_full_is_waited_for(tmp_path: Path) -> None:
    """Before a gate begins there, and in the middle of one."""
    disk, loud = tmp_path / "machine", "head -c 3000000 /dev/zero"
    disk.mkdir()
    subprocess.run(["mount", "-t", "tmpfs", "-o", "size=2m,mode=0777", "tmpfs", str(disk)], check=True)
    try:
        here = {"executor": "local", "labels": ["linux"], "home": str(disk), "run_disk": "1G", **GATE_TOOLS}
        machines = {"here": MachineConfig.model_validate(here)}
        toml = airboss_toml("/bin/sh", "-c", f"{WAITING}; {loud}")
        house = House(tmp_path, {"airboss.toml": toml}, machines=machines)
        async with house.open() as judge:
            candidate = await judge.candidate()
            (disk / "ballast").write_bytes(bytes((2 << 20) - 8192))
            with pytest.raises(MachineFull):
                await judge.pipeline.judge(candidate)
            (disk / "ballast").unlink()
            judging = asyncio.create_task(judge.pipeline.judge(candidate))
            (await begun(tmp_path) / "go").touch()
            said, wanted = "", "waiting for room on the disk of here: No space left on device"
            while said != wanted:
                assert not judging.done(), judging.result().reasons
                await asyncio.sleep(0.02)
                said = (await judge.store.read(lambda tx: tasks.task(tx, candidate.task.id))).why
            subprocess.run(["mount", "-o", "remount,size=20m", str(disk)], check=True)
            assert (await judging).outcome is Outcome.PASSED
    finally:
        subprocess.run(["umount", "-l", str(disk)], check=True)
