"""Files that git would store through a program of the repository's choice (``filter=`` in ``.gitattributes``).

No such program runs here. For Git LFS the controller computes what it would have stored; a change to a file of
another filter goes back to the agent.
"""

from __future__ import annotations

import posixpath
import tempfile
from collections.abc import Collection
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from fleet.git import lfs
from fleet.git.repository import Repository
from fleet.git.tree_walk import survey
from fleet.git.trees import blobs, entries

_LIMIT: Final = 8 << 20


@dataclass(frozen=True, slots=True)
class Filtered:
    """A tree as git would have stored it. ``why`` it cannot land as it is; empty when it can."""

    tree: str
    why: str = ""


async def as_stored(
    repository: Repository, base: str, tree: str, changed: Collection[str], allowed: Collection[str]
) -> Filtered:
    """The tree that ``git add`` would have made of a tree of plain files: by the base's filters.

    ``allowed`` are filters whose files the operator wants as they are. A file belongs into Git LFS when the base's
    rules and the change's own say so: by a rule of its own alone, a change could hide from the gates what it adds.
    """
    by_base = await _filters(repository, base, changed)
    own = await _filters(repository, tree, changed)
    for path, name in sorted(by_base.items()):
        if name not in allowed and name != lfs.LFS:
            return Filtered(
                tree,
                f"{path!r} goes through the filter {name!r} (.gitattributes), which is not run here. "
                "Leave such files as they are",
            )
    if encoded := await _in_another_encoding(repository, base, tree, changed):
        why = f"{encoded!r} is stored as UTF-8 here (working-tree-encoding in .gitattributes). Write it as UTF-8"
        return Filtered(tree, why)
    if lfs.LFS in allowed:
        return Filtered(tree)
    large = sorted(path for path, name in own.items() if name == lfs.LFS)
    known = [path for path in large if by_base.get(path) == lfs.LFS]
    stored = await lfs.with_pointers(repository, tree, known)
    found = await lfs.pointers(repository, stored, large)
    for path in large:
        if path in found and not await lfs.is_known(repository, base, *found[path]):
            why = f"{path!r} is a pointer of Git LFS to a file that nobody has. Put the file itself there"
            return Filtered(stored, why)
        if path not in found and path not in known:
            why = (
                f"{path!r} belongs into Git LFS by a rule in .gitattributes that this change adds. A rule counts "
                "once it is on the base branch: leave the file out, and let the rule land first"
            )
            return Filtered(stored, why)
    return Filtered(stored)


async def large_files(repository: Repository, commit: str, base: str = "") -> dict[str, tuple[str, lfs.Pointer]]:
    """The files of a commit that are pointers of Git LFS, by its own rules: each with its mode and its object.

    With ``base`` that commit's rules must say so too: by a rule of its own, a change could run what the layers
    against tampering never read. Names that are no line of UTF-8 are left out.
    """
    if not await _speaks_of_lfs(repository, commit):
        return {}
    paths = [path for path in await entries(repository, commit) if _is_line(path)]
    for rules in dict.fromkeys((commit, base or commit)):
        filters = await _filters(repository, rules, paths)
        paths = [path for path, name in filters.items() if name == lfs.LFS]
    found = await lfs.pointers(repository, commit, paths)
    return {path: (entry.mode, pointer) for path, (entry, pointer) in sorted(found.items())}


async def _speaks_of_lfs(repository: Repository, commit: str) -> bool:
    """Whether any ``.gitattributes`` does. Most repositories have none, and nothing else is read of them then."""
    found = (await survey(repository.objects, commit)).attributes
    data = await blobs(repository, found.values(), _LIMIT)
    return any(f"={lfs.LFS}".encode() in data.get(each, f"={lfs.LFS}".encode()) for each in found.values())


def _is_line(path: str) -> bool:
    return "\n" not in path and path.encode("utf-8", "replace").decode() == path


async def _in_another_encoding(repository: Repository, base: str, tree: str, changed: Collection[str]) -> str:
    """A changed file that ``git add`` would have stored in UTF-8, and that is not: worktrees here have it so."""
    named = await _attribute(repository, base, changed, "working-tree-encoding")
    named |= await _attribute(repository, tree, changed, "working-tree-encoding")
    if not named:
        return ""
    found = await entries(repository, tree)
    ids = {path: found[path].id for path in named if path in found and found[path].mode.startswith("100")}
    data = await blobs(repository, ids.values(), _LIMIT)
    return next((path for path in sorted(ids) if not _is_utf8(data.get(ids[path], b""))), "")


def _is_utf8(data: bytes) -> bool:
    try:
        return "\0" not in data.decode()
    except UnicodeDecodeError:
        return False


async def _filters(repository: Repository, commit: str, changed: Collection[str]) -> dict[str, str]:
    return await _attribute(repository, commit, changed, "filter")


async def _attribute(repository: Repository, commit: str, changed: Collection[str], name: str) -> dict[str, str]:
    """Its value for each changed path that has one, by the ``.gitattributes`` of the commit alone."""
    rules, word = await _rules(repository, commit, changed), name.encode()
    data = await blobs(repository, rules.values(), _LIMIT)
    if not any(word in data.get(object_id, word) for object_id in rules.values()):
        return {}
    attempted, on = "read attributes", f"{repository.name}: {commit}"
    with tempfile.TemporaryDirectory(prefix="attributes-", dir=repository.mirror) as directory:
        own = Path(directory) / "own.git"
        await repository.git.run("init", "--quiet", "--bare", "--template=", str(own), attempted=attempted, on=on)
        env = {"GIT_OBJECT_DIRECTORY": str(repository.mirror / "objects"), "GIT_INDEX_FILE": str(own / "index")}
        index = b"".join(
            b"100644 %s\t%s\0" % (object_id.encode(), path.encode("utf-8", "surrogateescape"))
            for path, object_id in rules.items()
        )
        await repository.git.run(
            "update-index", "-z", "--index-info",
            attempted=attempted, on=on, git_dir=own, env=env, stdin=index,
        )  # fmt: skip
        ended = await repository.git.run(
            "check-attr", "-z", "--cached", "--stdin", name,
            attempted=attempted, on=on, git_dir=own, env=env,
            stdin="\0".join([*changed, ""]).encode("utf-8", "surrogateescape"),
        )  # fmt: skip
    fields = ended.out.decode("utf-8", "surrogateescape").split("\0")
    named = zip(fields[0::3], fields[2::3], strict=False)
    return {path: value for path, value in named if value not in ("unspecified", "unset")}


async def _rules(repository: Repository, commit: str, changed: Collection[str]) -> dict[str, str]:
    """The ``.gitattributes`` that apply to these paths, with their objects' ids."""
    directories = {""}
    for path in changed:
        while (path := posixpath.dirname(path)) not in directories:
            directories.add(path)
    found = (await survey(repository.objects, commit)).attributes
    return {path: object_id for path, object_id in found.items() if posixpath.dirname(path) in directories}
