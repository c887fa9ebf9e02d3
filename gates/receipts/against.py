"""Compares a log with checkpoints that somebody else has: a witness's copy, another export, what was kept here.

Only checkpoints that a pinned key signed count. Where one does not fit, the log has forked: it was shown in two
forms, or written anew. The fork is named between the last checkpoint that fits and the first that does not.
"""

from __future__ import annotations

import json
import re
from collections.abc import Awaitable, Callable, Iterator, Sequence
from functools import partial
from pathlib import Path
from typing import Any, Final

from fleet.errors import Malformed, Misused
from fleet.events.merkle import Frontier
from fleet.store import rehash
from fleet.store.core import Store
from gates.receipts import bundle, bundle_check, cosigned, sshsig
from gates.receipts.checkpoint import Checkpoint
from gates.receipts.note import SignedNote, log_key
from gates.receipts.verify import Check

_LIMIT: Final = 64 << 20
_PAGE: Final = 2_000
_NOTE: Final = re.compile(r"airboss/\S{1,64}\n\d{1,16}\n\S{44}\n\n(?:— [^\n]{1,800}\n)+")

Roots = Callable[[Sequence[int]], Awaitable[dict[int, bytes]]]
"""The roots of a log at these sizes, as far as it has them."""


def read(path: Path, pinned: Sequence[sshsig.PublicKey]) -> list[Checkpoint]:
    """The checkpoints of a file or a folder of notes, or of an export, that a pinned key signed; by size.

    Raises ``Misused`` where there is none.
    """
    try:
        found = list(_of_bundle(path, pinned)) if bundle_check.is_bundle(path) else list(_of_notes(path, pinned))
    except (OSError, UnicodeError, ValueError, KeyError, TypeError, Malformed, RecursionError) as error:
        raise _none(path, f"it cannot be read: {error}") from error
    if not found:
        raise _none(path, "it has no checkpoint that a pinned key signed")
    return sorted(found, key=lambda point: point.size)


def _of_bundle(path: Path, pinned: Sequence[sshsig.PublicKey]) -> Iterator[Checkpoint]:
    with path.open("rb") as file:
        header: dict[str, Any] = json.loads(file.readline(bundle_check.HEADER_LIMIT))
        file.seek(max(0, file.seek(0, 2) - bundle_check.SIGNATURES_LIMIT))
        signed = json.loads(file.read().splitlines()[-1])
    text, signature = str(header["checkpoint"]), str(signed["checkpoint_sig"])
    if any(not sshsig.verify(signature, text.encode(), key, bundle.CHECKPOINT_SIGNATURE) for key in pinned):
        yield Checkpoint.parse(text)


def _of_notes(path: Path, pinned: Sequence[sshsig.PublicKey]) -> Iterator[Checkpoint]:
    for file in sorted(path.rglob("*.note")) if path.is_dir() else [path]:
        if file.stat().st_size > _LIMIT:
            raise ValueError(f"{file} is over {_LIMIT >> 20} MiB")
        # One that was copied from a chat has lost the end of its last line.
        for found in _NOTE.finditer(file.read_text(encoding="utf-8") + "\n"):
            note, point = SignedNote.parse(found[0]), Checkpoint.parse(SignedNote.parse(found[0]).text)
            if any(note.signed_by(log_key(point.origin, key.raw)) is not None for key in pinned):
                yield point


async def compare(points: Sequence[Checkpoint], roots: Roots, first: int, size: int) -> Check:
    """Whether a log of ``size`` events fits them; it can tell from the size ``first`` on."""
    longer = [point.size for point in points if point.size > size]
    known = await roots(sorted({point.size for point in points if first <= point.size <= size}))
    fitting = max((point.size for point in points if known.get(point.size) == point.root), default=0)
    for point in points:
        if point.size in known and known[point.size] != point.root:
            below = [each.size for each in points if each.size < point.size and known.get(each.size) == each.root]
            where = f"one of the events {max(below, default=0) + 1} to {point.size}"
            said = f"a fork: {where} is another one than under the checkpoint of {point.size:,} events"
            return Check("against", False, said)
    if longer:
        return Check("against", False, f"this has {size:,} events, and there is a checkpoint of {longer[0]:,}")
    if not fitting:
        return Check("against", False, f"nothing to compare: no checkpoint is about {first:,} to {size:,} events")
    return Check("against", True, f"it fits {len(known)} checkpoints, the last of {fitting:,} events")


async def roots_of_bundle(path: Path, sizes: Sequence[int]) -> dict[int, bytes]:
    """The roots by an export that was checked."""
    return cosigned.roots(*bundle_check.leaves_of(path), sizes)


async def roots_of_store(store: Store, sizes: Sequence[int]) -> dict[int, bytes]:
    """The roots by a ledger, every event hashed again. An event that is damaged ends it."""
    frontier, found = Frontier(), dict[int, bytes]()
    for size in sizes:
        while frontier.size < size:
            upto = min(size, frontier.size + _PAGE)
            read_ = await store.read(partial(rehash.page, frontier=frontier, upto=upto), long=True)
            if read_.damage is not None:
                return found
            frontier = read_.frontier
        found[size] = frontier.root()
    return found


def _none(path: Path, cause: str) -> Misused:
    hint = "Name a note, a folder of notes (a witness's own), or an export, and pin the key that signed it."
    return Misused(attempted="compare with another copy", on=str(path), cause=cause, hint=hint)
