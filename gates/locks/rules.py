"""What a repository's base says about locks: its groups, its mode, and which files need none."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Final

from fleet.config import LocksConfig, RepoFile
from fleet.git import merging
from fleet.git.repository import Repository
from fleet.globs import Glob
from fleet.locks import Resource, Want
from fleet.setup import repo_file
from gates.locks.overlap import glob

_KEPT: Final = 64


class BaseRules:
    """One for a controller. A commit never changes, so what it says is remembered."""

    def __init__(self, repositories: Callable[[str], Repository]) -> None:
        self._repositories = repositories
        self._merge_rules: dict[tuple[str, str], Mapping[str, bytes]] = {}
        self._rules: dict[tuple[str, str], LocksConfig] = {}

    async def of(self, repo: str, base: str) -> LocksConfig:
        """The rules of the repository, as this commit has them."""
        key = (repo, base)
        if key not in self._rules:
            found = await repo_file.read(self._repositories(repo), base)
            if len(self._rules) >= _KEPT:
                self._rules.clear()
            self._rules[key] = (found or RepoFile()).locks
        return self._rules[key]

    async def without_unions(self, repo: str, base: str, paths: Sequence[str]) -> list[str]:
        """The paths that need a lock: not those of which the base says that git keeps the lines of both sides."""
        repository = self._repositories(repo)
        key = (repo, base)
        if key not in self._merge_rules:
            if len(self._merge_rules) >= _KEPT:
                self._merge_rules.clear()
            self._merge_rules[key] = await merging.attributes(repository, base)
        unions = await merging.unions(repository, self._merge_rules[key], paths)
        return [path for path in paths if path not in unions]


def wants_of(repo: str, paths: Sequence[str], rules: LocksConfig) -> tuple[Want, ...]:
    """A lock for each path, and with it all of a group that the path belongs to."""
    wants = [Want(Resource(Glob.path(printable(path)).text, repo)) for path in paths]
    for group in rules.groups.values():
        if any(glob(pattern).covers(printable(path)) for pattern in group for path in paths):
            wants += [Want(Resource(pattern, repo)) for pattern in group]
    return tuple(dict.fromkeys(wants))


def printable(path: str) -> str:
    """A path whose bytes are no UTF-8, in letters: the store keeps text."""
    return path.encode("utf-8", "surrogateescape").decode("utf-8", "backslashreplace")
