"""Wakes machines that are asleep when work waits for them, with the command that ``fleet.toml`` gives.

A machine that does not answer may be asleep or gone: nobody can tell from here. So the command is tried again with
growing pauses until the machine answers, or nothing waits for it any more.
"""

from __future__ import annotations

import asyncio
import logging
import os
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from tempfile import TemporaryFile
from typing import Final

from fleet import processes
from fleet.config import FleetConfig
from fleet.machines.watch import MachineSeen, MachineState, WakeTried, labels_of
from fleet.model import ENDS, Task
from fleet.offers import lacking
from fleet.ports import Clock
from fleet.store import queue, tasks
from fleet.store.at_work import at_work
from fleet.store.core import Store, Tx
from fleet.supervise import side_by_side
from fleet.untrusted import clean

log = logging.getLogger(__name__)

_EVERY_S: Final = 5.0
_PATIENCE_S: Final = 30.0
_PAUSES_US: Final = tuple(minutes * 60_000_000 for minutes in (1, 2, 5, 10, 30))
_SAYS: Final = 2_000
_SHOWN: Final = 100


class Waker:
    """``seen``: the machines as last seen; what was tried is kept there, until the machine answers."""

    def __init__(
        self, store: Store, config: Callable[[], FleetConfig], seen: dict[str, MachineSeen], clock: Clock
    ) -> None:
        self._store, self._config, self._seen, self._clock = store, config, seen, clock

    async def run(self) -> None:
        """Until cancelled."""
        while True:
            await self.look()
            await self._clock.sleep(_EVERY_S)

    async def look(self) -> None:
        """Tries each machine for which it is time."""
        config, now = self._config(), self._clock.now_us()
        due = [name for name, seen in self._seen.items() if _is_due(name, config, seen, now)]
        if not due:
            return
        wanted = await self._store.read(lambda tx: waited_for(tx, config, self._seen, due))
        wanted += [name for name in due if name not in wanted and self._seen[name].wanted]
        await side_by_side(
            [self._wake(name, config.machines[name].wake or ()) for name in wanted], "wake a machine"
        )

    async def _wake(self, name: str, argv: Sequence[str]) -> None:
        now, before = self._clock.now_us(), self._seen[name].wake
        log.info("waking %s: %s", name, argv[0])
        why = await _run(argv)
        if why:
            log.warning("waking %s failed: %s", name, why)
        if (seen := self._seen.get(name)) is not None and seen.state is MachineState.AWAY:
            tried = WakeTried((before.times if before else 0) + 1, now, why)
            self._seen[name] = replace(seen, wake=tried, wanted=False)


def next_try_us(tried: WakeTried) -> int:
    """When the command is tried again."""
    return tried.at_us + _PAUSES_US[min(tried.times, len(_PAUSES_US)) - 1]


def _is_due(name: str, config: FleetConfig, seen: MachineSeen, now_us: int) -> bool:
    machine = config.machines.get(name)
    if machine is None or not machine.wake or seen.state is not MachineState.AWAY:
        return False
    return seen.wake is None or now_us >= next_try_us(seen.wake)


def waited_for(tx: Tx, config: FleetConfig, seen: Mapping[str, MachineSeen], names: Sequence[str]) -> list[str]:
    """Those of the machines that a session runs on, or a queued task could start on."""
    paused = queue.pauses(tx)
    waiting = [] if queue.FLEET in paused else [task for task in queue.line(tx) if _may_start(tx, task)]
    return [
        name
        for name in names
        if at_work(tx, name)
        or (name not in paused and any(could_start(task, name, config, seen) for task in waiting))
    ]


def _may_start(tx: Tx, task: Task) -> bool:
    return not task.after or tasks.task(tx, task.after).state in ENDS


def could_start(task: Task, name: str, config: FleetConfig, seen: Mapping[str, MachineSeen]) -> bool:
    """Whether a machine that is asleep could take a task that waits."""
    repo = config.repos.get(task.repo)
    labels, all_known = labels_of(name, config.machines[name], seen)
    lacks = lacking((*(repo.needs if repo else ()), *task.needs), labels)
    return task.machine in {"", name} and (not lacks or not all_known) and task.agent not in seen[name].absent


async def _run(argv: Sequence[str]) -> str:
    """Runs the command as the controller's login. Returns what went wrong; empty: nothing."""
    env = {name: value for name in ("PATH", "HOME", "USER", "LANG") if (value := os.environ.get(name))}
    with TemporaryFile() as says:  # not a pipe: that would wait for us, and for what runs on in the background
        try:
            process = await processes.start(*argv, stderr=says, env=env)
        except OSError as error:
            return f"{argv[0]}: {error.strerror}"
        try:
            async with asyncio.timeout(_PATIENCE_S):
                status = await process.wait()
        except TimeoutError:
            return f"{argv[0]} did not end within {_PATIENCE_S:.0f} s"
        finally:
            processes.kill(process)
        said = os.pread(says.fileno(), _SAYS, 0)
    words = clean(said.decode("utf-8", "replace"), _SHOWN)
    return f"{argv[0]} exited with {status} {words}".rstrip() if status else ""
