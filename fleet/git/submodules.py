"""Submodules: other repositories whose commits a tree records, at paths of its own.

The controller fetches each recorded commit from where the base's ``.gitmodules`` says, into a mirror of that
repository's own, and copies the commit and its files into the mirror of the repository. A tree that is judged keeps
its submodules as it records them; what fills a checkout is that tree with their files in their places.

A change cannot choose an address: only those of its base count, at the paths where the base has them.
"""

from __future__ import annotations

import asyncio
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Final

from fleet.errors import RepositoryUnusable
from fleet.git import submodule_mirrors
from fleet.git.gitmodules import GITMODULES, Above, Named, Unusable, path_problem, read, resolved
from fleet.git.repository import Repository
from fleet.git.submodule_mirrors import SubmoduleSource
from fleet.git.tree_walk import TreeEntry, directory, entry_at

#: How deep submodules may be in submodules, and how many there may be.
MOST_DEEP: Final = 5
MOST: Final = 500
_EMPTY: Final = "4b825dc642cb6eb9a060e54bf8d69288fbee4904"


@dataclass(frozen=True, slots=True)
class Submodule:
    """One of a tree, at any depth: its path in the whole, the commit that is recorded, and that commit's tree, with
    submodules of its own as it records them. ``tree`` is empty where nothing is in its place."""

    path: str
    commit: str
    tree: str


async def bring(repository: Repository, base: str) -> Mapping[str, str]:
    """Makes sure that the mirror has every submodule that a commit of the base branch records, at any depth.

    Returns where each comes from, by its path in the whole tree.

    Raises ``RepositoryUnusable`` for one that cannot be used, and ``OriginAway`` for one whose repository does not
    answer.
    """
    if not await repository.submodules(base):
        return {}
    addresses: dict[str, str] = {}
    todo = [("", base, await _above(repository))]
    for _ in range(MOST_DEEP + 1):
        todo = [
            inside
            for prefix, commit, above in todo
            for inside in await _level(repository, commit, prefix, above, addresses)
        ]
        if not todo:
            return addresses
    raise _refused(repository, todo[0][0].rstrip("/"), "", "it is too deep inside other submodules")


async def answering(repository: Repository, base: str) -> int:
    """How many submodules a commit of the base branch records itself; each of their repositories answers.

    Nothing is fetched. Raises as :func:`bring` does.
    """
    sources = await _own_sources(repository, base)
    for each in sources:
        await submodule_mirrors.answers(repository, each)
    return len(sources)


async def usable(repository: Repository, commit: str) -> None:
    """Raises ``RepositoryUnusable`` for a submodule that a commit itself records and that could not be used.

    Nobody is asked: the commit may be a change's.
    """
    await _own_sources(repository, commit)


async def bring_changed(repository: Repository, base: str, tree: str) -> None:
    """Makes sure that the mirror has the submodules that a change moves. What it adds has no address that counts.

    Raises as :func:`bring` does.
    """
    if not await repository.submodules(tree):
        return
    addresses = await bring(repository, base)
    todo = [("", tree)]
    while todo:
        prefix, commit = todo.pop()
        for path, recorded_commit in (await repository.submodules(commit)).items():
            if (whole := prefix + path) in addresses:
                source = SubmoduleSource(whole, recorded_commit, addresses[whole], ())
                found = await submodule_mirrors.bring(repository, source)
                todo.append((f"{whole}/", found))


async def listed(repository: Repository, commit: str) -> tuple[Submodule, ...]:
    """The submodules of a commit or tree, each before those inside it.

    Raises ``RepositoryUnusable`` for too many of them.
    """
    found: list[Submodule] = []
    todo = [("", commit)]
    while todo:
        prefix, above = todo.pop()
        for path, recorded in (await repository.submodules(above)).items():
            tree = await submodule_mirrors.tree_of(repository, recorded)
            if len(found) >= MOST:
                raise _refused(repository, prefix + path, recorded, f"there are more than {MOST}")
            found.append(Submodule(prefix + path, recorded, "" if tree == _EMPTY else tree))
            if tree:
                todo.append((f"{prefix}{path}/", tree))
    return tuple(sorted(found, key=lambda each: each.path.split("/")))


async def furnished(repository: Repository, commit: str) -> str:
    """The tree of a commit with the files of its submodules in their places: what fills a checkout."""
    tree = await repository.tree_of(commit)
    within: dict[str, str] = {}
    for each in reversed(await listed(repository, tree)):  # those inside one before it
        if not each.tree:
            continue
        here = f"{each.path}/"
        inside = {path.removeprefix(here): own for path, own in within.items() if path.startswith(here)}
        within = {path: own for path, own in within.items() if not path.startswith(here)}
        within[each.path] = await _grafted(repository, each.tree, inside)
    return await _grafted(repository, tree, within)


