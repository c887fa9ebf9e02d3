"""The append-only ledger: every event's canonical bytes and their RFC 6962 leaf hash, numbered from 1.

The database refuses to change or remove a row (triggers), and every read checks the bytes against the leaf.
"""

from __future__ import annotations

import secrets
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from functools import cache
from itertools import count
from typing import Any, Final

from msgspec import structs
from sqlalchemy import BindParameter, bindparam, func, insert, outerjoin, select

from fleet.errors import Malformed
from fleet.events import Event, Recorded, Refs, Source, decode, kind_of, leaf_hash
from fleet.events.codec import Unwritten, encode_all
from fleet.events.counted import CountedLine, counted
from fleet.store import contents, day_figures, figure_tables, rollups, tree, usage
from fleet.store.core import Tx
from fleet.store.statements import Statement
from fleet.store.tables import ledger

_NOTHING = Refs()
_SIZE = Statement(select(func.coalesce(func.max(ledger.c.seq), 0).label("size")))
_INSERT = Statement(insert(ledger))
COLUMNS: Final = tuple(str(column.name) for column in ledger.columns)
_LINES = select(ledger.c.seq, ledger.c.canonical, ledger.c.leaf).order_by(ledger.c.seq)
_SAID = outerjoin(ledger, figure_tables.contents, figure_tables.contents.c.seq == ledger.c.seq)
_EVENTS = select(
    ledger.c.seq, ledger.c.canonical, ledger.c.leaf, figure_tables.contents.c.salt, figure_tables.contents.c.said
).select_from(_SAID)
_THESE = _EVENTS.order_by(ledger.c.seq)
_ONE = Statement(_EVENTS.where(ledger.c.seq == bindparam("number")))
_READ = _THESE.where(ledger.c.seq > bindparam("after")).limit(bindparam("limit"))
_BESIDES = Statement(
    select(func.coalesce(func.max(ledger.c.seq), 0)).where(
        ledger.c.seq > bindparam("after"), ledger.c.kind != bindparam("of")
    )
)
_PAGE = Statement(_READ)
_OF_KIND = Statement(
    select(ledger.c.seq).where(
        ledger.c.kind == bindparam("of"), ledger.c.seq >= bindparam("first"), ledger.c.seq <= bindparam("last")
    )
)
_OF_SOURCE = Statement(
    select(ledger.c.seq)
    .where(
        ledger.c.kind == bindparam("of"),
        ledger.c.seq >= bindparam("first"),
        ledger.c.seq <= bindparam("last"),
        ledger.c.source == bindparam("whose"),
    )
    .order_by(ledger.c.seq)
)
_THEN = select(ledger.c.seq, ledger.c.canonical, ledger.c.leaf).where(
    ledger.c.time_us >= bindparam("from_us"),
    ledger.c.time_us < bindparam("upto_us"),
    ledger.c.seq <= bindparam("upto"),
)
_FEW: Final = 4
_READ_LINES = _LINES.where(ledger.c.seq > bindparam("after")).limit(bindparam("limit"))


@dataclass(frozen=True, slots=True)
class Entry:
    """An event to append, for :func:`append_all`. ``time_us`` is the time of something imported; 0: now."""

    event: Event
    actor: str
    source: Source
    refs: Refs = _NOTHING
    time_us: int = 0


def append(tx: Tx, event: Event, *, actor: str, source: Source, refs: Refs = _NOTHING) -> Recorded:
    """Appends one event and returns it as recorded, redacted. Raises ``Malformed`` like ``encode``."""
    return append_all(tx, (Entry(event, actor, source, refs),))[0]


