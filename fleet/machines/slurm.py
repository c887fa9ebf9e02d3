"""The ``Executor`` for a slot that is a job of Slurm's.

The job's first process is a door (``runner/door.py``) in a PID namespace. A link is a job step that asks the door
for ``serve``: what is started there belongs to the job, not to the step, so a link that breaks ends nothing, and
nothing outlives the job.
"""

from __future__ import annotations

import asyncio
import os
import subprocess
from collections.abc import Sequence
from functools import cache
from pathlib import Path
from typing import Unpack

from fleet import processes
from fleet.errors import Unreachable
from fleet.machines.bootstrap import serve_command
from fleet.machines.local import LocalExecutor, become
from fleet.machines.login import LoginSettings


@cache
def door_source() -> str:
    """The program of the job and of its steps."""
    return (Path(__file__).parent / "runner" / "door.py").read_text(encoding="utf-8")


def door_of(job: str, home: str) -> str:
    """The directory of a job's door on its node; ``~`` is the login's home. ``home``: the pool's, if it has one."""
    return f"{home or '~/.airboss-slots'}/{job}"


def through_door(number: str, python: str, door: str, command: Sequence[str]) -> list[str]:
    """The argv that runs a command in a job, by its number; without one, it ends everything in the job."""
    bridge = [python, "-I", "-S", "-c", door_source(), "bridge", door, *command]
    return with_conf(["srun", f"--jobid={number}", "--overlap", "--quiet", "--unbuffered", *bridge])


def with_conf(argv: Sequence[str]) -> list[str]:
    """A command of Slurm's that finds its cluster, also where sudo clears the environment."""
    conf = os.environ.get("SLURM_CONF")
    return ["env", f"SLURM_CONF={conf}", *argv] if conf else [*argv]


class SlurmExecutor(LocalExecutor):
    """Reaches the job of that name."""

    def __init__(
        self, machine: str, *, job: str, door: str, run_as: str = "", **settings: Unpack[LoginSettings]
    ) -> None:
        super().__init__(machine, run_as=run_as, **settings)
        self._job, self._door = job, door

    @property
    def where(self) -> str:
        """The machine and login, for error messages."""
        return f"{super().where} (job {self._job})"

    async def _serve(self) -> list[str]:
        serve = serve_command(self._python, self._root or "@", self.takes_compiled)
        return through_door(await self._number(), self._python, self._door, serve)

    async def _number(self) -> str:
        """The number of the job that runs under the name now: Slurm may use numbers again, names never."""
        asked = ["squeue", "--noheader", "--me", "--states=R", f"--name={self._job}", "--format=%A"]
        process = await processes.start(
            *become(self._login),
            *with_conf(asked),
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            env={"PATH": os.environ.get("PATH", os.defpath)},
        )
        try:
            out, complaint = await process.communicate()
        finally:
            if process.returncode is None:
                await asyncio.shield(processes.end(process))
        numbers = out.decode("utf-8", "replace").split()
        if process.returncode or len(numbers) != 1 or not numbers[0].isdigit():
            said = complaint.decode("utf-8", "replace").strip()[-200:]
            raise Unreachable(
                attempted="reach the machine",
                on=self.where,
                cause=said or f"Slurm has {len(numbers)} running jobs of that name",
                hint="squeue shows what Slurm has",
            )
        return numbers[0]
