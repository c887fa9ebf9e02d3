"""The disks of the machines: what we use of each, what is free, and where nothing new starts because it is full.

A disk that is almost full is first freed of the worktrees whose work is safe. Only if that was not enough does the
machine get no new task, until there is room again.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Awaitable, Callable
from dataclasses import replace
from typing import Final

from fleet.config import FleetConfig
from fleet.config.values import size_bytes
from fleet.errors import AirbossError
from fleet.exits import succeeded
from fleet.machines.executors import Executors
from fleet.machines.watch import DiskSeen
from fleet.ports import Clock, Executor
from fleet.supervise import side_by_side

_EVERY_S: Final = 30.0
_MEASURE_EVERY_US: Final = 600_000_000
_PATIENCE_S: Final = 15.0
_MEASURE = 'du -sk -- "$1" 2> /dev/null | tail -n 1'


class Disks:
    """``reclaim`` frees what is safe on a machine. ``full`` has the free bytes of machines where nothing new
    starts."""

    def __init__(
        self,
        config: Callable[[], FleetConfig],
        executors: Executors,
        clock: Clock,
        reclaim: Callable[[str], Awaitable[None]],
    ) -> None:
        self._config, self._executors, self._clock, self._reclaim = config, executors, clock, reclaim
        self.seen: dict[str, DiskSeen] = {}
        self.full: dict[str, int] = {}

    async def run(self) -> None:
        """Until cancelled."""
        while True:
            await self.look()
            await self._clock.sleep(_EVERY_S)

    async def look(self) -> None:
        """Looks at every machine once. One that does not answer keeps what was last seen."""
        names = list(self._config().machines)
        for known in (self.seen, self.full):
            for gone in known.keys() - set(names):
                del known[gone]
        await side_by_side([self._look_at(name) for name in names], "look at a disk")

    async def _look_at(self, name: str) -> None:
        with contextlib.suppress(AirbossError, TimeoutError):
            free = await self._free(name)
            if free < self._least and name not in self.full:
                await self._reclaim(name)
                free = await self._free(name)
            if free < self._least:
                self.full[name] = free
            else:
                self.full.pop(name, None)
            self.seen[name] = replace(self.seen[name], full=name in self.full)
            await self._measure(name)

    @property
    def _least(self) -> int:
        return size_bytes(self._config().limits.low_disk)

    async def _free(self, name: str) -> int:
        async with asyncio.timeout(_PATIENCE_S):
            free = (await self._executors.agent(name).facts()).disk_free
        self.seen[name] = replace(self.seen.get(name, DiskSeen(free)), free=free)
        return free

    async def _measure(self, name: str) -> None:
        seen, now = self.seen[name], self._clock.now_us()
        if seen.measured_us and now - seen.measured_us < _MEASURE_EVERY_US:
            return
        config = self._config()
        machine = config.machines[name]
        logins = [self._executors.agent(name, login) for login in machine.agent_logins]
        if machine.runs_gates(config.isolation):
            logins += [self._executors.gate(name, login) for login in machine.gates_alone]
        used = sum([await _used(login) for login in dict.fromkeys(logins)])
        self.seen[name] = replace(self.seen[name], used=used, measured_us=now)


async def _used(login: Executor) -> int:
    await login.facts()
    ran = await login.run(["sh", "-c", _MEASURE, "measure", login.root], timeout=120.0, limit=4_096)
    kilobytes = ran.out.split()[:1]
    return int(kilobytes[0]) * 1024 if succeeded(ran.exit) and kilobytes and kilobytes[0].isdigit() else 0