# --- parts ----------------------------------------------------------------------------------------------


async def _level(
    repository: Repository, commit: str, prefix: str, above: Above, addresses: dict[str, str]
) -> list[tuple[str, str, Above]]:
    """Brings the submodules of one commit, notes their addresses, and returns them as the next level."""
    inside = []
    for each in await _sources(repository, commit, prefix, above):
        if len(addresses) >= MOST:
            raise _refused(repository, each.path, each.commit, f"there are more than {MOST}")
        addresses[each.path] = each.address
        tree = await submodule_mirrors.bring(repository, each)
        inside.append((f"{each.path}/", tree, Above(each.address, above.local)))
    return inside


async def _own_sources(repository: Repository, commit: str) -> list[SubmoduleSource]:
    """Those of the submodules that a commit of the repository itself records."""
    return await _sources(repository, commit, "", await _above(repository))


async def _sources(repository: Repository, commit: str, prefix: str, above: Above) -> list[SubmoduleSource]:
    """Those of one commit's submodules. Raises ``RepositoryUnusable`` for one that cannot be used."""
    found = await repository.submodules(commit)
    says = await named(repository, commit, prefix) if found else {}
    sources = []
    for path, recorded in found.items():
        try:
            if why := path_problem(path):
                raise Unusable(why)
            if path not in says:
                raise Unusable(f"{GITMODULES} does not say where it comes from")
            address = resolved(says[path], above)
        except Unusable as why_not:
            raise _refused(repository, prefix + path, recorded, str(why_not)) from None
        nearer = [] if prefix else await _checked_out(repository, says[path])
        sources.append(SubmoduleSource(prefix + path, recorded, address, nearer))
    return sources


async def _above(repository: Repository) -> Above:
    """What relative addresses are relative to: in a clone, as git has it, the address that it was cloned from."""
    if repository.path is None:
        return Above(repository.url, local=False)
    cloned_from = (await repository.opened()).settings.get("remote.origin.url")
    return Above(cloned_from or repository.remote, local=True)


async def _checked_out(repository: Repository, named: Named) -> Sequence[str]:
    """Where a repository on this machine has the submodule itself, as ``git submodule update`` leaves it."""
    if repository.path is None or not named.name:
        return ()
    inside = (await repository.opened()).git_dir / "modules" / named.name
    return (str(inside),) if await asyncio.to_thread((inside / "objects").is_dir) else ()


async def named(repository: Repository, commit: str, prefix: str = "") -> Mapping[str, Named]:
    """What the ``.gitmodules`` of a commit or tree says, by path. ``prefix``: where that commit is, for the error.

    Raises ``RepositoryUnusable`` where it cannot be read.
    """
    entry = await entry_at(repository.objects, commit, GITMODULES)
    path = prefix + GITMODULES
    if entry is None:
        return {}
    if not entry.mode.startswith("100"):
        raise _refused(repository, path, "", "it is not a file")
    ended = await repository.git.run(
        "config", "--no-includes", f"--blob={entry.id}", "--list", "-z",
        attempted="read where submodules come from", on=f"{repository.name}: {path}", git_dir=repository.mirror,
        limit=1 << 20, expect=(0, 1, 128, 255),
    )  # fmt: skip
    if ended.code or ended.cut:
        raise _refused(repository, path, "", "git cannot read it")
    try:
        return read(ended.out)
    except Unusable as why:
        raise _refused(repository, path, "", str(why)) from None


async def _grafted(repository: Repository, tree: str, within: Mapping[str, str]) -> str:
    """A tree with other trees at these paths of it."""
    if not within:
        return tree
    here = await directory(repository.objects, tree)
    below: dict[str, dict[str, str]] = {}
    for path, own in within.items():
        name, slash, rest = path.partition("/")
        if slash:
            below.setdefault(name, {})[rest] = own
        else:
            here[name] = TreeEntry("040000", own)
    for name, inside in below.items():
        here[name] = TreeEntry("040000", await _grafted(repository, here[name].id, inside))
    kinds = {"040000": "tree", "160000": "commit"}
    rows = "".join(f"{each.mode} {kinds.get(each.mode, 'blob')} {each.id}\t{name}\0" for name, each in here.items())
    ended = await repository.git.run(
        "mktree", "-z", "--missing",
        attempted="put submodules in their places", on=f"{repository.name}: {tree}", git_dir=repository.mirror,
        stdin=rows.encode("utf-8", "surrogateescape"),
    )  # fmt: skip
    return ended.line


def _refused(repository: Repository, path: str, commit: str, why: str) -> RepositoryUnusable:
    at = f" at {commit[:12]}" if commit else ""
    return RepositoryUnusable(
        attempted="use submodules",
        on=repository.name,
        cause=f"{path!r}{at} cannot be used: {why}",
        hint="Correct it on the base branch, or put the files into the repository (git subtree).",
    )
