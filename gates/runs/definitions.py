"""Which gates apply to a repository: ``airboss.toml`` at a commit of the base branch, plus the operator's settings.

Never read from the change being judged: it could change its own gates.
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from typing import Any

import rfc8785

from fleet.config import (
    GateConfig,
    GateKind,
    LayerName,
    QuarantinedTest,
    RepoConfig,
    RepoFile,
    merge_gates,
)
from fleet.errors import Misused, RepositoryUnusable
from fleet.setup import repo_file
from fleet.setup.repo_file import ShowsFiles


@dataclass(frozen=True, slots=True)
class Definition:
    """One gate as it applies. ``sha256`` covers the canonical JSON of everything that shapes its run."""

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
    layers: frozenset[LayerName] = frozenset(LayerName)
    kind: GateKind = GateKind.COMMAND
    reviewer: str = ""
    allow_asserted: bool = True
    flaky: bool = False
    quarantine: tuple[QuarantinedTest, ...] = ()

    @property
    def reports(self) -> bool:
        """Whether it is told where to write a JUnit report."""
        return any("{junit}" in word for word in self.argv)


def define(name: str, gate: GateConfig) -> Definition:
    """The definition from a merged configuration."""
    shape: dict[str, Any] = {
        "name": name,
        "run": list(gate.run or ()),
        "timeout_us": gate.timeout_us,
        "needs": list(gate.needs),
        "protected": list(gate.protected),
        "rework_turns": gate.rework_turns,
        "env": dict(gate.env),
    }
    # Only then, so that digests of older definitions stay the same.
    if gate.network:
        shape["network"] = True
    if gate.memory:
        shape["memory"] = gate.memory
    if set(gate.layers) != set(LayerName):
        shape["layers"] = sorted(set(gate.layers))
    if gate.flaky:
        shape["flaky"] = True
    if gate.quarantine:
        shape["quarantine"] = [each.model_dump(mode="json") for each in gate.quarantine]
    if gate.kind is GateKind.REVIEW:
        shape |= {"kind": str(gate.kind), "reviewer": gate.reviewer, "allow_asserted": gate.allow_asserted}
    canonical = rfc8785.dumps(shape)
    return Definition(
        name=name,
        argv=tuple(gate.run or ()),
        timeout_us=gate.timeout_us,
        needs=tuple(gate.needs),
        protected=tuple(gate.protected),
        rework_turns=gate.rework_turns,
        env=tuple(sorted(gate.env.items())),
        sha256=hashlib.sha256(canonical).hexdigest(),
        network=gate.network,
        memory=gate.memory,
        layers=frozenset(gate.layers),
        kind=gate.kind,
        reviewer=gate.reviewer,
        allow_asserted=gate.allow_asserted,
        flaky=gate.flaky,
        quarantine=tuple(gate.quarantine),
    )


async def load(repository: ShowsFiles, base: str, config: RepoConfig) -> tuple[Definition, ...]:
    """The gates that apply to changes on top of the base-branch commit ``base``, in order of name.

    Raises ``RepositoryUnusable`` when neither the repository nor the operator defines any that can pass a change,
    and for a file that cannot be read or that conflicts with the operator's settings.
    """
    defined, where = await repo_file.read(repository, base), repo_file.place(repository, base)
    try:
        gates = merge_gates(defined or RepoFile(), config, repo=repository.name)
    except Misused as error:
        raise RepositoryUnusable.of(error) from error
    if not gates:
        raise RepositoryUnusable(
            attempted="find the gates",
            on=where,
            cause="the file does not exist" if defined is None else "it defines no gate",
            hint=f"commit an {repo_file.REPO_FILE} with [gates.tests] and `run = [...]` to the base branch; "
            "a change that no gate checks never passes",
        )
    if all(gate.kind is GateKind.REVIEW for gate in gates.values()):
        raise RepositoryUnusable(
            attempted="find the gates",
            on=where,
            cause="every gate is a review, and a reviewer can only object",
            hint="add a [gates.tests] with `run = [...]` beside it",
        )
    return tuple(define(name, gates[name]) for name in sorted(gates))
