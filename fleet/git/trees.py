"""Reads whole trees and many files at once from a mirror."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from fleet.errors import Refused
from fleet.git.command import is_object_id
from fleet.git.repository import Repository


@dataclass(frozen=True, slots=True)
class TreeEntry:
    """One path of a tree: git's mode (``100644``, ``120000``, …) and the object's id."""

    mode: str
    id: str


async def entries(repository: Repository, commit: str) -> dict[str, TreeEntry]:
    """Every path of a commit's tree, without directories. Bytes that are not UTF-8 become surrogate escapes."""
    assert is_object_id(commit)
    ended = await repository.git.run(
        "ls-tree", "-r", "-z", commit,
        attempted="list a tree", on=f"{repository.name}: {commit}", git_dir=repository.mirror, limit=256 << 20,
    )  # fmt: skip
    if ended.cut:
        raise Refused(attempted="list a tree", on=commit, cause="too many paths")
    found = {}
    for line in ended.out.decode("utf-8", "surrogateescape").split("\0")[:-1]:
        about, _, path = line.partition("\t")
        mode, _, object_id = about.split(" ")
        found[path] = TreeEntry(mode, object_id)
    return found


async def blobs(repository: Repository, ids: Iterable[str], limit: int) -> dict[str, bytes]:
    """The bytes of these blobs. What is missing, or beyond ``limit`` bytes in all, is left out."""
    wanted = "".join(f"{each}\n" for each in dict.fromkeys(ids))
    if not wanted:
        return {}
    ended = await repository.git.run(
        "cat-file", "--batch", "--buffer",
        attempted="read files", on=repository.name, git_dir=repository.mirror, stdin=wanted.encode(), limit=limit,
    )  # fmt: skip
    found: dict[str, bytes] = {}
    at = 0
    while (end := ended.out.find(b"\n", at)) >= 0:
        words, at = ended.out[at:end].split(), end + 1
        if len(words) == 3:
            size = int(words[2])
            if at + size > len(ended.out):
                break
            found[words[0].decode()] = ended.out[at : at + size]
            at += size + 1
    return found
