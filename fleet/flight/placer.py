"""The one place that gives slots to tasks: in order, and reserved in the store before anything is fetched."""

from __future__ import annotations

from functools import partial
from typing import Final

from fleet.failpoints import failpoint
from fleet.flight import starting
from fleet.flight.services import Services
from fleet.store import queue
from fleet.store.core import Tx
from fleet.supervise import first

_LOOK_AGAIN_S: Final = 10.0
"""For what tells nobody that it changed: an account that is usable again."""


class Placer:
    """Places the tasks that wait for a slot, and wakes in order those that have got one."""

    def __init__(self, services: Services) -> None:
        self._services = services

    async def run(self) -> None:
        """Until cancelled. Raises ``StoreUnavailable``: call it again."""
        line = self._services.slot_line
        while True:
            line.changed.clear()
            await self.look()
            await first(line.changed.wait(), self._services.clock.sleep(_LOOK_AGAIN_S))

    async def look(self) -> None:
        """Places once. One that changes nothing writes nothing.

        It also wakes whoever was given a slot and was not told: by a commit whose answer was lost, for one.
        """
        services, known, standing = self._services, self.known(), self._services.slot_line.standing_now

        def see(tx: Tx) -> tuple[bool, list[str]]:
            return starting.changes(tx, known), queue.called(tx, standing)

        changes, called = await services.store.read(see)
        for task_id in called:
            services.slot_line.wake(task_id)
        if not changes:
            return
        ready = await services.store.write(partial(starting.reserve, known=known))
        failpoint("slot-reserved")
        for task_id in ready:
            services.slot_line.wake(task_id)

    def known(self) -> starting.FleetSeen:
        """What it knows beside the store."""
        services, line = self._services, self._services.slot_line
        return starting.FleetSeen(
            services.config(),
            seen=dict(services.machines_seen),
            full=tuple(services.full_disks),
            returning=line.returning(),
            aside=frozenset(line.aside),
            troubles=dict(services.pool_troubles),
            zone=services.zone,
        )
