"""Files that git would store through a program of the repository's choice (``filter=`` in ``.gitattributes``).

No such program runs here. A change to such a file is known by the tree alone, and goes back to the agent.
"""

from __future__ import annotations

import posixpath
import tempfile
from collections.abc import Collection
from pathlib import Path
from typing import Final

from fleet.errors import Refused
from fleet.git.repository import Repository
from fleet.git.trees import blobs

LFS: Final = "lfs"
_POINTER: Final = b"version https://git-lfs.github.com/spec/v1\n"
_POINTER_BYTES: Final = 1024
_CHUNK: Final = 500
_LIMIT: Final = 8 << 20


async def unfiltered(
    repository: Repository, base: str, commit: str, changed: Collection[str], allowed: Collection[str]
) -> str:
    """Why a commit cannot land as it is: a changed file that git would have stored in another form. Empty: none.

    The base's ``.gitattributes`` count, and the commit's own for Git LFS, of which a pointer is what git stores.
    ``allowed`` are filters whose files the operator wants as they are.
    """
    own = await _filters(repository, commit, changed)
    filters = {path: name for path, name in own.items() if name == LFS} | await _filters(repository, base, changed)
    for path, name in sorted(filters.items()):
        if name in allowed or (name == LFS and await _is_pointer(repository, commit, path)):
            continue
        if name == LFS:
            return (
                f"{path!r} belongs into Git LFS (.gitattributes), and large objects cannot be stored from here. "
                "Leave such files as they are, or let them out of .gitattributes"
            )
        return (
            f"{path!r} goes through the filter {name!r} (.gitattributes), which is not run here. "
            "Leave such files as they are"
        )
    return ""


async def _is_pointer(repository: Repository, commit: str, path: str) -> bool:
    try:
        data = await repository.show(commit, path, _POINTER_BYTES)
    except Refused:  # it is larger
        return False
    return data is None or data.startswith(_POINTER)


async def _filters(repository: Repository, commit: str, changed: Collection[str]) -> dict[str, str]:
    """The filter of each changed path that has one, by the ``.gitattributes`` of the commit alone."""
    rules = await _rules(repository, commit, changed)
    data = await blobs(repository, rules.values(), _LIMIT)
    if not any(b"filter" in data.get(object_id, b"filter") for object_id in rules.values()):
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
            "check-attr", "-z", "--cached", "--stdin", "filter",
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
    wanted = sorted(posixpath.join(directory, ".gitattributes") for directory in directories)
    found = {}
    for at in range(0, len(wanted), _CHUNK):
        ended = await repository.git.run(
            "ls-tree", "-z", "--full-tree", commit, "--", *wanted[at : at + _CHUNK],
            attempted="read attributes", on=f"{repository.name}: {commit}", git_dir=repository.mirror,
        )  # fmt: skip
        for line in ended.out.decode("utf-8", "surrogateescape").split("\0")[:-1]:
            about, _, path = line.partition("\t")
            mode, _, object_id = about.split(" ")
            if mode.startswith("100"):
                found[path] = object_id
    return found
