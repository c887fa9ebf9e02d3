"""Looks at every machine now and then, so that /status can say what answers and how loaded it is."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from dataclasses import dataclass
from typing import Final

from fleet.config import FleetConfig
from fleet.errors import AirbossError
from fleet.machines.executors import Executors
from fleet.ports import Clock

_EVERY_S: Final = 20.0
_PATIENCE_S: Final = 15.0


@dataclass(frozen=True, slots=True)
class MachineSeen:
    """What the controller last saw of a machine. ``seen_us``: 0 before the first contact; ``why``: what is
    wrong now, empty while it answers; ``load_milli``: one-minute load average times 1000."""

    seen_us: int
    load_milli: int = 0
    cpus: int = 0
    why: str = ""


class MachineWatch:
    """``seen`` is what was last seen of each machine. A machine that is away costs one attempt a round."""

    def __init__(self, config: Callable[[], FleetConfig], executors: Executors, clock: Clock) -> None:
        self._config, self._executors, self._clock = config, executors, clock
        self.seen: dict[str, MachineSeen] = {}

    async def run(self) -> None:
        """Until cancelled."""
        while True:
            names = list(self._config().machines)
            for gone in self.seen.keys() - set(names):
                del self.seen[gone]
            await asyncio.gather(*(self._look(name) for name in names))
            await self._clock.sleep(_EVERY_S)

    async def _look(self, name: str) -> None:
        before = self.seen.get(name, MachineSeen(0))
        try:
            async with asyncio.timeout(_PATIENCE_S):
                facts = await self._executors.agent(name).facts()
        except TimeoutError:
            self.seen[name] = MachineSeen(before.seen_us, why="no answer")
        except AirbossError as error:
            self.seen[name] = MachineSeen(before.seen_us, why=error.cause or str(error))
        else:
            self.seen[name] = MachineSeen(self._clock.now_us(), facts.load_milli, facts.cpus)
