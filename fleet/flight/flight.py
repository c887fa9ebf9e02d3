"""One task's flight: runs step after step until the task has ended, and handles each step's errors.

``fleet/flight/steps.py`` has the step of each state. A step starts from the store and may be repeated after a crash
or an error at any point: it continues from what the store, the machine and git say is already done.
"""

from __future__ import annotations

import logging

from fleet.errors import (
    DiskFull,
    LeadershipLost,
    LeaseLost,
    MachineFaulty,
    MachineFull,
    Misconfigured,
    Misused,
    NotLetIn,
    OriginAway,
    Refused,
    RepositoryUnusable,
    StoreUnavailable,
    TakenAway,
    Unavailable,
    Unreachable,
    is_shortage,
)
from fleet.events import LinkChanged
from fleet.flight import lacking
from fleet.flight.agent_process import AgentProcess
from fleet.flight.closing import close_sessions
from fleet.flight.moves import NoSlot, move
from fleet.flight.services import Services
from fleet.flight.steps import Steps
from fleet.flight.waits import StopWanted, Waits, stop_wanted
from fleet.landing.foreign import LandingsStopped
from fleet.locks import LocksWanted
from fleet.model import ENDS, Task, TaskState
from fleet.store import pool_slots, sessions, tasks
from fleet.store.core import Tx
from fleet.store.leads import Lead
from fleet.store.recording import record

_log = logging.getLogger(__name__)

_RETRIES = (1.0, 5.0, 15.0)
_AGAIN_S = 5.0
_FULL_S = 30.0
_SLOT_S = 30.0
_RECONFIGURED_S = 60.0

_NOT_BEGUN = frozenset({TaskState.QUEUED, TaskState.PREPARING})


