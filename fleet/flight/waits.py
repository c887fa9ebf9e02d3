"""A flight's waits. Each ends early when a person stops the task or something about it changes."""

from __future__ import annotations

import asyncio
from collections.abc import Coroutine
from typing import Any, Final, TypeVar

from fleet.landing.outcome import Doing
from fleet.model import ENDS, Task
from fleet.ports import Clock
from fleet.store import landings, tasks
from fleet.store.core import Store, Tx
from fleet.supervise import alongside, first

T = TypeVar("T")

WAITING: Final = "waiting"
"""How the words of a task begin that cannot go on for now."""

_PATIENCE_S: Final = 20.0


class StopWanted(Exception):
    """A person stopped the task while a step waited. The next step ends it."""


def stop_wanted(tx: Tx, task_id: str) -> bool:
    """Whether to end the task now: a person asked for it, and it has not ended, and may not have landed."""
    if not tasks.stop_requested(tx, task_id) or landings.may_have_landed(tx, task_id):
        return False
    return tasks.task(tx, task_id).state not in ENDS


class Waits:
    """The waits of one task's flight."""

    def __init__(self, store: Store, clock: Clock, task_id: str) -> None:
        self._store, self._clock, self._task_id = store, clock, task_id
        self._woken = asyncio.Event()
        self.patience_s = _PATIENCE_S

    def wake(self) -> None:
        """Something about the task changed in the store. Ends the current wait, or else the next one."""
        self._woken.set()

    def begin(self) -> None:
        """Call before a step reads anything: news from now on ends its next wait."""
        self._woken.clear()

    async def stopped(self) -> bool:
        """Whether the task must end now."""
        return await self._store.read(lambda tx: stop_wanted(tx, self._task_id))

    async def wait(self, seconds: float) -> None:
        """Waits for news, at most ``seconds``. Returns immediately when the task must stop."""
        if not await self.stopped():
            await first(self._woken.wait(), self._clock.sleep(seconds))

    async def told(self) -> None:
        """Waits for news, however long that takes. Returns immediately when the task must stop."""
        if not await self.stopped():
            await self._woken.wait()

    async def over(self, task: Task) -> None:
        """What the task waited for is there: it no longer says that it waits."""
        if task.why.startswith(WAITING):
            await self._store.write(lambda tx: tasks.explain(tx, self._task_id, ""))

    async def news(self) -> None:
        """Waits until the task is woken after :meth:`begin`."""
        await self._woken.wait()

    async def unless_stopped(self, work: Coroutine[Any, Any, T], what: Doing) -> T:
        """The result of ``work``. If the task is stopped first, cancels ``work`` and raises ``StopWanted``.

        Only for work that may be interrupted and started again. What another host may hold up for long is told.
        """
        async with alongside(work, f"{self._task_id}: {what.value}") as doing:
            while True:
                self._woken.clear()
                if await self.stopped():
                    raise StopWanted
                try:
                    async with asyncio.timeout(self.patience_s if what.asks_repository else None):
                        await first(doing, self._woken.wait())
                except TimeoutError:
                    await self._tell_of_silence()
                    await first(doing, self._woken.wait())
                if doing.done():
                    return await doing

    async def _tell_of_silence(self) -> None:
        why = f"{WAITING} for its repository: it has not answered for {self.patience_s:.0f} s"
        await self._store.write(lambda tx: tasks.explain(tx, self._task_id, why))
