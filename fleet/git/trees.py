"""Reads whole trees and many files at once from a mirror."""

from __future__ import annotations

from collections.abc import Iterable

from fleet.git.repository import Repository
from fleet.git.tree_walk import TreeEntry, listing

__all__ = ["TreeEntry", "blobs", "entries"]


async def entries(repository: Repository, commit: str) -> dict[str, TreeEntry]:
    """Every path of a commit's tree, without directories. Bytes that are not UTF-8 become surrogate escapes."""
    return await listing(repository.objects, commit)


async def blobs(repository: Repository, ids: Iterable[str], limit: int) -> dict[str, bytes]:
    """The bytes of these blobs. What is missing, or beyond ``limit`` bytes in all, is left out."""
    found: dict[str, bytes] = {}
    sizes = {each.id: each.size for each in await repository.objects.known(ids)}
    within = []
    for object_id, size in sizes.items():
        if (limit := limit - size) < 0:
            break
        within.append(object_id)
    read = await repository.objects.read(within, max(sizes.values(), default=0))
    found.update((object_id, each.data) for object_id, each in read.items())
    return found