class Flight:
    """Moves one task from its current state to an end, or until it waits for a person. ``task``: as last read.

    ``lead``: what says that this controller leads it, where several share the store.
    """

    def __init__(self, services: Services, task: Task, lead: Lead | None = None) -> None:
        self._services = services = services.under(lead)
        self.task, self._lead = task, lead
        self._waits = Waits(services.store, services.clock, task.id)
        self._agent = AgentProcess(services, task)
        self._steps = Steps(services, self._agent, self._waits, self._in_touch)
        self._failures = 0
        self._link_up = True

    def wake(self) -> None:
        """Something about this task changed in the store."""
        self._waits.wake()
        self._agent.wake()

    async def run(self) -> None:
        """Runs steps until the task has ended, or another controller leads it. Cancelling keeps the state, to
        continue later.

        Raises ``StoreUnavailable`` and ``LeadershipLost``: the caller waits and calls it again, or ends. An
        internal error in a step ends this task as lost, and no other.
        """
        try:
            while await self._step():
                pass
        finally:
            self._services.slot_line.returned(self.task.id)
            self._services.slot_line.step_back(self.task.id)
            await self._agent.close()  # output read but not committed is dropped, and read again later

    async def _step(self) -> bool:
        """Runs one step and handles its errors; False once the task has ended and its sessions are closed."""
        try:
            return await self._guarded_step()
        except (StoreUnavailable, LeadershipLost):
            raise
        except LeaseLost as error:
            _log.info("task %s: %s", self.task.id, error)
            await self._agent.close()
            await self._waits.wait(1.0)
        except Exception as error:
            if is_shortage(error):
                said = getattr(error, "strerror", None) or "out of memory"
                _log.warning("task %s in %s: %s", self.task.id, self.task.state, said)
                await self._wait_because(f"waiting: the controller's system says: {said}", _FULL_S)
                return True
            _log.exception("task %s in %s", self.task.id, self.task.state)
            if self.task.state in ENDS:
                raise
            await self._end(TaskState.LOST, "internal error: airboss.log has the details")
        finally:
            if self.task.state is TaskState.LANDING:  # as the step found it: it may have left that queue
                self._services.landing_queue.changed(self.task.repo)
        return True

    async def _guarded_step(self) -> bool:
        self._waits.begin()
        self.task, stop, mine = await self._services.store.read(self._look)
        if not mine:
            return False
        try:
            if self.task.state in ENDS:
                await close_sessions(self._services, self.task, self._agent)
                return False
            if stop:
                await self._steps.stop(self.task)
            else:
                config = self._services.config()
                self.task = await lacking.told(self._services.store, config, self.task)
                lacking.demand(config, self.task)
                await self._steps.step(self.task)
            if self.task.state is not TaskState.QUEUED:  # in which most steps only wait for a slot
                self._failures = 0
            self._services.slot_line.returned(self.task.id)
            await self._record_link(up=True, why="")
        except NoSlot as error:
            if error.machine:
                self._services.slot_line.wait_to_return(self.task.id, error.machine, self.wake)
            await self._wait_because(f"waiting for a slot: {error}", _SLOT_S)
        except StopWanted:
            _log.info("task %s was stopped while %s", self.task.id, self.task.state)
        except Misconfigured as error:
            await self._wait_because(lacking.waiting(error), _RECONFIGURED_S)
        except LandingsStopped as stopped:
            await self._wait_because(f"waiting: {stopped.why}; /resume {self.task.repo}", _RECONFIGURED_S)
        except LocksWanted as wanted:
            await self._wait_because(f"waiting for a lock: {wanted.why}", _AGAIN_S)
        except (RepositoryUnusable, OriginAway) as error:
            await self._without_repository(error)
        except (Refused, Misused) as error:
            await self._end(TaskState.REFUSED, str(error))
        except Unreachable as error:
            await self._without_link(error)
        except MachineFaulty as error:
            await self._record_link(up=False, why=f"faulty answer: {error.cause or error}")
            faulty = f"waiting: {error.on or 'the machine'} gives faulty answers: {error.cause or error}"
            await self._wait_because(faulty, _AGAIN_S)
        except (DiskFull, MachineFull) as error:
            await self._wait_because(f"waiting: {lacking.in_short(error)}", _FULL_S)
        except TakenAway as error:
            await self._end(TaskState.LOST, str(error))
        except Unavailable as error:
            await self._try_again(error)
        return True

    async def _without_link(self, error: Unreachable) -> None:
        """A slot of a pool may answer before it lets us in: its login and our key come with its first boot."""
        if isinstance(error, NotLetIn) and self.task.state in _NOT_BEGUN and not await self._is_on_a_slot():
            await self._end(TaskState.REFUSED, str(error))
            return
        await self._record_link(up=False, why=error.cause or str(error))
        await self._wait_because(f"waiting for the link: {error.cause or error}", _AGAIN_S)

    async def _is_on_a_slot(self) -> bool:
        def read(tx: Tx) -> bool:
            last = [session.machine for session in sessions.of_task(tx, self.task.id)[-1:]]
            return any(slot.slot in last for slot in pool_slots.open_slots(tx))

        return await self._services.store.read(read)

    async def _without_repository(self, error: RepositoryUnusable | OriginAway) -> None:
        """A task that has begun waits until a person has corrected it. One that has not is told what is wrong: it
        has nothing to lose, and whoever asked is still there."""
        if self.task.state is not TaskState.QUEUED:
            soon = isinstance(error, OriginAway)
            await self._wait_because(lacking.for_repository(error), _AGAIN_S if soon else _RECONFIGURED_S)
        elif isinstance(error, OriginAway):
            await self._try_again(error)
        else:
            await self._end(TaskState.REFUSED, str(error))

    async def _try_again(self, error: Unavailable) -> None:
        """The step is tried a few times before the task ends."""
        self._failures += 1
        if error.retry and self._failures <= len(_RETRIES):
            await self._wait_because(
                f"waiting to try again: {lacking.in_short(error)}", _RETRIES[self._failures - 1]
            )
        else:
            await self._end(TaskState.UNAVAILABLE, str(error))

    def _look(self, tx: Tx) -> tuple[Task, bool, bool]:
        sharing = self._services.sharing
        mine = sharing is None or sharing.leads(tx, self.task.id, self._lead)
        return tasks.task(tx, self.task.id), stop_wanted(tx, self.task.id), mine

    async def _end(self, state: TaskState, why: str) -> None:
        await self._services.store.write(lambda tx: move(tx, self.task.id, state, why))

    async def _wait_because(self, why: str, seconds: float) -> None:
        """Waits for news, at most ``seconds``; the task shows why, unless it has ended: then it shows that."""
        # The step may have changed what it showed.
        now = await self._services.store.read(lambda tx: tasks.task(tx, self.task.id))
        if now.state not in ENDS and not lacking.says(now.why, why):
            await self._services.store.write(lambda tx: tasks.explain(tx, self.task.id, why))
        await self._waits.wait(seconds)

    async def _in_touch(self, task: Task) -> None:
        """The agent's machine answered in a step that goes on for long."""
        await self._record_link(up=True, why="")
        await self._waits.over(task)

    async def _record_link(self, *, up: bool, why: str) -> None:
        """Records once that a machine is away while a step needs it, and once that it is back."""
        if up == self._link_up:
            return

        def work(tx: Tx) -> None:
            if found := sessions.of_task(tx, self.task.id):
                record(tx, LinkChanged(up, why[:500]), found[-1])

        await self._services.store.write(work)
        self._link_up = up
