"""Files that others need to take over from a controller: kept in the store that they share, gotten from there.

Bytes are put chunk by chunk, each in a transaction of its own; the name comes last, and only once all of them are
there. Who gets them looks whether they are what the name says. With a store that nobody shares there is none of it.
"""

from __future__ import annotations

import asyncio
import hashlib
from collections.abc import Sequence
from functools import partial
from io import BufferedReader
from pathlib import Path
from typing import Final

from fleet import files
from fleet.errors import Unavailable
from fleet.store import blobs
from fleet.store.blobs import CHUNK_BYTES, NamedBlob
from fleet.store.core import Beforehand, Store, Tx
from fleet.store.states import BlobKind

_TRIES: Final = 3


def gate_output(run: str) -> str:
    """What a gate run's whole output is called."""
    return f"gates/{run}.log"


def review(run: str) -> str:
    """What the exchange with a reviewer is called."""
    return f"gates/{run}.review.json"


async def keep(store: Store, path: Path, kind: BlobKind, *, name: str, owner: str) -> None:
    """Puts a file where others can get it, if there may be others. Raises as :func:`put`."""
    if store.can_be_shared:
        await put(store, path, kind, name=name, owner=owner)


def demand(tx: Tx, path: Path, kind: BlobKind, *, name: str, owner: str) -> None:
    """For a write that refers to a file: raises ``Beforehand`` unless others can get it, as it is now. One that
    cannot be read is left to who needs it."""
    if not tx.store.can_be_shared:
        return
    try:
        digest = hashlib.sha256(path.read_bytes()).hexdigest()
    except OSError:
        return
    found = blobs.named(tx, name)
    if found is None or found.digest != digest:
        raise Beforehand(partial(keep, tx.store, path, kind, name=name, owner=owner))


async def put(
    store: Store, path: Path, kind: BlobKind, *, name: str, owner: str, needs: Sequence[str] = ()
) -> None:
    """Puts a file into the store, durably, under a name; repeating is harmless.

    Raises ``Unavailable`` when the file cannot be read, or changes meanwhile.
    """
    for _ in range(_TRIES):
        try:
            with await asyncio.to_thread(path.open, "rb") as file:
                if await _put(store, file, NamedBlob(name, owner, kind, "", tuple(needs), store.shared_as)):
                    return
        except OSError as error:
            raise Unavailable(
                attempted="keep a file in the store", on=str(path), cause=error.strerror or str(error)
            ) from error
    raise Unavailable(attempted="keep a file in the store", on=str(path), cause="it changes all the time")


async def bring(store: Store, name: str, target: Path) -> NamedBlob | None:
    """Gets the file of this name out of the store to ``target``, whole or not at all; ``None``: there is none.

    Raises ``Unavailable`` when its bytes are not those that were put, ``DiskFull`` when it cannot be written.
    """
    if (found := await store.read(lambda tx: blobs.named(tx, name))) is None:
        return None
    with files.writing("get a file out of the store", target):
        await asyncio.to_thread(partial(target.parent.mkdir, mode=0o700, parents=True, exist_ok=True))
        with files.scratch(target.parent, f".{target.name[:20]}.") as part:
            seen = hashlib.sha256()
            with files.Sink(part) as sink:
                position = 0
                while (data := await store.read(partial(_chunk, found.digest, position))) is not None:
                    await asyncio.to_thread(sink.write, data)
                    seen.update(data)
                    position += 1
            _demand(found, seen)
            await asyncio.to_thread(files.copy_durably, part, target, mode=0o600)
    return found


async def read(store: Store, name: str) -> bytes | None:
    """The bytes of a file that is small enough for the memory; ``None``: there is none. Raises as :func:`bring`."""
    if (found := await store.read(lambda tx: blobs.named(tx, name))) is None:
        return None
    parts: list[bytes] = []
    while (data := await store.read(partial(_chunk, found.digest, len(parts)))) is not None:
        parts.append(data)
    whole = b"".join(parts)
    _demand(found, hashlib.sha256(whole))
    return whole


def _demand(found: NamedBlob, seen: hashlib._Hash) -> None:
    """Raises ``Unavailable`` when these are not the bytes that were put."""
    if seen.hexdigest() != found.digest:
        raise Unavailable(
            attempted="get a file out of the store",
            on=found.name,
            cause=f"its bytes are not those of SHA-256 {found.digest}: the store's copy is damaged",
            hint=f"{found.controller or 'An earlier controller'} put it there; its home may have it.",
        )


async def _put(store: Store, file: BufferedReader, blob: NamedBlob) -> bool:
    """False: not all of the bytes are there now."""
    digest = (await asyncio.to_thread(hashlib.file_digest, file, "sha256")).hexdigest()
    size = file.tell()
    if await store.write(lambda tx: blobs.begin(tx, digest, size)):
        file.seek(0)
        seen, position = hashlib.sha256(), 0
        while data := await asyncio.to_thread(file.read, CHUNK_BYTES):
            await store.write(partial(_put_chunk, digest, position, data))
            seen.update(data)
            position += 1
        if seen.hexdigest() != digest:
            return False
    named = NamedBlob(blob.name, blob.owner, blob.kind, digest, blob.needs, blob.controller)
    return await store.write(lambda tx: blobs.give_name(tx, named, size))


def _put_chunk(digest: str, position: int, data: bytes, tx: Tx) -> None:
    blobs.put_chunk(tx, digest, position, data)


def _chunk(digest: str, position: int, tx: Tx) -> bytes | None:
    return blobs.chunk(tx, digest, position)
