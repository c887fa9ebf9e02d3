"""What is known of a repository of ``fleet.toml`` when somebody asks: its base branch, its gates, what is wrong."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

from fleet.config import RepoConfig
from fleet.errors import AirbossError
from fleet.git.command import without_credentials
from fleet.git.repository import Repository
from fleet.git.tree_walk import entry_at
from gates.runs import definitions
from gates.runs.definitions import Definition

_PATIENCE_S: Final = 20.0


@dataclass(frozen=True, slots=True)
class RepoSeen:
    """``commit``: the base branch's, empty when it is not known. ``trouble`` and ``remedy``: why nothing can land
    here, and what to do; empty when nothing is wrong."""

    name: str
    config: RepoConfig
    commit: str = ""
    gates: tuple[Definition, ...] = ()
    trouble: str = ""
    remedy: str = ""

    def to_json(self) -> dict[str, object]:
        """For scripts; the address without its password."""
        return {
            "name": self.name,
            "url": without_credentials(self.config.url),
            "base": self.config.base,
            "mode": str(self.config.mode),
            "agent": self.config.agent,
            "commit": self.commit,
            "gates": [
                {
                    "name": gate.name,
                    "kind": str(gate.kind),
                    "run": list(gate.argv),
                    "needs": list(gate.needs),
                    "timeout_us": gate.timeout_us,
                }
                for gate in self.gates
            ],
            "trouble": self.trouble,
            "remedy": self.remedy,
        }


async def look_at(repository: Repository, config: RepoConfig) -> RepoSeen:
    """Reads the base branch and its gates. Raises nothing for a repository that does not answer."""
    commit = ""
    try:
        async with asyncio.timeout(_PATIENCE_S):
            commit = await repository.fetch()
            gates = await definitions.load(repository, commit, config)
    except TimeoutError:
        return RepoSeen(repository.name, config, trouble=f"no answer within {_PATIENCE_S:.0f} s")
    except AirbossError as error:
        return RepoSeen(repository.name, config, commit, trouble=error.cause or error.attempted, remedy=error.hint)
    return RepoSeen(repository.name, config, commit, gates)


async def at_root(repository: Repository, names: Sequence[str]) -> list[str]:
    """Those of these names that the base branch has at its root, as it was fetched last."""
    base = await repository.last_fetched() or await repository.fetch()
    return [name for name in names if await entry_at(repository.objects, base, name) is not None]
