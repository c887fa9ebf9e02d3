"""The drivers, by their name in ``fleet.toml``."""

from __future__ import annotations

from fleet.agents.acp import AcpDriver
from fleet.agents.claude import ClaudeDriver
from fleet.agents.codex import CodexDriver
from fleet.agents.command import CommandDriver
from fleet.errors import Misused
from fleet.ports import AgentDriver

_DRIVERS: dict[str, AgentDriver] = {
    each.name: each for each in (ClaudeDriver(), CodexDriver(), AcpDriver(), CommandDriver())
}


def driver(name: str) -> AgentDriver:
    """The driver with that name. Raises ``Misused`` with the known names."""
    if name not in _DRIVERS:
        raise Misused(
            attempted="find the agent's driver", on=name, hint=f"driver is one of: {', '.join(sorted(_DRIVERS))}"
        )
    return _DRIVERS[name]
