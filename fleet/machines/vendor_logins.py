"""Whether agents are logged in with their vendors on a machine, by what lies in their login's home."""

from __future__ import annotations

from collections.abc import Mapping
from enum import Enum
from typing import Final

from fleet.agents.logins import KEEPINGS
from fleet.config import AgentConfig
from fleet.exits import succeeded
from fleet.ports import Executor, LoginFacts

_LOOK: Final = 'for file; do if [ -s "$file" ]; then echo 1; else echo 0; fi; done'
_KEYS: Final = ("_KEY", "_TOKEN")


class LoginSeen(Enum):
    """How an agent is known to its vendor. A login that is there may have run out: only a turn proves it."""

    LOGGED_IN = "logged in"
    LOGGED_OUT = "not logged in"
    KEYED = "uses a key"
    UNKNOWN = "login not known"  # a Mac's keychain, or a program whose login we do not know


def is_given_key(agent: AgentConfig) -> bool:
    """Whether its key comes from ``.env`` or the settings."""
    return bool(agent.key) or any(variable.endswith(_KEYS) for variable in (*agent.env, *agent.settings))


def kept_in(agent: AgentConfig, facts: LoginFacts) -> str:
    """The file of an agent's login with its vendor; empty when it needs none, or keeps it elsewhere."""
    if agent.driver not in KEEPINGS or is_given_key(agent) or facts.system == "darwin":  # a Mac has a keychain
        return ""
    keeping = KEEPINGS[agent.driver]
    return f"{keeping.directory(agent.settings, facts.home)}/{keeping.file}"


async def look(executor: Executor, facts: LoginFacts, agents: Mapping[str, AgentConfig]) -> dict[str, LoginSeen]:
    """Each agent's login on that machine. Raises as ``Executor.run`` does."""
    kept = {name: path for name, agent in agents.items() if (path := kept_in(agent, facts))}
    there = dict.fromkeys(kept, LoginSeen.UNKNOWN)
    if kept:
        ran = await executor.run(["sh", "-c", _LOOK, "look", *kept.values()])
        said = ran.out.decode("ascii", "replace").split()
        if succeeded(ran.exit) and len(said) == len(kept):
            seen = (LoginSeen.LOGGED_IN if each == "1" else LoginSeen.LOGGED_OUT for each in said)
            there = dict(zip(kept, seen, strict=True))
    return {
        name: there.get(name, LoginSeen.KEYED if is_given_key(agent) else LoginSeen.UNKNOWN)
        for name, agent in agents.items()
    }
