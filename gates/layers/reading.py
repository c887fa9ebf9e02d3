"""Reads a change out of the controller's mirror, for the layers to look at."""

from __future__ import annotations

import asyncio
from typing import Final

from fleet.git.repository import Repository
from fleet.git.tree_walk import SUBMODULE
from fleet.git.trees import blobs, entries
from gates.layers.configuration import partly_read
from gates.layers.grammars import LANGUAGES
from gates.layers.paths import folded, is_test
from gates.layers.protocol import Change
from gates.leaks.added import added

_LIMIT: Final = 64 << 20


async def read_change(repository: Repository, base: str, commit: str) -> Change:
    """What ``commit`` changes on ``base``. Raises ``Unavailable`` when git cannot read it."""
    paths = tuple(await repository.changed_paths(base, commit))
    before, after = await entries(repository, base), await entries(repository, commit)
    read = [each.path for each in paths if _is_read(each.path)]
    wanted = {
        tree[path].id for tree in (before, after) for path in read if path in tree and tree[path].mode != SUBMODULE
    }
    data = await blobs(repository, sorted(wanted), _LIMIT)
    patch = await repository.additions(base, commit, _LIMIT)
    lines = await asyncio.to_thread(added, patch.out)
    return Change(
        paths,
        before,
        after,
        {path: data[before[path].id] for path in read if path in before and before[path].id in data},
        {path: data[after[path].id] for path in read if path in after and after[path].id in data},
        {file.path: frozenset(file.numbers) for file in lines},
    )


def _is_read(path: str) -> bool:
    name = folded(path).rpartition("/")[2]
    return name.endswith((".py", *LANGUAGES)) or name in partly_read() or is_test(path)
