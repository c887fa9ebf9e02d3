"""Checks every machine periodically, so that /status can show which ones answer and how loaded they are."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable
from dataclasses import dataclass, replace
from enum import Enum
from typing import Final

from fleet.config import FleetConfig
from fleet.errors import AirbossError, MachineFaulty
from fleet.machines.executors import Executors
from fleet.ports import Clock

log = logging.getLogger(__name__)

_EVERY_S: Final = 20.0
_PATIENCE_S: Final = 15.0


class MachineState(Enum):
    """The result of the last check of a machine."""

    NEVER = "not seen yet"
    WELL = "well"
    AWAY = "away"
    FAULTY = "faulty"
    """It answers, but not correctly; see ``MachineFaulty``."""

    @property
    def is_bad(self) -> bool:
        """Whether something is wrong with it now."""
        return self in (MachineState.AWAY, MachineState.FAULTY)


@dataclass(frozen=True, slots=True)
class DiskSeen:
    """Bytes, as last seen. ``used``: what we use, over all logins of the machine; ``measured_us`` 0: not measured.
    ``full``: nothing new starts there."""

    free: int
    used: int = 0
    measured_us: int = 0
    full: bool = False


@dataclass(frozen=True, slots=True)
class MachineSeen:
    """The last known state of a machine. ``seen_us``: its last good answer, 0 before the first; ``why``: what is
    wrong now, empty when nothing is; ``load_milli``: one-minute load average times 1000. ``disk``: if known."""

    state: MachineState
    seen_us: int = 0
    load_milli: int = 0
    cpus: int = 0
    why: str = ""
    disk: DiskSeen | None = None


class MachineWatch:
    """``seen`` holds the last known state of each machine. A machine that is away costs one attempt a round.

    A failed check affects only that machine: the others are checked, and it is checked again in the next round.
    """

    def __init__(
        self,
        config: Callable[[], FleetConfig],
        executors: Executors,
        clock: Clock,
        seen: dict[str, MachineSeen] | None = None,
    ) -> None:
        self._config, self._executors, self._clock = config, executors, clock
        self.seen = {} if seen is None else seen

    async def run(self) -> None:
        """Runs until cancelled."""
        while True:
            names = list(self._config().machines)
            for gone in self.seen.keys() - set(names):
                del self.seen[gone]
            await asyncio.gather(*(self._look(name) for name in names))
            await self._clock.sleep(_EVERY_S)

    async def _look(self, name: str) -> None:
        try:
            async with asyncio.timeout(_PATIENCE_S):
                facts = await self._executors.agent(name).facts()
        except TimeoutError:
            self._set_bad(name, MachineState.AWAY, "no answer")
        except MachineFaulty as error:
            self._set_bad(name, MachineState.FAULTY, error.cause)
        except AirbossError as error:
            self._set_bad(name, MachineState.AWAY, error.cause or str(error))
        except Exception:
            log.exception("checking %s failed", name)
            self._set_bad(name, MachineState.FAULTY, "internal error; see the log")
        else:
            now = self._clock.now_us()
            self.seen[name] = MachineSeen(MachineState.WELL, now, facts.load_milli, facts.cpus)

    def _set_bad(self, name: str, state: MachineState, why: str) -> None:
        before = self.seen.get(name, MachineSeen(MachineState.NEVER))
        self.seen[name] = replace(before, state=state, why=why)
