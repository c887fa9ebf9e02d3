"""One task's flight: step after step until the task has ended, and what follows from each error of a step.

What each state's step does is in ``fleet/flight/steps.py``. A step begins from the store, and may begin again after
a crash or an error at any point: it goes on from what the store, the machine and git say was done before.
"""

from __future__ import annotations

import logging

from fleet.errors import (
    DiskFull,
    LeadershipLost,
    LeaseLost,
    MachineFaulty,
    Misconfigured,
    Misused,
    Refused,
    StoreUnavailable,
    Unavailable,
    Unreachable,
)
from fleet.events import LinkChanged
from fleet.flight.agent_process import AgentProcess
from fleet.flight.closing import close_sessions
from fleet.flight.moves import move
from fleet.flight.services import Services
from fleet.flight.steps import Steps
from fleet.flight.waits import StopWanted, Waits, stop_wanted
from fleet.model import ENDS, Task, TaskState
from fleet.store import sessions, tasks
from fleet.store.core import Tx
from fleet.store.recording import record

_log = logging.getLogger(__name__)

_RETRIES = (1.0, 5.0, 15.0)
_AGAIN_S = 5.0
_RECONFIGURED_S = 60.0


class Flight:
    """Takes one task from where it stands to an end, or to waiting for a person. ``task``: as last read."""

    def __init__(self, services: Services, task: Task) -> None:
        self._services = services
        self.task = task
        self._waits = Waits(services.store, services.clock, task.id)
        self._agent = AgentProcess(services, task)
        self._steps = Steps(services, self._agent, self._waits)
        self._failures = 0
        self._reached = True

    def wake(self) -> None:
        """Something concerning this task changed in the store."""
        self._waits.wake()
        self._agent.wake()

    async def fly(self) -> None:
        """Steps until the task has ended. Cancelling leaves everything as it stands, to be gone on with.

        Raises ``StoreUnavailable`` and ``LeadershipLost``: who runs it waits, and calls it again, or ends. A bug
        in a step ends this task as lost, and stops no other.
        """
        try:
            while await self._step():
                pass
        finally:
            await self._agent.close()  # what was read and not committed is dropped with it, and read again

    async def _step(self) -> bool:
        """One step, whatever comes of it; False once the task has ended and its sessions are closed."""
        try:
            return await self._guarded_step()
        except (StoreUnavailable, LeadershipLost):
            raise
        except LeaseLost as error:
            _log.info("task %s: %s", self.task.id, error)
            await self._agent.close()
            await self._waits.wait(1.0)
        except Exception as error:
            _log.exception("task %s in %s", self.task.id, self.task.state)
            if self.task.state in ENDS:
                raise
            await self._end(TaskState.LOST, f"internal error ({type(error).__name__})")
        return True

    async def _guarded_step(self) -> bool:
        self._waits.begin()
        self.task, stop = await self._services.store.read(self._look)
        try:
            if self.task.state in ENDS:
                await close_sessions(self._services, self.task, self._agent)
                return False
            if stop:
                await self._steps.stop(self.task)
            else:
                await self._steps.step(self.task)
            self._failures = 0
            await self._reach(up=True, why="")
        except StopWanted:
            _log.info("task %s is stopped in the middle of %s", self.task.id, self.task.state)
        except Misconfigured as error:
            await self._wait_because(f"waiting: {error.cause or error}", _RECONFIGURED_S)
        except (Refused, Misused) as error:
            await self._end(TaskState.REFUSED, str(error))
        except Unreachable as error:
            await self._reach(up=False, why=error.cause or str(error))
            await self._wait_because(f"waiting for the link: {error.cause or error}", _AGAIN_S)
        except MachineFaulty as error:
            await self._reach(up=False, why=f"faulty answer: {error.cause or error}")
            faulty = f"waiting: {error.on or 'the machine'} gives faulty answers: {error.cause or error}"
            await self._wait_because(faulty, _AGAIN_S)
        except DiskFull as error:
            await self._wait_because(f"waiting: {error}", _AGAIN_S)
        except Unavailable as error:
            self._failures += 1
            if error.retry and self._failures <= len(_RETRIES):
                await self._waits.wait(_RETRIES[self._failures - 1])
            else:
                await self._end(TaskState.UNAVAILABLE, str(error))
        return True

    def _look(self, tx: Tx) -> tuple[Task, bool]:
        return tasks.task(tx, self.task.id), stop_wanted(tx, self.task.id)

    async def _end(self, state: TaskState, why: str) -> None:
        await self._services.store.write(lambda tx: move(tx, self.task.id, state, why))

    async def _wait_because(self, why: str, seconds: float) -> None:
        """Waits for news, at most so long; the task says why."""
        if why != self.task.why:
            await self._services.store.write(lambda tx: tasks.explain(tx, self.task.id, why))
        await self._waits.wait(seconds)

    async def _reach(self, *, up: bool, why: str) -> None:
        """Tells once that a machine is away while a step needs it, and once that it is back."""
        if up == self._reached:
            return

        def work(tx: Tx) -> None:
            if found := sessions.of_task(tx, self.task.id):
                record(tx, LinkChanged(up, why[:500]), found[-1])

        await self._services.store.write(work)
        self._reached = up
