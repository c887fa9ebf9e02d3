"""Keeps the locks of tasks: renewed while the task lives, released when it ends or has waited for too long."""

from __future__ import annotations

from collections.abc import Callable
from typing import Final

from fleet.config import FleetConfig
from fleet.locks import Hold, HoldEnd
from fleet.model import ENDS
from fleet.ports import Clock
from fleet.store import leases, locks, sessions, tasks
from fleet.store.core import Store, Tx
from gates.locks import book
from gates.locks.guard import TTL_US, waits_since
from gates.locks.remembered import Remembered
from gates.locks.service import LockService

_EVERY_S: Final = 20.0
_HOUR_US: Final = 3_600_000_000


class LockKeeper:
    """A component of the controller that leads: only it renews."""

    def __init__(self, store: Store, service: LockService, config: Callable[[], FleetConfig], clock: Clock) -> None:
        self._store, self._service, self._config, self._clock = store, service, config, clock

    async def run(self) -> None:
        """Until cancelled."""
        while True:
            await self.look()
            await self._clock.sleep(_EVERY_S)

    async def look(self) -> None:
        """Renews or ends each task's hold, once."""
        keep_us = self._config().limits.keep_locks_hours * _HOUR_US

        def work(tx: Tx) -> None:
            held = [hold for hold in locks.open_holds(tx) if hold.task]
            ended = [hold for hold in held if not _kept(tx, hold, keep_us, self._service.remembered)]
            if ended:
                self._service.serve(tx)

        await self._store.write(work)


def _kept(tx: Tx, hold: Hold, keep_us: int, remembered: Remembered) -> bool:
    """Renews a hold, or ends it."""
    task = tasks.task(tx, hold.task)
    if task.state in ENDS:
        book.release(tx, hold, HoldEnd.DONE)
        return False
    found = sessions.of_task(tx, task.id)
    since_us = waits_since(tx, task, found[-1] if found else None)
    if since_us and tx.now_us() - since_us > keep_us:
        book.release(tx, hold, HoldEnd.WAITED)
        return False
    if not leases.held(tx, hold.lease):
        book.release(tx, hold, HoldEnd.EXPIRED)
        return False
    remembered.renewed(tx, book.renew(tx, hold, TTL_US), TTL_US)
    return True
