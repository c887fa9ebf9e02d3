"""Runs a flight for every open task, across restarts, for as long as this controller leads.

It decides nothing: ``fleet/flight/flight.py`` decides a task's next step, the gatekeeper whether it may land.
"""

from __future__ import annotations

import asyncio
import contextlib
from dataclasses import dataclass

from fleet.events import ControllerStarted, Recorded, SessionEnded, Source, TaskMoved
from fleet.flight.flight import Flight
from fleet.flight.placer import Placer
from fleet.flight.services import Services
from fleet.flight.sharing import Led
from fleet.model import AIRBOSS, ENDS
from fleet.store import ledger, sessions, tasks
from fleet.store.core import Tx
from fleet.supervise import Component, Supervisor

_LOOK_EVERY_S = 10.0
_LOOK_SHARED_S = 2.0  # where another controller may be gone
_FREE_A_SLOT = (*sessions.SLOTLESS, *ENDS)


@dataclass(frozen=True, slots=True)
class _RunningFlight:
    """A flight, and the component that runs it."""

    flight: Flight
    component: Component


class Dispatcher:
    """Runs a flight for each open task, each as its own component.

    It cannot be built without a gatekeeper (in ``services``).
    """

    def __init__(self, services: Services, supervisor: Supervisor, version: str) -> None:
        self._services, self._supervisor, self._version = services, supervisor, version
        self._flights: dict[str, _RunningFlight] = {}
        self.placer = Placer(services)
        self._placing: Component | None = None
        self._announced = False
        self._woken = asyncio.Event()
        services.store.observe(self._note)
        services.store.hear(self._heard)
        services.store.when_unsure(self.woken)
        services.locks.wakes(self.woken)
        if services.sharing is not None:
            services.sharing.connect(services.slot_line, services.landing_queue, self.woken)

    def wake(self, task_id: str = "") -> None:
        """A task was requested, or something about one changed; without an id, about any task.

        Harmless when nothing changed. Other controllers hear of it too.
        """
        self.woken(task_id)
        if self._services.sharing is not None:
            self._services.sharing.tell(task_id)

    def woken(self, task_id: str = "") -> None:
        """The same, for this controller alone."""
        for running_id, running in self._flights.items():
            if task_id in ("", running_id):
                running.flight.wake()
        self._services.slot_line.changed.set()
        self._woken.set()

    async def run(self) -> None:
        """Runs until cancelled, which also ends the flights; the tasks keep their state. Raises
        ``StoreUnavailable``: call it again, and it continues without disturbing the running flights."""
        sharing = self._services.sharing
        try:
            if sharing is not None:
                sharing.begin()
            if sharing is None or sharing.coordinates:
                await self._announce()
                if self._placing is None:
                    self._placing = self._supervisor.run("placer", self.placer.run)
            while True:
                self._woken.clear()
                for led in await self._led():
                    self._launch(led)
                with contextlib.suppress(TimeoutError):
                    async with asyncio.timeout(_LOOK_EVERY_S if sharing is None else _LOOK_SHARED_S):
                        await self._woken.wait()
        except asyncio.CancelledError:
            await self._end_flights()
            if self._placing is not None:
                await self._placing.end()
            raise

    async def let_go(self) -> None:
        """Ends the flights; the tasks keep their state. Those that are still led here are run again."""
        await self._end_flights()
        self._woken.set()

    async def _led(self) -> list[Led]:
        """The tasks to run here."""
        store, sharing = self._services.store, self._services.sharing
        if sharing is not None:
            return await sharing.led(store)
        return [Led(task, None) for task in await store.read(tasks.unfinished)]

    async def _announce(self) -> None:
        if self._announced:
            return
        open_tasks = await self._services.store.read(tasks.open_tasks)
        started = ControllerStarted(self._version, tuple(task.id for task in open_tasks))
        await self._services.store.write(
            lambda tx: ledger.append(tx, started, actor=AIRBOSS, source=Source.CONTROLLER)
        )
        self._announced = True

    def _launch(self, led: Led) -> None:
        task = led.task
        if task.id in self._flights:
            return
        flight = Flight(self._services, task, led.lead)

        async def run_flight() -> None:
            await flight.run()
            self._flights.pop(task.id, None)
            self._woken.set()

        self._flights[task.id] = _RunningFlight(
            flight, self._supervisor.run(f"task {task.id}", run_flight, ends=True)
        )

    async def _end_flights(self) -> None:
        components = [running.component for running in self._flights.values()]
        self._flights.clear()
        for component in components:
            await component.end()

    def _note(self, tx: Tx, recorded: Recorded) -> None:
        if _may_free_a_slot(recorded):
            tx.after_commit(self._services.slot_line.slot_free)

    def _heard(self, recorded: Recorded) -> None:
        if _may_free_a_slot(recorded):
            self._services.slot_line.slot_free()


def _may_free_a_slot(recorded: Recorded) -> bool:
    """A slot may be free, or a task has ended for which others wait."""
    event = recorded.event
    return isinstance(event, SessionEnded) or (isinstance(event, TaskMoved) and event.new in _FREE_A_SLOT)
