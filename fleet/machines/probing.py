"""Finds out what each machine offers: its system, Xcode and simulators, its agents and their versions.

What a machine says of itself is the word of a login that runs agent code. So it never becomes a label of any other
name: an operator's own label (``trusted``) is in ``fleet.toml`` or nowhere.
"""

from __future__ import annotations

import asyncio
import logging
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Final

from fleet.config import AgentConfig, FleetConfig, MachineConfig
from fleet.errors import AirbossError, MachineFaulty
from fleet.machines import vendor_logins
from fleet.machines.executors import Executors
from fleet.machines.vendor_logins import LoginSeen
from fleet.offers import Offers, offered, version_in
from fleet.ports import Clock, LoginFacts, LoginOffers
from fleet.supervise import side_by_side
from fleet.untrusted import clean

log = logging.getLogger(__name__)

_EVERY_S: Final = 5.0
_FRESH_US: Final = 600_000_000
_AGAIN_US: Final = 60_000_000
_PATIENCE_S: Final = 150.0
_VERSIONED: Final = frozenset({"claude", "codex"})
SYSTEMS: Final = {"linux": "linux", "darwin": "macos"}
SIMULATOR: Final = "simulator-"
"""How the label of each simulator starts."""
_ARCHITECTURES: Final = {
    **{name: name for name in ("x86_64", "arm64", "armv7l", "i686", "riscv64", "ppc64le", "s390x")},
    "aarch64": "arm64",
    "amd64": "x86_64",
}
_NOT_NAME = re.compile(r"[^a-z0-9]+")
_RUNTIME = re.compile(r"([A-Za-z]+)-(\d[\d-]*)$")


@dataclass(frozen=True, slots=True)
class Probed:
    """What was found, and when it was last tried. ``fault``: why the machine is faulty, if it is. ``asked``: the
    programs that were looked for, by agent. ``logins``: how each agent is known to its vendor there."""

    tried_us: int
    asked: Mapping[str, Sequence[str]]
    offers: LoginOffers | None = None
    fault: str = ""
    logins: Mapping[str, LoginSeen] = field(default_factory=dict)

    @property
    def absent(self) -> frozenset[str]:
        """The agents that are not there."""
        return frozenset(self.asked) - frozenset(self.offers.programs) if self.offers is not None else frozenset()


class Probes:
    """``found`` has the last result of each machine, by name. A machine that does not answer keeps what it had.
    ``learned`` is set with each result."""

    def __init__(self, config: Callable[[], FleetConfig], executors: Executors, clock: Clock) -> None:
        self._config, self._executors, self._clock = config, executors, clock
        self.found: dict[str, Probed] = {}
        self.learned = asyncio.Event()

    async def run(self) -> None:
        """Until cancelled."""
        while True:
            await self.look()
            await self._clock.sleep(_EVERY_S)

    async def look(self) -> None:
        """Looks at each machine of which nothing recent is known."""
        config = self._config()
        for gone in self.found.keys() - config.machines.keys():
            del self.found[gone]
        asked = {name: argv for name, agent in config.agents.items() if (argv := _asked(agent))}
        due = [name for name in config.machines if self._due(name, asked)]
        await side_by_side([self._look_at(name, asked) for name in due], "look at what a machine offers")

    def _due(self, name: str, asked: Mapping[str, Sequence[str]]) -> bool:
        known = self.found.get(name)
        if known is None or known.asked != asked:
            return True
        settled = known.offers and not known.fault and LoginSeen.LOGGED_OUT not in known.logins.values()
        fresh_us = _FRESH_US if settled else _AGAIN_US
        return self._clock.now_us() - known.tried_us >= fresh_us

    async def _look_at(self, name: str, asked: Mapping[str, Sequence[str]]) -> None:
        before, now = self.found.get(name), self._clock.now_us()
        offers, logins, fault = before.offers if before else None, before.logins if before else {}, ""
        try:
            async with asyncio.timeout(_PATIENCE_S):
                executor = self._executors.agent(name)
                offers = await executor.offers(asked)
                logins = await vendor_logins.look(executor, await executor.facts(), self._config().agents)
        except MachineFaulty as error:
            fault = error.cause
        except (AirbossError, TimeoutError):
            pass  # the machines' watch says that it is away
        except Exception:
            log.exception("looking at what %s offers failed", name)
            fault = "internal error; see the log"
        self.found[name] = Probed(now, asked, offers, fault, logins)
        self.learned.set()


def _asked(agent: AgentConfig) -> list[str]:
    """The command that finds an agent; none for a program that is looked up in each worktree."""
    program = agent.program[0]
    if "/" in program and not program.startswith("/"):
        return []
    return [program, "--version"] if agent.driver in _VERSIONED else [program]


def offers_of(machine: MachineConfig, facts: LoginFacts, offers: LoginOffers) -> Offers:
    """Every label of a machine. What ``fleet.toml`` declares counts before what was found."""
    return {**_of_facts(facts), **_of_offers(offers), **dict(map(offered, machine.labels))}


def _of_facts(facts: LoginFacts) -> dict[str, str]:
    found = {"cpus": str(facts.cpus), "disk": f"{facts.disk_free >> 20}M"}
    if facts.system in SYSTEMS:
        found[SYSTEMS[facts.system]] = version_in(facts.release)
    if facts.arch in _ARCHITECTURES:
        found[_ARCHITECTURES[facts.arch]] = ""
    if facts.memory:
        found["memory"] = f"{facts.memory >> 20}M"
    return found


def _of_offers(offers: LoginOffers) -> dict[str, str]:
    found = {label: version_in(says) for label, says in offers.programs.items()}
    if offers.xcode:
        found["xcode"] = version_in(offers.xcode)
    for name, runtime in offers.simulators:
        kind = _RUNTIME.search(runtime)
        label = f"{SIMULATOR}{_NOT_NAME.sub('-', clean(name, 60).lower()).strip('-')}"
        found[label] = kind[2].replace("-", ".") if kind else ""
    return found
