"""A bundle: the events of some days in one file, with what a stranger needs to check them and their figures.

Lines of JSON: a header, the events' leaf hashes in base64, the events as the ledger has them, and the signatures::

    {"airboss": "bundle", "first_seq": 1, "size": 2000, "checkpoint": "…", "figures": {…}, …}
    {"leaves": "…"}
    {"actor": "airboss", "body": {…}, …, "seq": 1, …}
    {"bundle_sig": "…", "checkpoint_sig": "…", "key": "ssh-ed25519 …"}

The checkpoint is about the ledger up to the last event; ``before`` has the subtree roots of all earlier ones. The
header's signature covers the days, the figures and the hash of the leaves, so that a changed event is named.
"""

from __future__ import annotations

import base64
import hashlib
import json
from collections.abc import AsyncIterator, Sequence
from dataclasses import dataclass
from datetime import date
from functools import partial
from typing import Any, Final
from zoneinfo import ZoneInfo

import rfc8785
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from fleet.errors import Malformed
from fleet.range_figures import Period
from fleet.reading_figures import figures_of
from fleet.store import ledger, tree
from fleet.store.core import Store, Tx
from fleet.store.recent import numbers_in
from gates.receipts import sshsig
from gates.receipts.checkpoint import Checkpoint
from gates.receipts.cosigned import Covering, covering, others
from gates.receipts.statement import UNWITNESSED

START: Final = b'{"airboss":"bundle"'
HEADER_SIGNATURE, CHECKPOINT_SIGNATURE = sshsig.BUNDLE_NAMESPACES

PAGE: Final = 3_000
"""Leaves of a page are a multiple of three bytes: then pages of base64 can be joined."""


@dataclass(frozen=True, slots=True)
class Wanted:
    """The days of a bundle, as dates and as a period."""

    first: str
    last: str
    zone: str
    period: Period


@dataclass(frozen=True, slots=True)
class Plan:
    """A bundle whose lines are not read yet: events ``first_seq`` to ``size``."""

    header: bytes
    first_seq: int
    size: int
    checkpoint: Checkpoint
    covering: Covering | None


async def plan(store: Store, wanted: Wanted, notes: Sequence[tuple[Checkpoint, str]] = ()) -> Plan:
    """What the bundle of these days contains. Without any event it is about the ledger's end. ``notes`` are those
    of this home, the largest first."""
    period = wanted.period

    def bounds(tx: Tx) -> tuple[int, int]:
        size = ledger.size(tx)
        return numbers_in(tx, period.from_us, period.upto_us) or (size + 1, size)

    first, last = await store.read(bounds, long=True)
    figures = await figures_of(store, first, last, ZoneInfo(wanted.zone), period)
    hashed = hashlib.sha256()
    async for leaves in _leaves(store, first, last):
        hashed.update(leaves)

    def ends(tx: Tx) -> tuple[list[bytes], bytes, Covering | None]:
        covered = covering(tx, notes, last, ledger.size(tx))
        return tree.frontier_at(tx, first - 1).hashes, tree.frontier_at(tx, last).root(), covered

    before, root, covered = await store.read(ends, long=True)
    point = Checkpoint(store.instance, last, root)
    header: dict[str, Any] = {
        "airboss": "bundle",
        "v": 1,
        "from": wanted.first,
        "to": wanted.last,
        "tz": wanted.zone,
        "from_us": period.from_us,
        "upto_us": period.upto_us,
        "first_seq": first,
        "size": last,
        "before": [found.hex() for found in before],
        "leaves_sha256": hashed.hexdigest(),
        "checkpoint": point.text,
        "figures": figures.plain(),
        "witness": f"witnessed by {', '.join(others(covered.note))}" if covered else UNWITNESSED,
    }
    return Plan(rfc8785.dumps(header), first, last, point, covered)


async def parts(store: Store, planned: Plan, key: Ed25519PrivateKey) -> AsyncIterator[bytes]:
    """The file, piece by piece."""
    yield planned.header + b'\n{"leaves":"'
    async for leaves in _leaves(store, planned.first_seq, planned.size):
        yield base64.b64encode(leaves)
    yield b'"}\n'
    for after in range(planned.first_seq - 1, planned.size, PAGE):
        upto = min(after + PAGE, planned.size)
        page = await store.read(partial(ledger.read, after=after, upto=upto, limit=PAGE), long=True)
        yield b"".join(recorded.canonical + b"\n" for recorded in page)
    signatures = {
        "checkpoint_sig": sshsig.sign(key, planned.checkpoint.text.encode(), CHECKPOINT_SIGNATURE),
        "bundle_sig": sshsig.sign(key, planned.header, HEADER_SIGNATURE),
        "key": sshsig.public_of(key).line,
        **({"witnessed": planned.covering.to_json()} if planned.covering else {}),
    }
    yield json.dumps(signatures).encode() + b"\n"


async def _leaves(store: Store, first: int, last: int) -> AsyncIterator[bytes]:
    for after in range(first - 1, last, PAGE):
        read = partial(tree.leaves, after=after, upto=min(after + PAGE, last))
        yield b"".join(await store.read(read, long=True))


def problem(header: Any) -> str:
    """What is missing in a header, or contradicts itself; empty: nothing."""
    match header:
        case {
            "airboss": "bundle",
            "v": 1,
            "from": str(start),
            "to": str(end),
            "tz": str(zone),
            "from_us": int(from_us),
            "upto_us": int(upto_us),
            "first_seq": int(first),
            "size": int(size),
            "before": list(before),
            "leaves_sha256": str(),
            "checkpoint": str(text),
            "figures": dict(),
            "witness": str(),
        }:
            pass
        case _:
            return "it lacks a field that every bundle has"
    if not 1 <= first <= size + 1 or (first - 1).bit_count() != len(before):
        return "its numbers contradict each other"
    if not all(isinstance(found, str) and len(found) == 64 for found in before):
        return "a root before its first event is malformed"
    try:
        days = Period.of(date.fromisoformat(start), date.fromisoformat(end), ZoneInfo(zone))
        [bytes.fromhex(found) for found in before]
        point = Checkpoint.parse(text)
    except (KeyError, ValueError, OSError, OverflowError, Malformed) as error:
        return f"it is malformed: {error}"
    if days != Period(from_us, upto_us):
        return "its times are not those of its days"
    return "" if point.size == size else "its checkpoint is about another size"
