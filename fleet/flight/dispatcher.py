"""Keeps every open task in flight, across restarts, for as long as this controller leads.

Decides nothing: what a task does next is ``fleet/flight/flight.py``, whether it may land is the gatekeeper's.
"""

from __future__ import annotations

import asyncio
import contextlib

from fleet.errors import AirbossError
from fleet.events import ControllerStarted, Recorded, SessionEnded
from fleet.events import Source as Said
from fleet.flight.flight import Flight
from fleet.flight.services import AIRBOSS, Services
from fleet.model import TaskState
from fleet.store import ledger, tasks
from fleet.store.core import Tx

_RETENTION_EVERY_S = 3600.0


class Dispatcher:
    """Runs a flight for each open task. Built with a gatekeeper (inside ``services``) or not at all."""

    def __init__(self, services: Services, version: str) -> None:
        self._services = services
        self._version = version
        self._flights: dict[str, Flight] = {}
        self._running: dict[str, asyncio.Task[None]] = {}
        self._woken = asyncio.Event()
        services.store.observe(self._note)

    def wake(self, task_id: str = "") -> None:
        """A task was requested, or something about one changed. Safe to call for nothing."""
        flight = self._flights.get(task_id)
        if flight is not None:
            flight.wake()
        self._woken.set()

    async def run(self) -> None:
        """Until cancelled. Raises ``LeadershipLost``, or what broke the store."""
        open_tasks = await self._services.store.read(tasks.open_tasks)
        started = ControllerStarted(self._version, tuple(task.id for task in open_tasks))
        await self._services.store.write(
            lambda tx: ledger.append(tx, started, actor=AIRBOSS, source=Said.CONTROLLER)
        )
        retention = asyncio.create_task(self._retain(), name="retention")
        try:
            while True:
                self._woken.clear()
                await self._launch()
                self._reap()
                with contextlib.suppress(TimeoutError):
                    async with asyncio.timeout(10):
                        await self._woken.wait()
        finally:
            retention.cancel()
            for running in self._running.values():
                running.cancel()
            await asyncio.gather(retention, *self._running.values(), return_exceptions=True)

    async def _launch(self) -> None:
        for task in await self._services.store.read(tasks.unfinished):
            if task.id in self._running:
                continue
            flight = Flight(self._services, task)
            self._flights[task.id] = flight
            self._running[task.id] = asyncio.create_task(flight.fly(), name=f"fly {task.id}")
            self._running[task.id].add_done_callback(lambda _: self._woken.set())

    def _reap(self) -> None:
        for task_id, running in list(self._running.items()):
            if not running.done():
                continue
            del self._running[task_id], self._flights[task_id]
            if not running.cancelled() and (error := running.exception()) is not None:
                raise error

    def _note(self, tx: Tx, recorded: Recorded) -> None:
        """A slot that becomes free is news for every task that waits for one."""
        if isinstance(recorded.event, SessionEnded):
            tx.after_commit(self._slot_free)

    def _slot_free(self) -> None:
        for flight in self._flights.values():
            if flight.task.state is TaskState.QUEUED:
                flight.wake()

    async def _retain(self) -> None:
        """Spools of processes that ended long ago go; a machine that is away keeps its own until it is back."""
        while True:
            config = self._services.config()
            older_than = config.limits.spool_retention_days * 86_400_000_000
            for name, machine in config.machines.items():
                executors = [self._services.executors.agent(name)]
                if machine.runs_gates(config.isolation) and machine.gate_login != machine.agent_login:
                    executors.append(self._services.executors.gate(name))
                for executor in executors:
                    with contextlib.suppress(AirbossError):
                        await executor.forget(older_than)
            await self._services.clock.sleep(_RETENTION_EVERY_S)
