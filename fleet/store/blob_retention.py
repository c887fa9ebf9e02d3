"""Forgets files that controllers shared and nobody needs any more, in stretches, so that nobody waits long."""

from __future__ import annotations

from collections.abc import Callable, Collection
from functools import partial
from typing import Final

from sqlalchemy import select

from fleet.store import blobs, trees
from fleet.store.blobs import NamedBlob
from fleet.store.core import Store, Tx
from fleet.store.states import BlobKind
from fleet.store.tables import tasks

ROWS: Final = 50
OF_WORK: Final = (BlobKind.COMMIT, BlobKind.GATE_OUTPUT, BlobKind.LARGE_FILE)
"""What is needed as long as its task is open, or has work that did not land."""

Needed = Callable[[Tx, Collection[NamedBlob]], set[str]]
"""Gives the names of those files that somebody needs, however old they are."""


async def prune_work(store: Store, age_us: int, *, rows: int = ROWS) -> None:
    """Forgets what is that old and belongs to tasks that are over, and bytes that nobody ever named."""
    for kind in OF_WORK:
        await prune(store, kind, age_us, _of_work, rows=rows)
    digest = await store.write(lambda tx: blobs.sweep(tx, "", rows))
    while digest:
        digest = await store.write(partial(_sweep, digest, rows))


async def prune(store: Store, kind: BlobKind, age_us: int, needed: Needed, *, rows: int = ROWS) -> None:
    """Forgets the files of a kind that are that old and that nobody needs."""
    after_us = 0
    while after_us >= 0:
        after_us = await store.write(partial(_prune, kind, needed, after_us, age_us=age_us, rows=rows))


def _prune(kind: BlobKind, needed: Needed, after_us: int, tx: Tx, *, age_us: int, rows: int) -> int:
    """Where the next stretch begins; negative: there is none."""
    found = blobs.of_kind(tx, kind, tx.now_us() - age_us, after_us, rows)
    stays = needed(tx, found) if found else set()
    blobs.forget(tx, [blob for blob in found if blob.name not in stays])
    return found[-1].put_us if len(found) == rows else -1


def _of_work(tx: Tx, found: Collection[NamedBlob]) -> set[str]:
    owners = {blob.owner for blob in found}
    known = set(tx.connection.execute(select(tasks.c.id).where(tasks.c.id.in_(owners))).scalars())
    open_ = known - trees.without_work(tx, known)
    return {blob.name for blob in found if blob.owner in open_}


def _sweep(digest: str, rows: int, tx: Tx) -> str:
    return blobs.sweep(tx, digest, rows)
