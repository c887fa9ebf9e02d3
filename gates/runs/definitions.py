"""Which gates count for a repository: ``airboss.toml`` at a commit of the base branch, and the operator's say.

Never read from a change that is to be judged: whoever could edit the question would answer it.
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from typing import Any, Protocol

import rfc8785

from fleet.config import GateConfig, RepoConfig, RepoFile, merge_gates, parse_repo_file
from fleet.errors import Refused

REPO_FILE = "airboss.toml"


class ShowsFiles(Protocol):
    """What is needed of a repository here."""

    @property
    def name(self) -> str:
        """Its name in ``fleet.toml``."""

    async def show(self, commit: str, path: str) -> bytes | None:
        """A file's bytes at a commit; ``None`` when there is none."""


@dataclass(frozen=True, slots=True)
class Definition:
    """One gate as it counts. ``sha256`` is over the canonical JSON of everything that shapes its run."""

    name: str
    argv: tuple[str, ...]
    timeout_us: int
    needs: tuple[str, ...]
    protected: tuple[str, ...]
    rework_turns: int
    env: tuple[tuple[str, str], ...]
    sha256: str
    network: bool = False
    memory: str = ""


def define(name: str, gate: GateConfig) -> Definition:
    """The definition that a merged configuration gives."""
    shape: dict[str, Any] = {
        "name": name,
        "run": list(gate.run),
        "timeout_us": gate.timeout_us,
        "needs": list(gate.needs),
        "protected": list(gate.protected),
        "rework_turns": gate.rework_turns,
        "env": dict(gate.env),
    }
    # Only then: the digests of gates that were defined before these keys existed stay as they are.
    if gate.network:
        shape["network"] = True
    if gate.memory:
        shape["memory"] = gate.memory
    canonical = rfc8785.dumps(shape)
    return Definition(
        name=name,
        argv=tuple(gate.run),
        timeout_us=gate.timeout_us,
        needs=tuple(gate.needs),
        protected=tuple(gate.protected),
        rework_turns=gate.rework_turns,
        env=tuple(sorted(gate.env.items())),
        sha256=hashlib.sha256(canonical).hexdigest(),
        network=gate.network,
        memory=gate.memory,
    )


async def load(repository: ShowsFiles, base: str, config: RepoConfig) -> tuple[Definition, ...]:
    """The gates that count for changes on top of the base-branch commit ``base``, by name.

    Raises ``Refused`` when neither the repository nor the operator defines any, and ``Misused`` for a file that
    cannot be read or that the operator's part contradicts.
    """
    found = await repository.show(base, REPO_FILE)
    where = f"{REPO_FILE} of {repository.name} at {base[:12]}"
    repo_file = RepoFile() if found is None else parse_repo_file(found, where)
    gates = merge_gates(repo_file, config, repo=repository.name)
    if not gates:
        raise Refused(
            attempted="find the gates",
            on=where,
            cause="there is no such file" if found is None else "it defines no gate",
            hint=f"commit an {REPO_FILE} with [gates.tests] and `run = [...]` to the base branch; "
            "a change that nothing judges is never let through",
        )
    return tuple(define(name, gates[name]) for name in sorted(gates))
