"""Files that every controller of the store can get: bytes by their SHA-256, in chunks, and names for them.

A name is only given to bytes that are all there. Nobody but :mod:`fleet.shared_files` puts and gets whole files.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Final

from sqlalchemy import ColumnElement, and_, delete, func, insert, select, update

from fleet.store.blob_tables import blob_chunks, blob_names, blobs
from fleet.store.core import Tx
from fleet.store.records import columns, reader
from fleet.store.states import BlobKind

CHUNK_BYTES: Final = 1 << 20
ABANDONED_US: Final = 86_400_000_000
"""How long bytes may be there without a name: somebody may still put them."""


@dataclass(frozen=True, slots=True)
class NamedBlob:
    """A file in the store. ``owner``: the task or session that needs it. ``needs``: what it is useless without."""

    name: str
    owner: str
    kind: BlobKind
    digest: str
    needs: tuple[str, ...] = ()
    controller: str = ""
    put_us: int = 0


_blob = reader(NamedBlob, needs=lambda row: tuple(row.needs.split()))


# --- bytes --------------------------------------------------------------------------------------------------


def begin(tx: Tx, digest: str, size: int) -> bool:
    """Whether these bytes must be put: they are not all there."""
    found = tx.connection.execute(select(blobs.c.whole).where(blobs.c.digest == digest)).first()
    if found is None:
        row = {"digest": digest, "size": size, "whole": False, "touched_us": tx.now_us()}
        tx.connection.execute(insert(blobs), row)
        return True
    tx.connection.execute(update(blobs).where(blobs.c.digest == digest).values(touched_us=tx.now_us()))
    if not found.whole:  # what an earlier try left may be of a file that changed meanwhile
        tx.connection.execute(delete(blob_chunks).where(blob_chunks.c.digest == digest))
    return not found.whole


def put_chunk(tx: Tx, digest: str, position: int, data: bytes) -> None:
    """A part of bytes that are not all there yet; one that was left of an earlier try is replaced."""
    if is_whole(tx, digest):
        return  # another controller put them meanwhile
    tx.connection.execute(delete(blob_chunks).where(_at(digest, position)))
    tx.connection.execute(insert(blob_chunks), {"digest": digest, "position": position, "data": data})


def is_whole(tx: Tx, digest: str) -> bool:
    """Whether all of these bytes are there."""
    query = select(blobs.c.whole).where(blobs.c.digest == digest)
    return bool(tx.connection.execute(query).scalar())


def give_name(tx: Tx, blob: NamedBlob, size: int) -> bool:
    """Names bytes, or gives the name to other bytes. False, and nothing is changed: they are not all there."""
    if not is_whole(tx, blob.digest):
        here = select(func.coalesce(func.sum(func.length(blob_chunks.c.data)), 0)).where(
            blob_chunks.c.digest == blob.digest
        )
        if not _known(tx, blob.digest) or tx.connection.execute(here).scalar_one() != size:
            return False
        tx.connection.execute(update(blobs).where(blobs.c.digest == blob.digest).values(whole=True, size=size))
    before = tx.connection.execute(select(blob_names.c.digest).where(_named(blob))).scalar()
    tx.connection.execute(delete(blob_names).where(_named(blob)))
    row = {**columns(blob), "needs": " ".join(blob.needs), "put_us": tx.now_us()}
    tx.connection.execute(insert(blob_names), row)
    if before is not None and not _has_name(tx, before):
        _remove(tx, before)
    return True


def chunk(tx: Tx, digest: str, position: int) -> bytes | None:
    """A part of the bytes; ``None`` after the last."""
    found = tx.connection.execute(select(blob_chunks.c.data).where(_at(digest, position))).scalar()
    return None if found is None else bytes(found)


# --- names --------------------------------------------------------------------------------------------------


def named(tx: Tx, name: str) -> NamedBlob | None:
    """The file of this name, the newest of all its owners'."""
    found = [_blob(row) for row in tx.connection.execute(select(blob_names).where(blob_names.c.name == name))]
    return max(found, key=lambda blob: blob.put_us, default=None)


def owned(tx: Tx, name: str, owner: str) -> bool:
    """Whether this owner has a file of this name."""
    query = select(blob_names.c.name).where(blob_names.c.name == name, blob_names.c.owner == owner)
    return tx.connection.execute(query).first() is not None


def of_kind(tx: Tx, kind: BlobKind, before_us: int, after_us: int, rows: int) -> list[NamedBlob]:
    """Files of a kind that were put between the two times, the oldest first."""
    query = select(blob_names).where(
        blob_names.c.kind == kind, blob_names.c.put_us > after_us, blob_names.c.put_us < before_us
    )
    return [_blob(row) for row in tx.connection.execute(query.order_by(blob_names.c.put_us).limit(rows))]


def forget(tx: Tx, found: Iterable[NamedBlob]) -> None:
    """Nobody needs these files any more. Bytes without a name go with the last of their names."""
    for blob in found:
        tx.connection.execute(delete(blob_names).where(_named(blob)))
        if not _has_name(tx, blob.digest):
            _remove(tx, blob.digest)


def sweep(tx: Tx, after: str, rows: int) -> str:
    """Removes bytes that somebody began to put and never named; from one digest to the one that is returned, which
    is empty at the end."""
    query = select(blobs.c.digest, blobs.c.touched_us).where(blobs.c.digest > after)
    found = tx.connection.execute(query.order_by(blobs.c.digest).limit(rows)).all()
    for digest, touched_us in found:
        if touched_us < tx.now_us() - ABANDONED_US and not _has_name(tx, digest):
            _remove(tx, digest)
    return found[-1].digest if len(found) == rows else ""


# --- parts --------------------------------------------------------------------------------------------------


def _known(tx: Tx, digest: str) -> bool:
    return tx.connection.execute(select(blobs.c.digest).where(blobs.c.digest == digest)).first() is not None


def _has_name(tx: Tx, digest: str) -> bool:
    query = select(blob_names.c.name).where(blob_names.c.digest == digest).limit(1)
    return tx.connection.execute(query).first() is not None


def _remove(tx: Tx, digest: str) -> None:
    tx.connection.execute(delete(blob_chunks).where(blob_chunks.c.digest == digest))
    tx.connection.execute(delete(blobs).where(blobs.c.digest == digest))


def _at(digest: str, position: int) -> ColumnElement[bool]:
    return and_(blob_chunks.c.digest == digest, blob_chunks.c.position == position)


def _named(blob: NamedBlob) -> ColumnElement[bool]:
    return and_(blob_names.c.name == blob.name, blob_names.c.owner == blob.owner)
