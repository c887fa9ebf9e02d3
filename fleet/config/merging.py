"""Merges the repository's gates with the operator's settings, which may add and tighten, never loosen."""

from __future__ import annotations

import itertools
from typing import Final

from fleet.config.gates import GateConfig, GateKind, GateTightening
from fleet.config.models import RepoConfig, RepoFile
from fleet.config.setups import SetupConfig
from fleet.config.values import duration_us, fill, overlapping, size_bytes
from fleet.errors import Misused

_LABEL: Final = "needs"
"""The axis of a matrix whose values are labels of machines."""


def merge_gates(repo_file: RepoFile, repo_config: RepoConfig, *, repo: str = "") -> dict[str, GateConfig]:
    """The gates that apply, by name. ``repo`` is the repository's name in ``fleet.toml``, for messages.

    Lists (``needs``, ``protected``) are combined; ``timeout`` and ``rework_turns`` may only shrink; ``run`` and
    ``env`` of a gate that the repository defines may not differ. Otherwise raises ``Misused`` naming both files. A
    gate with a matrix becomes several.
    """
    merged = dict(repo_file.gates)
    for name, wish in repo_config.gates.items():
        here = _Merging(name, repo)
        given = repo_file.gates.get(name)
        merged[name] = _own(wish, here) if given is None else _tightened(given, wish, here)
    every: dict[str, GateConfig] = {}
    for name, gate in merged.items():
        for made, single in _of_matrix(name, gate).items():
            if made in every or (made != name and made in merged):
                raise _Merging(name, repo).refuse(f"its matrix makes a second gate {made}", "rename one of them")
            every[made] = single
    return every


def _of_matrix(name: str, gate: GateConfig) -> dict[str, GateConfig]:
    """The gates that a definition makes: one for each combination of the values of its matrix."""
    if not gate.matrix:
        return {name: gate}
    made = {}
    for values in itertools.product(*gate.matrix.values()):
        chosen = dict(zip(gate.matrix, values, strict=True))
        label = [chosen[_LABEL]] if _LABEL in chosen else []
        made["-".join((name, *values))] = gate.model_copy(
            update={
                "matrix": {},
                "run": [fill(word, chosen) for word in gate.run] if gate.run else None,
                "env": {key: fill(value, chosen) for key, value in gate.env.items()},
                "needs": _union(gate.needs, label),
            }
        )
    return made


def merge_setups(repo_file: RepoFile, repo_config: RepoConfig, *, repo: str = "") -> dict[str, SetupConfig]:
    """The setups that apply, by name. The operator may add some.

    Raises ``Misused`` where two have one name, or provide one directory.
    """
    files = f"fleet.toml [repos.{repo or 'NAME'}.setup] and airboss.toml [setup]"
    attempted = "combine the setups"
    if both := sorted(repo_file.setup.keys() & repo_config.setup.keys()):
        cause, hint = f"both define {both[0]}", "give one of them another name"
        raise Misused(attempted=attempted, on=files, cause=cause, hint=hint)
    merged = {**repo_file.setup, **repo_config.setup}
    provided = [path for name in sorted(merged) for path in merged[name].provides]
    if found := overlapping(provided):
        cause, hint = (
            f"{found[1]} is inside {found[0]}",
            "let one setup provide a directory, with all that is in it",
        )
        if found[0].lower() == found[1].lower():
            cause = f"two setups provide {found[1]}"
        raise Misused(attempted=attempted, on=files, cause=cause, hint=hint)
    return merged


class _Merging:
    def __init__(self, gate: str, repo: str) -> None:
        self.gate, self.repo = gate, repo

    def refuse(self, cause: str, hint: str) -> Misused:
        return Misused(
            attempted=f"combine the gate {self.gate}",
            on=f"fleet.toml [repos.{self.repo or 'NAME'}.gates.{self.gate}] and airboss.toml [gates.{self.gate}]",
            cause=cause,
            hint=hint,
        )


