"""An agent's login with its vendor: where it is kept, and what a person types on the machine to make it."""

from __future__ import annotations

import shlex
from dataclasses import asdict, dataclass
from typing import Final

from fleet.agents.logins import KEEPINGS
from fleet.config import AgentConfig, FleetConfig, MachineConfig
from fleet.config.paying import is_keyed

_NAMED: Final = 3


@dataclass(frozen=True, slots=True)
class LogIn:
    """One login to make: the command to type, and a note about it."""

    agent: str
    machine: str
    command: str
    note: str = ""

    def to_json(self) -> dict[str, object]:
        """For scripts."""
        return asdict(self)


def log_ins(config: FleetConfig) -> list[LogIn]:
    """One for each agent with a vendor's login on each machine."""
    return [
        LogIn(agent_name, name, typed(machine, machine.agent_logins[0], agent), _note(machine, agent))
        for agent_name, agent in sorted(config.agents.items())
        if agent.driver in KEEPINGS
        for name, machine in sorted(config.machines.items())
    ]


def typed(machine: MachineConfig, login: str, agent: AgentConfig) -> str:
    """What a person types to log an agent in as that login; an empty one is the controller's own."""
    command = shlex.join([*agent.program[:1], *KEEPINGS[agent.driver].log_in])
    if machine.executor == "ssh":
        port = f" -p {machine.port}" if machine.port != 22 else ""
        return f"ssh -t{port} {login}@{machine.host} {command}"
    return f"sudo -iu {login} {command}" if login else command


def _note(machine: MachineConfig, agent: AgentConfig) -> str:
    others = machine.agent_logins[1:]
    also = f"also as {', '.join(others[:_NAMED])}{' …' if len(others) > _NAMED else ''}" if others else ""
    return "; ".join(filter(None, ["in place of its key" if is_keyed(agent) else "", also]))
