"""What stands in an agent's worktree in place of what its tree only names: the objects of Git LFS, and the files of
submodules. A snapshot tells both apart from what the agent did."""

from __future__ import annotations

from fleet.git import large_files, submodule_places, submodules
from fleet.git.repository import Repository
from fleet.ports import Executor


async def put(  # noqa: PLR0917 - what to put where
    executor: Executor, repository: Repository, root: str, work: str, commit: str, base: str, *, before: str = ""
) -> None:
    """Puts it in place in a worktree that has a commit's files, by the rules of that commit and its base. May be
    repeated. ``before``: the worktree had this commit.

    Raises ``Unavailable`` when the machine cannot do it, or a submodule cannot be fetched, and ``Refused`` for a
    submodule that cannot be used.
    """
    await large_files.put(executor, repository, root, work, commit, base)
    await submodules.bring_changed(repository, base, commit)
    await submodule_places.put(executor, repository, root, work, commit, before=before)


async def listing(repository: Repository, base: str) -> bytes:
    """What a script on the machine is told of it: a line each. A submodule's has its commit, its tree, git's mode,
    and the path."""
    rows = (
        f"{each.commit} {each.tree} 160000 {each.path}\n"
        for each in await submodules.listed(repository, base)
        if each.tree
    )
    return await large_files.listing(repository, base) + "".join(rows).encode("utf-8", "surrogateescape")
