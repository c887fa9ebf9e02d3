"""Packs of commits that controllers put into their store for each other."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from fleet import shared_files
from fleet.errors import Unavailable
from fleet.store import blobs
from fleet.store.core import Store
from fleet.store.states import BlobKind


@dataclass(frozen=True, slots=True)
class StoredPacks:
    """Those of one store."""

    store: Store

    async def has(self, repo: str, commit: str, owner: str) -> bool:
        """Whether this owner has it there."""
        return await self.store.read(lambda tx: blobs.owned(tx, _name(repo, commit), owner))

    async def put(self, repo: str, commit: str, owner: str, pack: Path, boundary: Sequence[str]) -> None:
        """Puts a pack there, durably."""
        name = _name(repo, commit)
        await shared_files.put(self.store, pack, BlobKind.COMMIT, name=name, owner=owner, needs=boundary)

    async def boundary(self, repo: str, commit: str) -> tuple[str, ...] | None:
        """The commits without which the pack is of no use; ``None``: there is no such pack."""
        found = await self.store.read(lambda tx: blobs.named(tx, _name(repo, commit)))
        return None if found is None else found.needs

    async def get(self, repo: str, commit: str, pack: Path) -> None:
        """Gets a pack that is there. Raises ``Unavailable`` when it is damaged, or was removed meanwhile."""
        name = _name(repo, commit)
        if await shared_files.bring(self.store, name, pack) is None:
            raise Unavailable(attempted="take over a commit", on=name, cause="nobody needed it any more")

    async def put_large(self, repo: str, oid: str, owner: str, path: Path) -> None:
        """Puts an object of Git LFS there, durably."""
        await shared_files.put(self.store, path, BlobKind.LARGE_FILE, name=_large(repo, oid), owner=owner)

    async def get_large(self, repo: str, oid: str, path: Path) -> None:
        """Gets such an object, if it is there. Raises ``Unavailable`` when it is damaged."""
        await shared_files.bring(self.store, _large(repo, oid), path)


def _large(repo: str, oid: str) -> str:
    return f"large/{repo}/{oid}"


def _name(repo: str, commit: str) -> str:
    return f"commit/{repo}/{commit}"
