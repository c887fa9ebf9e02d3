"""A turn whose agent is done, but not its background work, waits a while. Then the agent is asked to end that, and
at last its process ends, and the work with it."""

from __future__ import annotations

import asyncio

from fleet.agents.lines import left_open
from fleet.flight import prompts
from fleet.flight.services import Services, state_of
from fleet.model import Session, Task
from fleet.ports import AgentDriver, Step
from fleet.store import tasks


class BackgroundWork:
    """Watches the background work of one process's turns."""

    def __init__(self, services: Services, task: Task) -> None:
        self._services, self._task = services, task
        self._since, self._asked_to_end = 0.0, False

    def begin(self) -> None:
        """Another turn is followed from now on."""
        self._since, self._asked_to_end = 0.0, False

    async def due(self, session: Session, driver: AgentDriver) -> Step | None:
        """What to tell the agent now; ``None``: nothing."""
        work = left_open(state_of(session))
        now = asyncio.get_running_loop().time()
        if not work:
            self._since = 0.0
            return None
        if not self._since:
            self._since = now
            words = f"waiting for background work: {'; '.join(work)[:200]}"
            await self._services.store.write(lambda tx: tasks.explain(tx, self._task.id, words))
        if now - self._since < self._services.config().limits.background_seconds:
            return None
        self._since = 0.0
        if self._asked_to_end:
            return driver.finish(state_of(session))
        self._asked_to_end = True
        return driver.say(state_of(session), prompts.background(work))