def append_all(tx: Tx, entries: Iterable[Entry]) -> list[Recorded]:
    """Appends events in order, in one statement; several times faster than one by one."""
    frontier, time_us, redact = tree.frontier(tx), tx.now_us(), tx.store.redact
    given = list(entries)
    if not given:
        return []
    all_ = tx.store.seals
    shut = [contents.sealed(each.event, redact, all_=all_) for each in given]
    names = secrets.token_hex(16 * len(given))  # as random as uuid4, and asked for once
    numbered = zip(range(0, len(names), 32), count(frontier.size + 1), given, shut, strict=False)
    recorded = encode_all(
        [
            Unwritten(seq, names[at : at + 32], each.time_us or time_us, each.actor, each.refs, each.source, event)
            for at, seq, each, (event, _) in numbered
        ],
        redact,
    )
    segment, calls = day_figures.segment(tx, recorded[0].seq), rollups.count(tx, recorded)
    first = not frontier.size
    _INSERT.many_rows(tx.connection, COLUMNS, [row(each) for each in recorded])
    tree.keep(tx, frontier, frontier.add_all([each.leaf for each in recorded]), first=first)
    day_figures.count(tx, segment, recorded, *calls)
    usage.count(tx, recorded)
    if any(said for _, said in shut):
        recorded = _with_contents(tx, recorded, [said for _, said in shut])
    for observer in tx.store.observers:
        for each in recorded:
            observer(tx, each)
    return recorded


def _with_contents(tx: Tx, recorded: list[Recorded], said: list[contents.Content | None]) -> list[Recorded]:
    """The events with what was said, which is kept beside the ledger."""
    contents.keep(tx, [(each.seq, text) for each, text in zip(recorded, said, strict=True) if text])
    return [
        structs.replace(each, event=contents.opened(each.event, text)) if text else each
        for each, text in zip(recorded, said, strict=True)
    ]


def read(
    tx: Tx, after: int = 0, limit: int = 1000, kinds: Sequence[str] = (), task: str = "", *, upto: int = 0
) -> list[Recorded]:
    """The events after number ``after``, at most ``limit``; of these kinds and this task, if given.

    ``upto`` is the last number to look at; 0: no limit. An event that this version does not know is returned as
    ``UnknownEvent``. Raises ``Malformed`` for a row that does not hash to its leaf.
    """
    if not (upto or task or kinds):
        return [_recorded(*row) for row in _PAGE.all(tx.connection, {"after": after, "limit": limit})]
    values: dict[str, Any] = {"after": after, "limit": limit}
    values |= {"upto": upto} if upto else {}
    values |= {"of": task} if task else {}
    values |= {f"kind{number}": kind for number, kind in enumerate(kinds)}
    rows = page_statement(upto=bool(upto), task=bool(task), kinds=len(kinds)).all(tx.connection, values)
    return [_recorded(*row) for row in rows]


@cache
def page_statement(*, upto: bool, task: bool, kinds: int) -> Statement:
    """A page of the events up to one, of a task, and of so many kinds."""
    query = _READ.where(ledger.c.seq <= bindparam("upto")) if upto else _READ
    if task:
        query = query.where(ledger.c.task == bindparam("of"))
    named: list[BindParameter[str]] = [bindparam(f"kind{number}") for number in range(kinds)]
    if kinds == 1:
        query = query.where(ledger.c.kind == named[0])
    elif kinds:
        # An expression, so that no index on the kind is used: it would sort all remaining rows for each page.
        query = query.where(func.coalesce(ledger.c.kind, "").in_(named))
    return Statement(query)


def counted_lines(tx: Tx, after: int, upto: int, kinds: Sequence[str]) -> list[CountedLine]:
    """What figures need of the events of these kinds after number ``after``, up to ``upto``; those of a form that
    this version does not know are left out. Raises as :func:`read`."""
    query = _READ_LINES.where(ledger.c.seq <= upto, func.coalesce(ledger.c.kind, "").in_(kinds))
    return _counted(tx.connection.execute(query, {"after": after, "limit": upto - after}))


def counted_between(tx: Tx, from_us: int, upto_us: int, upto: int, kinds: Sequence[str]) -> list[CountedLine]:
    """The same of the events with these times up to number ``upto``, in any order."""
    query = _THEN.where(func.coalesce(ledger.c.kind, "").in_(kinds))
    return _counted(tx.connection.execute(query, {"from_us": from_us, "upto_us": upto_us, "upto": upto}))


