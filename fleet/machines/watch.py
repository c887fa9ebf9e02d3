"""Checks every machine periodically, so that /status can show which ones answer and how loaded they are."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from enum import Enum
from typing import Final

from fleet.config import FleetConfig, MachineConfig
from fleet.errors import AirbossError, MachineFaulty, Misused, NotLetIn, NotUsable, Refused, Unreachable
from fleet.machines.executors import Executors
from fleet.machines.probing import Probes, offers_of
from fleet.machines.vendor_logins import LoginSeen
from fleet.offers import Offers, offered
from fleet.ports import Clock, LoginFacts
from fleet.supervise import first, side_by_side

log = logging.getLogger(__name__)

_EVERY_S: Final = 20.0
_PATIENCE_S: Final = 25.0
"""Longer than a link may take to begin: what is in the way is said in its own words."""


class MachineState(Enum):
    """The result of the last check of a machine."""

    NEVER = "not seen yet"
    WELL = "well"
    AWAY = "asleep or away"
    UNUSABLE = "not usable"
    """It answers, but does not let us in, or our runner does not start there."""
    FAULTY = "faulty"
    """It answers, but not correctly; see ``MachineFaulty``."""

    @property
    def is_bad(self) -> bool:
        """Whether something is wrong with it now."""
        return self in (MachineState.AWAY, MachineState.UNUSABLE, MachineState.FAULTY)


@dataclass(frozen=True, slots=True)
class DiskSeen:
    """Bytes, as last seen. ``used``: what we use, over all logins of the machine; ``measured_us`` 0: not measured.
    ``full``: nothing new starts there."""

    free: int
    used: int = 0
    measured_us: int = 0
    full: bool = False


@dataclass(frozen=True, slots=True)
class WakeTried:
    """How often it was tried to wake a machine, when last, and what went wrong then (empty: nothing)."""

    times: int
    at_us: int
    why: str = ""


@dataclass(frozen=True, slots=True)
class MachineSeen:
    """The last known state of a machine. ``seen_us``: its last good answer, 0 before the first; ``why``: what is
    wrong now, empty when nothing is; ``hint``: what to do about it; ``load_milli``: one-minute load average times
    1000. ``disk``: if known.

    ``offers``: all its labels, once they were looked for. ``absent``: the agents that are not there. ``logins``:
    how each agent is known to its vendor there.
    ``facts``: its last ones. ``wake``: what was tried since it last answered.
    ``wanted``: a gate could run there only, and it was away. ``refused``: waiting does not help, since a person
    must set right what is wrong: a host key that changed, a key that is not accepted. ``bad_us``: since when
    something has been wrong, 0 while nothing is.
    """

    state: MachineState
    seen_us: int = 0
    load_milli: int = 0
    cpus: int = 0
    why: str = ""
    disk: DiskSeen | None = None
    offers: Offers | None = None
    absent: frozenset[str] = frozenset()
    logins: Mapping[str, LoginSeen] = field(default_factory=dict)
    facts: LoginFacts | None = None
    wake: WakeTried | None = None
    wanted: bool = False
    refused: bool = False
    hint: str = ""
    bad_us: int = 0


def labels_of(name: str, machine: MachineConfig, seen: Mapping[str, MachineSeen] | None) -> tuple[Offers, bool]:
    """A machine's labels, and whether that is all of them: some may not have been looked for yet. Without ``seen``
    only those of ``fleet.toml`` count."""
    declared = dict(map(offered, machine.labels))
    if seen is None:
        return declared, True
    found = seen[name].offers if name in seen else None
    return {**(found or {}), **declared}, found is not None


def want(name: str, seen: dict[str, MachineSeen] | None) -> None:
    """Notes that a gate needs a machine which is away."""
    if seen is not None and name in seen:
        seen[name] = replace(seen[name], wanted=True)


class MachineWatch:
    """``seen`` holds the last known state of each machine. A machine that is away costs one attempt a round.
    What machines offer comes from ``probes``, which run by themselves. ``tell`` is called when a task that waits
    may have another answer.

    A failed check affects only that machine: the others are checked, and it is checked again in the next round.
    """

    def __init__(
        self,
        config: Callable[[], FleetConfig],
        executors: Executors,
        clock: Clock,
        seen: dict[str, MachineSeen] | None = None,
        *,
        tell: Callable[[], None] = lambda: None,
    ) -> None:
        self._config, self._executors, self._clock, self._tell = config, executors, clock, tell
        self.seen = {} if seen is None else seen
        self.probes = Probes(config, executors, clock)

    async def run(self) -> None:
        """Runs until cancelled."""
        while True:
            self.probes.learned.clear()
            await self.look()
            await first(self.probes.learned.wait(), self._clock.sleep(_EVERY_S))

    async def look(self) -> None:
        """Checks every machine once."""
        names = list(self._config().machines)
        for gone in self.seen.keys() - set(names):
            del self.seen[gone]
        await side_by_side([self._look(name) for name in names], "check a machine")

    async def _look(self, name: str) -> None:
        try:
            async with asyncio.timeout(_PATIENCE_S):
                facts = await self._executors.agent(name).facts()
        except TimeoutError:
            self._set_bad(name, MachineState.AWAY, "no answer")
        except MachineFaulty as error:
            self._set_bad(name, MachineState.FAULTY, error.cause)
        except AirbossError as error:
            away = isinstance(error, Unreachable) and not isinstance(error, NotUsable)
            self._set_bad(
                name,
                MachineState.AWAY if away else MachineState.UNUSABLE,
                error.cause or str(error),
                hint=error.hint,
                refused=isinstance(error, NotLetIn | Refused | Misused),
            )
        except Exception:
            log.exception("checking %s failed", name)
            self._set_bad(name, MachineState.FAULTY, "internal error; see the log")
        else:
            self._set_well(name, facts)

    def _set_well(self, name: str, facts: LoginFacts) -> None:
        machine, probed = self._config().machines.get(name), self.probes.found.get(name)
        if machine is None:
            return
        fault = probed.fault if probed else ""
        self._set(
            name,
            MachineSeen(
                MachineState.FAULTY if fault else MachineState.WELL,
                self._clock.now_us(),
                facts.load_milli,
                facts.cpus,
                fault,
                bad_us=self._bad_us(name) if fault else 0,
                offers=offers_of(machine, facts, probed.offers) if probed and probed.offers else None,
                absent=probed.absent if probed else frozenset(),
                logins=probed.logins if probed else {},
                facts=facts,
            ),
        )

    def _set_bad(self, name: str, state: MachineState, why: str, *, hint: str = "", refused: bool = False) -> None:
        before = self.seen.get(name, MachineSeen(MachineState.NEVER))
        bad_us = self._bad_us(name)
        self._set(name, replace(before, state=state, why=why, hint=hint, refused=refused, bad_us=bad_us))

    def _bad_us(self, name: str) -> int:
        before = self.seen.get(name)
        return (before.bad_us if before is not None else 0) or self._clock.now_us()

    def _set(self, name: str, now: MachineSeen) -> None:
        before = self.seen.get(name)
        self.seen[name] = now
        if before is None or _placing(before) != _placing(now):
            self._tell()


def _placing(seen: MachineSeen) -> tuple[object, ...]:
    """What a placement asks of a machine."""
    return seen.state, seen.offers, seen.absent, seen.refused
