"""What a change does to submodules: it may record other commits, and a person looks at each. What it does inside
their directories is no part of it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import Final

from fleet.errors import Refused
from fleet.git import submodules
from fleet.git.gitmodules import GITMODULES
from fleet.git.handed_over import refused
from fleet.git.repository import Repository

_SHOWN: Final = 12


class SubmoduleChangeKind(StrEnum):
    """What a change does to a submodule, or to the file that says where they come from."""

    ADDED = "added"
    MOVED = "moved"
    REMOVED = "removed"
    ADDRESSES = "addresses"


@dataclass(frozen=True, slots=True)
class SubmoduleChange:
    """One path. ``old`` and ``new`` are the commits that are recorded; empty: none."""

    path: str
    kind: SubmoduleChangeKind
    old: str = ""
    new: str = ""

    @property
    def words(self) -> str:
        """What it does, for a person and for the agent, after the path."""
        match self.kind:
            case SubmoduleChangeKind.ADDED:
                return f"is a submodule that the change adds, at commit {self.new[:_SHOWN]}"
            case SubmoduleChangeKind.MOVED:
                return f"is a submodule that the change moves from {self.old[:_SHOWN]} to {self.new[:_SHOWN]}"
            case SubmoduleChangeKind.REMOVED:
                return f"is a submodule that the change removes; it was at {self.old[:_SHOWN]}"
            case SubmoduleChangeKind.ADDRESSES:
                return "says where submodules come from, and the change edits it"


async def changes(repository: Repository, base: str, tree: str) -> tuple[SubmoduleChange, ...]:
    """What differs between a base and a commit or tree."""
    before, after = await repository.submodules(base), await repository.submodules(tree)
    found = []
    for path in sorted(before.keys() | after.keys()):
        old, new = before.get(path, ""), after.get(path, "")
        if old != new:
            kind = SubmoduleChangeKind.MOVED if old and new else SubmoduleChangeKind.ADDED
            found.append(SubmoduleChange(path, kind if new else SubmoduleChangeKind.REMOVED, old, new))
    if any(each.path.lower() == GITMODULES for each in await repository.changed_paths(base, tree)):
        found.append(SubmoduleChange(GITMODULES, SubmoduleChangeKind.ADDRESSES))
    return tuple(found)


async def check(repository: Repository, base: str, tree: str, on: str) -> tuple[SubmoduleChange, ...]:
    """What a tree does to submodules, each commit of which can be had from where the base says.

    Raises ``TreeRefused`` for a commit that nobody else has, and for a repository that no ``.gitmodules`` names:
    most likely a clone that the agent left there.
    """
    found = await changes(repository, base, tree)
    named = await _named(repository, tree) if any(each.kind is SubmoduleChangeKind.ADDED for each in found) else ()
    for each in found:
        if each.kind is SubmoduleChangeKind.ADDED and each.path not in named:
            raise refused(on, f"{each.path!r} is a git repository inside the workspace")
    if any(each.new for each in found):
        try:
            await submodules.bring_changed(repository, base, tree)
        except Refused as error:
            raise refused(on, f"{error.cause}. Put it back, or check out a commit that is there") from error
    return found


async def _named(repository: Repository, tree: str) -> Sequence[str]:
    """The paths that a tree's own ``.gitmodules`` names."""
    try:
        return tuple(await submodules.named(repository, tree))
    except Refused:
        return ()
