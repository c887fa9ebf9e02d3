"""How an agent's work is paid for."""

from __future__ import annotations

from typing import Final

from fleet.agents.logins import KEEPINGS
from fleet.config.models import AgentConfig, FleetConfig

TELLS_NO_COST: Final = frozenset({"codex", "command"})
"""The drivers of which money is known only by a ``price``."""


def is_keyed(agent: AgentConfig) -> bool:
    """Whether it pays by an API key from ``.env`` instead of a vendor's login."""
    return bool(agent.key) or any(variable.endswith("_API_KEY") for variable in agent.env)


def at_list_price(config: FleetConfig, name: str) -> bool:
    """Whether an agent works on a vendor's login: then its cost is a list price that nobody is billed."""
    agent = config.agents.get(name)
    return agent is not None and agent.driver in KEEPINGS and not is_keyed(agent)