def _own(wish: GateTightening, here: _Merging) -> GateConfig:
    if wish.run is None and wish.kind is not GateKind.REVIEW:
        raise here.refuse(
            "airboss.toml on the base branch defines no such gate, and fleet.toml gives no `run`",
            "correct the name, or set `run` in fleet.toml to define your own gate",
        )
    if wish.run is not None and wish.kind is GateKind.REVIEW:
        raise here.refuse("a reviewer runs nothing, but `run` is given", "remove `run` or `kind`")
    return GateConfig.model_validate(wish.model_dump(exclude_none=True))


def _tightened(given: GateConfig, wish: GateTightening, here: _Merging) -> GateConfig:
    loosens = "fleet.toml may tighten a repository's gate, never loosen it"
    if wish.kind is not None and wish.kind is not given.kind:
        raise here.refuse(f"another `kind`; {loosens}", "remove `kind`, or define a gate with another name")
    if wish.reviewer and given.reviewer and wish.reviewer != given.reviewer:
        raise here.refuse("another `reviewer` than the repository's", "remove `reviewer` from one of the files")
    if wish.allow_asserted and not given.allow_asserted:
        raise here.refuse(f"`allow_asserted = true`, which the repository refuses; {loosens}", "remove it")
    if wish.run is not None and wish.run != given.run:
        raise here.refuse(f"a different `run`; {loosens}", "remove `run`, or define a gate with another name")
    if wish.matrix is not None and wish.matrix != given.matrix:
        raise here.refuse(f"a different `matrix`; {loosens}", "remove `matrix`, or define another gate")
    if wish.env is not None and wish.env != given.env:
        raise here.refuse(f"a different `env`; {loosens}", "remove `env`, or define a gate with another name")
    if wish.timeout is not None and duration_us(wish.timeout) > given.timeout_us:
        raise here.refuse(
            f"a longer `timeout` ({wish.timeout}, the repository says {given.timeout}); {loosens}",
            f"write {given.timeout} or less in fleet.toml",
        )
    if wish.rework_turns is not None and wish.rework_turns > given.rework_turns:
        raise here.refuse(
            f"more `rework_turns` ({wish.rework_turns}, the repository says {given.rework_turns}); {loosens}",
            f"write {given.rework_turns} or fewer in fleet.toml",
        )
    if wish.network and not given.network:
        raise here.refuse(f"`network = true`, which the repository does not ask for; {loosens}", "remove `network`")
    if wish.flaky and not given.flaky:
        raise here.refuse(f"`flaky = true`, which the repository does not say; {loosens}", "remove `flaky`")
    if wish.quarantine:
        raise here.refuse(f"a `quarantine`; {loosens}", "write it in airboss.toml, or [] to end the repository's")
    if wish.memory and given.memory and size_bytes(wish.memory) > size_bytes(given.memory):
        raise here.refuse(
            f"more `memory` ({wish.memory}, the repository says {given.memory}); {loosens}",
            f"write {given.memory} or less in fleet.toml",
        )
    for field in ("protected", "needs"):
        if getattr(wish, field) == [] and getattr(given, field):
            raise here.refuse(
                f"an empty `{field}` cannot remove what airboss.toml requires; {loosens}",
                f"remove `{field}` from fleet.toml; values listed there are added",
            )
    return given.model_copy(
        update={
            "timeout": wish.timeout or given.timeout,
            "needs": _union(given.needs, wish.needs or []),
            "protected": _union(given.protected, wish.protected or []),
            "memory": wish.memory or given.memory,
            "layers": list(dict.fromkeys([*given.layers, *(wish.layers or ())])),
            "reviewer": given.reviewer or wish.reviewer or "",
            "allow_asserted": given.allow_asserted and wish.allow_asserted is not False,
            "quarantine": given.quarantine if wish.quarantine is None else [],
            "flaky": given.flaky and wish.flaky is not False,
            "network": given.network and wish.network is not False,
            "rework_turns": given.rework_turns if wish.rework_turns is None else wish.rework_turns,
        }
    )


def _union(first: list[str], second: list[str]) -> list[str]:
    return list(dict.fromkeys([*first, *second]))
