"""The agents on a screen of a phone: where each is installed, in which version, and whether it is logged in."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Final

from bot.cards import Line, line, one_line
from bot.plain import Plain
from fleet.agents.families import family
from fleet.agents.versions import OLDEST, TESTED, Fit, fit, written
from fleet.config import AgentConfig, FleetConfig
from fleet.machines.vendor_logins import LoginSeen
from fleet.machines.watch import MachineSeen, MachineState

_ROWS: Final = 2
_NAMES: Final = 4
_WRONG: Final = (Fit.TOO_OLD, Fit.NEWER)


@dataclass(frozen=True, slots=True)
class AgentSeen:
    """One agent on one machine. ``installed`` is ``None`` while nobody looked."""

    machine: str
    installed: bool | None
    version: str
    fit: Fit
    login: LoginSeen

    @property
    def bad(self) -> bool:
        """Whether it cannot work there."""
        gone = self.installed is False or self.fit is Fit.TOO_OLD
        return gone or (self.login is LoginSeen.LOGGED_OUT and self.installed is True)

    @property
    def says(self) -> str:
        """``2.1.197 · logged in``; the same for machines where all is the same."""
        if not self.installed:
            return "not installed" if self.installed is False else str(MachineState.NEVER.value)
        parts = [self.version or "installed"]
        parts += [self.fit.value] if self.fit in _WRONG else []
        parts += [self.login.value] if self.login is not LoginSeen.UNKNOWN else []
        return " · ".join(parts)

    def to_plain(self) -> Plain:
        """For ``--json``."""
        return {
            "machine": self.machine,
            "installed": self.installed,
            "version": self.version,
            "fit": self.fit.name.lower(),
            "login": self.login.name.lower(),
        }


def seen_agents(config: FleetConfig, name: str, machines: Mapping[str, MachineSeen]) -> list[AgentSeen]:
    """The agent on each machine, in the order of their names."""
    return [_seen(config, name, machine, machines.get(machine)) for machine in sorted(config.machines)]


def _seen(config: FleetConfig, name: str, machine: str, seen: MachineSeen | None) -> AgentSeen:
    driver, offers = config.agents[name].driver, seen.offers if seen else None
    if seen is None or offers is None or (name not in offers and name not in seen.absent):
        return AgentSeen(machine, None, "", Fit.UNKNOWN, LoginSeen.UNKNOWN)
    here, version = name not in seen.absent, offers.get(name, "")
    login = seen.logins.get(name, LoginSeen.UNKNOWN)
    return AgentSeen(machine, here, version, fit(driver, version) if here else Fit.UNKNOWN, login)


def family_of(agent: AgentConfig) -> str:
    """The vendor's family of its model; empty when it is not known."""
    return agent.family or family(agent.driver, agent.model)


def agent_lines(name: str, agent: AgentConfig, seen: Sequence[AgentSeen], *, rows: int = _ROWS) -> list[Line]:
    """Its name, model and family; then its machines, those together on which it is the same."""
    kind = family_of(agent) or "family not known"
    lines = [line(one_line(f"{name} · {agent.model or 'its own model'} · {kind}", 60))]
    groups: dict[str, list[AgentSeen]] = {}
    for each in sorted(seen, key=lambda each: not each.bad):
        groups.setdefault(each.says, []).append(each)
    for says, there in list(groups.items())[:rows]:
        names = [each.machine for each in there]
        more = f" +{len(names) - _NAMES}" if len(names) > _NAMES else ""
        mark = "⚠" if there[0].bad else "●"
        lines.append(line(f"{mark} {', '.join(names[:_NAMES])}{more}: ", one_line(says, 60)))
    if len(groups) > rows:
        lines.append(line(f"and {len(groups) - rows} more: /agents {name}"))
    return lines


def versions_line(driver: str) -> list[Line]:
    """Which versions work, where that is known."""
    if driver not in TESTED:
        return []
    return [line(f"needs {written(OLDEST[driver])} or later · tested with {written(TESTED[driver])}")]


def agent_plain(config: FleetConfig, name: str, seen: Sequence[AgentSeen]) -> Plain:
    """For ``--json``."""
    agent = config.agents[name]
    return {
        "name": name,
        "driver": agent.driver,
        "program": list(agent.program),
        "model": agent.model,
        "models": list(agent.choices),
        "family": family_of(agent),
        "oldest": written(OLDEST.get(agent.driver, ())),
        "tested": written(TESTED.get(agent.driver, ())),
        "machines": [each.to_plain() for each in seen],
    }
