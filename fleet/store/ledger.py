"""The append-only ledger: every event's canonical bytes and their RFC 6962 leaf hash, numbered from 1 on.

The database itself refuses to change or remove a row (triggers), and every read proves the bytes against the leaf.
"""

from __future__ import annotations

import json
import uuid
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import Any

from sqlalchemy import bindparam, func, insert, select

from fleet.errors import Malformed
from fleet.events import Event, Recorded, Refs, Source, UnknownEvent, encode, leaf_hash, parse
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
    """Appends one event and answers it as recorded, redacted. Raises ``Malformed`` for a float in its body."""
    return append_all(tx, (Entry(event, actor, source, refs),))[0]


def append_all(tx: Tx, entries: Iterable[Entry]) -> list[Recorded]:
    """Appends events in order, in one statement; many at once are several times faster than one by one."""
    first, time_us, redact = size(tx) + 1, tx.now_us(), tx.store.redact
    recorded = [_record(seq, time_us, entry, redact) for seq, entry in enumerate(entries, start=first)]
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


def _record(seq: int, time_us: int, entry: Entry, redact: Callable[[str], str] | None) -> Recorded:
    event = entry.event
    if redact is not None:
        kind, v = (event.kind, event.v) if isinstance(event, UnknownEvent) else (event.KIND, event.V)
        event = UnknownEvent(kind, v, _redacted(event.body(), redact))
    id_ = uuid.uuid4().hex
    canonical = encode(
        seq=seq, id_=id_, time_us=time_us, actor=entry.actor, refs=entry.refs, source=entry.source, event=event
    )
    if redact is not None:
        event = parse(json.loads(canonical))[2]
    return Recorded(
        seq, id_, time_us, entry.actor, entry.refs, entry.source, event, canonical, leaf_hash(canonical)
    )


def _redacted(value: Any, redact: Callable[[str], str]) -> Any:
    if isinstance(value, str):
        return redact(value)
    if isinstance(value, dict):
        return {key: _redacted(item, redact) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [_redacted(item, redact) for item in value]
    return value


def _row(one: Recorded) -> dict[str, Any]:
    event, refs = one.event, one.refs
    kind, v = (event.kind, event.v) if isinstance(event, UnknownEvent) else (event.KIND, event.V)
    return {
        "seq": one.seq,
        "id": one.id,
        "time_us": one.time_us,
        "kind": kind,
        "v": v,
        "actor": one.actor,
        "task": refs.task,
        "session": refs.session,
        "turn": refs.turn,
        "gate_run": refs.gate_run,
        "machine": refs.machine,
        "source": str(one.source),
        "canonical": one.canonical,
        "leaf": one.leaf,
    }


def _recorded(seq: int, canonical: bytes, leaf: bytes) -> Recorded:
    canonical, leaf = bytes(canonical), bytes(leaf)
    if leaf_hash(canonical) != leaf:
        raise _damaged(seq, "its bytes do not hash to its leaf")
    envelope = json.loads(canonical)
    if envelope["seq"] != seq:
        raise _damaged(seq, f"its bytes are those of event {envelope['seq']}")
    refs, source, event = parse(envelope)
    return Recorded(
        seq, envelope["id"], envelope["time_us"], envelope["actor"], refs, source, event, canonical, leaf
    )


def _damaged(seq: int, cause: str) -> Malformed:
    return Malformed(
        attempted="read the ledger",
        on=f"event {seq}",
        cause=cause,
        hint="Somebody changed the database: restore it from a backup, and compare with the receipts",
    )
