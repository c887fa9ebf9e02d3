"""The append-only ledger: every event's canonical bytes and their RFC 6962 leaf hash, numbered from 1 on.

The database itself refuses to change or remove a row (triggers), and every read proves the bytes against the leaf.
"""

from __future__ import annotations

import uuid
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

from sqlalchemy import bindparam, func, insert, select

from fleet.errors import Malformed
from fleet.events import Event, Recorded, Refs, Source, decode, encode, kind_of, leaf_hash
from fleet.store.core import Tx
from fleet.store.tables import ledger

_NOTHING = Refs()
_SIZE = select(func.coalesce(func.max(ledger.c.seq), 0))
_INSERT = insert(ledger)
_READ = (
    select(ledger.c.seq, ledger.c.canonical, ledger.c.leaf)
    .where(ledger.c.seq > bindparam("after"))
    .order_by(ledger.c.seq)
    .limit(bindparam("limit"))
)


@dataclass(frozen=True, slots=True)
class Entry:
    """An event on its way into the ledger, for :func:`append_all`."""

    event: Event
    actor: str
    source: Source
    refs: Refs = _NOTHING


def append(tx: Tx, event: Event, *, actor: str, source: Source, refs: Refs = _NOTHING) -> Recorded:
    """Appends one event and answers it as recorded, redacted. Raises ``Malformed`` as ``encode`` does."""
    return append_all(tx, (Entry(event, actor, source, refs),))[0]


def append_all(tx: Tx, entries: Iterable[Entry]) -> list[Recorded]:
    """Appends events in order, in one statement; many at once are several times faster than one by one."""
    first, time_us, redact = size(tx) + 1, tx.now_us(), tx.store.redact
    recorded = [
        encode(
            seq=seq,
            id_=uuid.uuid4().hex,
            time_us=time_us,
            actor=entry.actor,
            refs=entry.refs,
            source=entry.source,
            event=entry.event,
            redact=redact,
        )
        for seq, entry in enumerate(entries, start=first)
    ]
    if recorded:
        tx.connection.execute(_INSERT, [_row(one) for one in recorded])
    for one in recorded:
        for observer in tx.store.observers:
            observer(tx, one)
    return recorded


def read(tx: Tx, after: int = 0, limit: int = 1000, kinds: Sequence[str] = (), task: str = "") -> list[Recorded]:
    """The events after sequence number ``after``, at most ``limit``; all kinds and tasks unless named.

    What this version does not know comes back as ``UnknownEvent``. Raises ``Malformed`` for a row that does not
    hash to its leaf.
    """
    query = _READ
    if kinds:
        query = query.where(ledger.c.kind.in_(kinds))
    if task:
        query = query.where(ledger.c.task == task)
    rows = tx.connection.execute(query, {"after": after, "limit": limit})
    return [_recorded(seq, canonical, leaf) for seq, canonical, leaf in rows]


def size(tx: Tx) -> int:
    """How many events there are, which is the last one's sequence number."""
    return int(tx.connection.execute(_SIZE).scalar_one())


def leaves(tx: Tx, upto: int) -> list[bytes]:
    """The leaf hashes of the first ``upto`` events, in order. Raises ``ValueError`` when there are not so many."""
    query = select(ledger.c.leaf).where(ledger.c.seq <= upto).order_by(ledger.c.seq)
    found = [bytes(leaf) for leaf in tx.connection.execute(query).scalars()]
    if len(found) != upto:
        raise ValueError(f"the ledger has {len(found)} events, not {upto}")
    return found


def _row(recorded: Recorded) -> dict[str, Any]:
    (kind, v), refs = kind_of(recorded.event), recorded.refs
    return {
        "seq": recorded.seq,
        "id": recorded.id,
        "time_us": recorded.time_us,
        "kind": kind,
        "v": v,
        "actor": recorded.actor,
        "task": refs.task,
        "session": refs.session,
        "turn": refs.turn,
        "gate_run": refs.gate_run,
        "machine": refs.machine,
        "source": str(recorded.source),
        "canonical": recorded.canonical,
        "leaf": recorded.leaf,
    }


def _recorded(seq: int, canonical: bytes, leaf: bytes) -> Recorded:
    canonical = bytes(canonical)
    if leaf_hash(canonical) != bytes(leaf):
        raise _damaged(seq, "its bytes do not hash to its leaf")
    recorded = decode(canonical)
    if recorded.seq != seq:
        raise _damaged(seq, f"its bytes are those of event {recorded.seq}")
    return recorded


def _damaged(seq: int, cause: str) -> Malformed:
    return Malformed(
        attempted="read the ledger",
        on=f"event {seq}",
        cause=cause,
        hint="Somebody changed the database: restore it from a backup, and compare with the receipts",
    )
