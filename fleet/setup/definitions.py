"""Which setups apply to a repository: ``airboss.toml`` at a commit of the base branch, plus the operator's own.

Never read from the change being judged: it could change what builds its own environment.
"""

from __future__ import annotations

import asyncio
import hashlib
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import rfc8785

from fleet.config import RepoConfig, RepoFile, SetupConfig, merge_setups
from fleet.errors import Misused, RepositoryUnusable
from fleet.git.repository import Repository
from fleet.git.trees import TreeEntry, entries
from fleet.ignoring import IgnorePatterns
from fleet.setup import repo_file

Tree = Mapping[str, TreeEntry]


@dataclass(frozen=True, slots=True)
class SetupDefinition:
    """One setup as it applies. ``sha256`` covers everything that shapes what it makes."""

    name: str
    steps: tuple[tuple[str, ...], ...]
    inputs: tuple[str, ...]
    provides: tuple[str, ...]
    timeout_us: int
    network: bool
    env: tuple[tuple[str, str], ...]
    sha256: str

    def inputs_in(self, paths: Iterable[str]) -> list[str]:
        """Those of ``paths`` that are its inputs, in order. Case is ignored, as some file systems do."""
        spec = IgnorePatterns(pattern.lower() for pattern in self.inputs)
        return [path for path in sorted(paths) if spec.match(path.lower())]

    def digest(self, tree: Tree) -> str:
        """What its inputs are in a tree: the same files, modes and bytes give the same digest."""
        found = [[path, tree[path].mode, tree[path].id] for path in self.inputs_in(tree)]
        text = rfc8785.dumps([[part.encode("utf-8", "surrogateescape").hex() for part in row] for row in found])
        return hashlib.sha256(text).hexdigest()


def define(name: str, config: SetupConfig) -> SetupDefinition:
    """The setup from a merged configuration."""
    shape: dict[str, Any] = {
        "name": name,
        "run": config.run,
        "inputs": config.inputs,
        "provides": config.provides,
        "network": config.network,
        "env": config.env,
    }
    return SetupDefinition(
        name=name,
        steps=tuple(map(tuple, config.run)),
        inputs=tuple(config.inputs),
        provides=tuple(config.provides),
        timeout_us=config.timeout_us,
        network=config.network,
        env=tuple(sorted(config.env.items())),
        sha256=hashlib.sha256(rfc8785.dumps(shape)).hexdigest(),
    )


async def load(repository: Repository, base: str, config: RepoConfig) -> tuple[SetupDefinition, ...]:
    """The setups that apply to work on the base-branch commit ``base``, in order of name.

    Raises ``RepositoryUnusable`` for one that can never be used there, and for a file that cannot be read or that
    conflicts with the operator's.
    """
    defined, where = await repo_file.read(repository, base) or RepoFile(), repo_file.place(repository, base)
    try:
        merged = merge_setups(defined, config, repo=repository.name)
    except Misused as error:
        raise RepositoryUnusable.of(error) from error
    setups = tuple(define(name, merged[name]) for name in sorted(merged))
    if setups:
        await asyncio.to_thread(_check, setups, await entries(repository, base), where)
    return setups


def _check(setups: Sequence[SetupDefinition], tree: Tree, where: str) -> None:
    check_place(setups, tree, where)
    for setup in setups:
        if not setup.inputs_in(tree):
            raise _refused(setup, where, f"its inputs match no file ({', '.join(setup.inputs)})", "Correct them")


def check_place(setups: Sequence[SetupDefinition], tree: Iterable[str], where: str) -> None:
    """Raises ``RepositoryUnusable`` where a tree has a file of its own at, in, or above a directory that a setup
    provides."""
    provided = [(path.lower() + "/", path, setup) for setup in setups for path in setup.provides]
    inside = tuple(lower for lower, _, _ in provided)
    for tracked in tree if provided else ():
        whole = tracked.lower() + "/"
        if whole.startswith(inside) or any(lower.startswith(whole) for lower in inside):
            path, setup = next(
                (path, setup)
                for lower, path, setup in provided
                if whole.startswith(lower) or lower.startswith(whole)
            )
            what = f"it provides {path}, but the repository tracks {tracked}"
            raise _refused(
                setup, where, what, f"Remove {tracked} from the repository, or provide another directory"
            )


def _refused(setup: SetupDefinition, where: str, cause: str, hint: str) -> RepositoryUnusable:
    return RepositoryUnusable(attempted=f"use [setup.{setup.name}]", on=where, cause=cause, hint=hint)
