"""Checkouts that a machine keeps between gate runs, and moves from one tree to the next by what differs.

Nothing here trusts what a machine keeps: the supervisor of a run hashes the whole checkout before it starts.
"""

from __future__ import annotations

import asyncio
import os
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Final

from fleet.errors import Refused, Unavailable, Unreachable
from fleet.files import Sink, scratch, writing
from fleet.git.command import is_object_id
from fleet.git.repository import Repository
from fleet.git.tree_walk import TreeEntry, replaced
from fleet.tree_ports import TreeKeeper

_MOST_CHANGES: Final = 20_000
_MOST_BYTES: Final = 128 << 20
_AT_ONCE: Final = 16 << 20


async def take(executor: TreeKeeper, repository: Repository, store: str, place: str, tree: str) -> bool:
    """Whether there is a kept checkout of ``tree`` at ``place`` now, taken from ``store``.

    What is there otherwise is of no use. Raises ``Unreachable``.
    """
    held = await executor.take_tree(store, place, tree)
    if held == tree:
        return True
    if not is_object_id(held) or not await repository.has(held, "tree"):
        return False
    try:
        changes = await replaced(repository.objects, held, tree)
        sizes = await _sizes(repository, changes)
        if sizes is None:
            return False
        with scratch(repository.mirror, "transfer-") as written:
            await _write(repository, changes, sizes, written)
            await executor.move_tree(place, written)
    except Unreachable:
        raise
    except (Unavailable, Refused):
        return False
    return True


async def _sizes(repository: Repository, changes: Mapping[str, TreeEntry | None]) -> dict[str, int] | None:
    """The size of each object that has to be sent; ``None``: too much differs, or it is no file."""
    wanted = [entry for entry in changes.values() if entry is not None]
    if len(changes) > _MOST_CHANGES or any(entry.mode[:3] not in ("100", "120") for entry in wanted):
        return None
    sizes = {each.id: each.size for each in await repository.objects.known(entry.id for entry in wanted)}
    whole = all(entry.id in sizes for entry in wanted)
    return sizes if whole and sum(sizes[entry.id] for entry in wanted) <= _MOST_BYTES else None


async def _write(
    repository: Repository, changes: Mapping[str, TreeEntry | None], sizes: Mapping[str, int], target: Path
) -> None:
    """Writes what the machine is told: see ``fleet.machines.runner.kept_trees.move``."""
    gone = (_line(path, 0, b"") for path, entry in changes.items() if entry is None)
    with writing("send what differs between two trees", target), Sink(target) as file:
        file.write(b"".join(gone))
        for some in _batches({path: entry for path, entry in changes.items() if entry is not None}, sizes):
            read = await repository.objects.read((entry.id for entry in some.values()), _MOST_BYTES)
            lines = [_line(path, int(entry.mode, 8), read[entry.id].data) for path, entry in some.items()]
            await asyncio.to_thread(file.write, b"".join(lines))
        file.write(b"\n")


def _batches(wanted: Mapping[str, TreeEntry], sizes: Mapping[str, int]) -> Iterator[dict[str, TreeEntry]]:
    some: dict[str, TreeEntry] = {}
    size = 0
    for path, entry in wanted.items():
        if some and size + sizes[entry.id] > _AT_ONCE:
            yield some
            some, size = {}, 0
        some[path] = entry
        size += sizes[entry.id]
    if some:
        yield some


def _line(path: str, mode: int, data: bytes) -> bytes:
    name = os.fsencode(path)
    return b"%d %d %d\n" % (mode, len(name), len(data)) + name + data
