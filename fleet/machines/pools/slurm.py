"""A provider of slots that submits a job to Slurm for each.

Numbers, exits and cancels of Slurm's are not believed: a slot is its job's name, which nobody uses again; what ran
in it ended only if our own record says so; and the door in the job ends by itself when nobody came at first, or was
there for a day, should Slurm ever forget the job while it runs.
"""

from __future__ import annotations

import asyncio
import logging
import os
import pwd
import shlex
from collections.abc import Sequence
from typing import Final

from fleet.config import PoolConfig
from fleet.config.pools import JobTarget, Target
from fleet.config.values import duration_us
from fleet.errors import Unavailable
from fleet.logins import account as own_account
from fleet.machines.local import become
from fleet.machines.pools.running import failed, output
from fleet.machines.slurm import door_of, door_source, through_door, with_conf
from fleet.untrusted import clean

_log = logging.getLogger(__name__)

_PATIENCE_S: Final = 60.0
_LOOK_S: Final = 2.0
_DOOR_S: Final = 15.0
_LEASH_S: Final = 86_400

_JOB: Final = """#!/bin/sh
own=; [ "$(id -u)" = 0 ] || own='--user --map-current-user'
exec unshare $own --pid --fork --kill-child --mount-proc {python} -I -S -c {door} door {first} {leash} {directory}
"""


class SlurmProvider:
    """Each slot is a job of one task, under the slot's name, with the name in its comment too."""

    def __init__(self, pool: str, config: PoolConfig) -> None:
        self._pool, self._config = pool, config

    async def acquire(self, name: str) -> Target:
        """Submits the job, and waits until it runs."""
        if not await self._states(name):
            script = _JOB.format(
                python=shlex.quote(self._config.python),
                door=shlex.quote(door_source()),
                first=duration_us(self._config.acquire_within) // 1_000_000,
                leash=_LEASH_S,
                directory=shlex.quote(door_of(name, self._config.home)),
            )
            fixed = [f"--job-name={name}", f"--comment={name}", "--no-requeue", "--output=/dev/null", "--ntasks=1"]
            await self._run("acquire", ["sbatch", "--parsable", *self._config.options, *fixed], script)
        await self._until_it_runs(name)
        return JobTarget(job=name)

    async def release(self, name: str, target: str) -> None:
        """Ends everything in the job through its door, cancels it, and waits until Slurm no longer has it."""
        for number in (await self._squeue(name, "%A", "--states=R")).split():
            try:
                door = door_of(name, self._config.home)
                await self._run("release", through_door(number, self._config.python, door, ()), seconds=_DOOR_S)
            except Unavailable as error:
                _log.info("%s: its door was not there: %s", name, error)
        await self._run("release", ["scancel", f"--name={name}"])
        for _ in range(round(_PATIENCE_S / _LOOK_S)):
            if not await self._states(name):
                break
            await asyncio.sleep(_LOOK_S)
        else:
            raise self._failed("release", "was answered, and Slurm still has the job")
        await self._run("release", ["rm", "-rf", "--", self._directory(name)])

    async def names(self) -> frozenset[str] | None:
        """The names of all jobs of the login."""
        return frozenset((await self._run("inventory", ["squeue", "--noheader", "--me", "--format=%j"])).split())

    def _directory(self, name: str) -> str:
        """The slot's directory as this machine sees it, if it is a node or shares its file system."""
        account = pwd.getpwnam(self._config.run_as) if self._config.run_as else own_account()
        return door_of(name, self._config.home).replace("~", account.pw_dir, 1)

    async def _until_it_runs(self, name: str) -> None:
        waits = ""
        try:
            async with asyncio.timeout(duration_us(self._config.acquire_within) / 1_000_000):
                while True:
                    states = await self._states(name)
                    if not states:
                        raise self._failed("acquire", "got a job that ended at once")
                    if any(state.startswith("RUNNING ") for state in states):
                        return
                    waits = clean(states[0], 100)
                    await asyncio.sleep(_LOOK_S)
        except TimeoutError:
            raise self._failed("acquire", f"waited {self._config.acquire_within} for Slurm: {waits}") from None

    async def _states(self, name: str) -> list[str]:
        return [line for line in (await self._squeue(name, "%T %r")).splitlines() if line.strip()]

    async def _squeue(self, name: str, wanted: str, *options: str) -> str:
        argv = ["squeue", "--noheader", "--me", f"--name={name}", f"--format={wanted}", *options]
        return await self._run("squeue", argv)

    async def _run(self, what: str, argv: Sequence[str], said: str = "", *, seconds: float = _PATIENCE_S) -> str:
        own = {name: value for name in ("PATH", "HOME", "USER", "LANG") if (value := os.environ.get(name))}
        before = become(self._config.run_as) if self._config.run_as else []
        out = await output(
            f"pool {self._pool}", what, [*before, *with_conf(argv)], seconds, env=own, said=said.encode()
        )
        return out.decode("utf-8", "replace")

    def _failed(self, what: str, why: str) -> Unavailable:
        return failed(f"pool {self._pool}", what, why)