def _counted(rows: Iterable[Any]) -> list[CountedLine]:
    found = []
    for seq, canonical, leaf in rows:
        if leaf_hash(bytes(canonical)) != bytes(leaf):
            raise _damaged(seq, "its bytes do not hash to its leaf")
        said = counted(canonical)
        if said.seq != seq:
            raise _damaged(seq, "its bytes are those of another event")
        if isinstance(said, CountedLine):
            found.append(said)
    return found


def of_numbers(tx: Tx, numbers: Sequence[int]) -> list[Recorded]:
    """The events with these sequence numbers, in order."""
    if not numbers:
        return []
    if len(numbers) <= _FEW:
        found = (of_number(tx, seq) for seq in sorted(set(numbers)))
        return [each for each in found if each is not None]
    rows = tx.connection.execute(_THESE.where(ledger.c.seq.in_(numbers)))
    return [_recorded(*row) for row in rows]


def of_number(tx: Tx, seq: int) -> Recorded | None:
    """The event with this sequence number."""
    row = _ONE.one(tx.connection, {"number": seq})
    return None if row is None else _recorded(*row)


def numbers_of(tx: Tx, first_seq: int, last_seq: int, kinds: Iterable[str]) -> list[int]:
    """The numbers of the events of these kinds in a range, in order. For kinds that are rare."""
    values = {"first": first_seq, "last": last_seq}
    return sorted(seq for kind in kinds for (seq,) in _OF_KIND.all(tx.connection, {**values, "of": kind}))


def numbers_from(tx: Tx, first_seq: int, last_seq: int, kind: str, source: Source) -> list[int]:
    """The numbers of the events of one kind and source in a range, in order."""
    values = {"first": first_seq, "last": last_seq, "of": kind, "whose": source.value}
    return [seq for (seq,) in _OF_SOURCE.all(tx.connection, values)]


def size(tx: Tx) -> int:
    """The number of events, which is the last one's sequence number."""
    return int(_SIZE.one(tx.connection, {})[0])


def last_besides(tx: Tx, kind: str, after: int) -> int:
    """The number of the last event after number ``after`` of another kind than this one; 0 when there is none."""
    return int(_BESIDES.one(tx.connection, {"after": after, "of": kind})[0])


def row(recorded: Recorded) -> tuple[Any, ...]:
    """An event as a row of the table, in the order of its :data:`COLUMNS`."""
    (kind, v), refs = kind_of(recorded.event), recorded.refs
    return (
        recorded.seq,
        recorded.id,
        recorded.time_us,
        kind,
        v,
        recorded.actor,
        refs.task,
        refs.session,
        refs.turn,
        refs.gate_run,
        refs.machine,
        recorded.source.value,
        recorded.canonical,
        recorded.leaf,
    )


def _recorded(seq: int, canonical: bytes, leaf: bytes, salt: bytes | None, said: bytes | None) -> Recorded:
    canonical = bytes(canonical)
    if leaf_hash(canonical) != bytes(leaf):
        raise _damaged(seq, "its bytes do not hash to its leaf")
    recorded = decode(canonical)
    if recorded.seq != seq:
        raise _damaged(seq, f"its bytes are those of event {recorded.seq}")
    if kind_of(recorded.event)[0] not in contents.FIELDS:
        return recorded
    text = (
        None
        if salt is None or said is None
        else contents.Content(bytes(salt), bytes(said).decode("utf-8", "replace"))
    )
    event = contents.opened(recorded.event, text)
    return recorded if event is recorded.event else structs.replace(recorded, event=event)


def _damaged(seq: int, cause: str) -> Malformed:
    return Malformed(
        attempted="read the ledger",
        on=f"event {seq}",
        cause=cause,
        hint="The database was changed by hand. Restore it from a backup, and compare it with the receipts",
    )
