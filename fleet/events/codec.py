"""Encodes and decodes events: sorted JSON that is RFC 8785 canonical, because of its restricted content.

The envelope and every body contain only strings, booleans, integers below 2^53, nulls, lists, and objects with
ASCII keys. For these, msgspec's sorted output equals RFC 8785; a test compares the two. A kind or version that this
code does not know stays an ``UnknownEvent`` with its body, never dropped.
"""

from __future__ import annotations

import operator
from collections.abc import Callable, Collection, Sequence
from dataclasses import fields, is_dataclass
from enum import StrEnum
from hashlib import sha256
from typing import Any, Final, NamedTuple

import msgspec
from msgspec import Struct

from fleet.errors import Malformed
from fleet.events import (
    budgets,
    controller,
    digests,
    gates,
    hooked,
    imports,
    landings,
    locks,
    people,
    permissions,
    pools,
    queueing,
    reviews,
    schedules,
    sessions,
    setups,
    tasks,
    trees,
    turns,
)
from fleet.events.envelope import Event, Recorded, Source, UnknownEvent, kind_of, leaf_hash
from fleet.refs import Refs

_SUBJECTS = (
    controller,
    tasks,
    sessions,
    setups,
    turns,
    permissions,
    people,
    gates,
    landings,
    locks,
    queueing,
    pools,
    reviews,
    schedules,
    digests,
    hooked,
    imports,
    trees,
    budgets,
)

KINDS: dict[tuple[str, int], type[Event]] = {
    (found.KIND, found.V): found
    for subject in _SUBJECTS
    for found in vars(subject).values()
    if isinstance(found, type) and issubclass(found, Event) and found.KIND
}

_KEYS = {cls: {field.name for field in fields(cls)} for cls in KINDS.values()}

LIMIT: Final = 2**53
"""Integers in the ledger are smaller than this, and greater than its negative."""

Redact = Callable[[str], str]


class _Line(Struct, gc=False):
    """The envelope as written, one key for each field, in the order of their names."""

    actor: str
    body: Any
    gate_run: str
    id: str
    kind: str
    machine: str
    seq: int
    session: str
    source: Source
    task: str
    time_us: int
    turn: str
    v: int


_RECORDS: dict[type[Any], tuple[str, ...]] = {}
_FLAT: dict[type[Event], tuple[Callable[[Any], tuple[Any, ...]], type[Struct]]] = {}
_PLAIN: Final = frozenset({str, int, bool, type(None)})
_PLAIN_OR_TUPLE: Final = _PLAIN | {tuple}
_ENCODE: Final = msgspec.json.Encoder().encode
_SORT: Final = msgspec.json.Encoder(order="sorted").encode
_DECODER = msgspec.json.Decoder(_Line)


class Unwritten(NamedTuple):
    """An event that is to be encoded, with its envelope."""

    seq: int
    id: str
    time_us: int
    actor: str
    refs: Refs
    source: Source
    event: Event


def encode_all(given: Sequence[Unwritten], redact: Redact | None = None) -> list[Recorded]:
    """The events as recorded; ``redact`` is applied to every string of their bodies. Where it has ``suspects``,
    which says in which lines a secret may be, only those are redacted, and encoded again.

    Raises ``Malformed`` for what the ledger cannot hold: floats, larger integers, text that is not Unicode.
    """
    suspects: Callable[[Sequence[bytes]], Collection[int]] | None = getattr(redact, "suspects", None)
    if redact is not None and suspects is None:
        return [_recorded(each, *_redacted(each, redact)) for each in given]
    lines, kept = [_encoded(each, each.event) for each in given], [each.event for each in given]
    if redact is not None and suspects is not None:
        for number in suspects(lines):
            kept[number], lines[number] = _redacted(given[number], redact)
    return [_recorded(*each) for each in zip(given, kept, lines, strict=True)]


def _recorded(each: Unwritten, kept: Event, canonical: bytes) -> Recorded:
    seq, id_, time_us, actor, refs, source, _ = each
    return Recorded(seq, id_, time_us, actor, refs, source, kept, canonical, sha256(b"\x00" + canonical).digest())


def _redacted(each: Unwritten, redact: Redact) -> tuple[Event, bytes]:
    try:
        kept: Event = _kept(each.event, redact)
    except (ValueError, TypeError) as error:
        raise _unwritable(each, error) from error
    return kept, _encoded(each, kept)


def _encoded(each: Unwritten, event: Event) -> bytes:
    seq, id_, time_us, actor, refs, source, _ = each
    if type(event) is UnknownEvent:
        kind, v = event.kind, event.v
    else:
        kind, v = event.KIND, event.V
    try:
        if not (0 < seq < LIMIT and -LIMIT < time_us < LIMIT and -LIMIT < v < LIMIT):
            raise ValueError("a number of 2^53 or more")
        body = _body(event)
        return (_ENCODE if isinstance(body, Struct) else _SORT)(
            _Line(
                actor,
                body,
                refs.gate_run,
                id_,
                kind,
                refs.machine,
                seq,
                refs.session,
                source,
                refs.task,
                time_us,
                refs.turn,
                v,
            )
        )
    except (ValueError, TypeError) as error:  # UnicodeEncodeError, for a lone surrogate, is a ValueError
        raise _unwritable(each, error) from error


def _unwritable(each: Unwritten, error: Exception) -> Malformed:
    return Malformed(attempted="write an event", on=kind_of(each.event)[0], cause=str(error))


def _body(event: Event) -> Any:
    """What is written as the body. An event of words, numbers and tuples of them, as most are, goes another way: in
    a record whose fields are sorted already. Raises ``ValueError`` for what the ledger cannot hold."""
    if type(event) is UnknownEvent:
        _kept(event.raw, None)
        return event.raw
    if (flat := _FLAT.get(type(event))) is None:
        flat = _FLAT[type(event)] = _flat(type(event))
    values, make = flat
    given = values(event)
    if not _plain(given):
        _kept(event, None)
        return event
    return make(*given)


def _plain(given: tuple[Any, ...]) -> bool:
    """Whether these are words and numbers only, or tuples of them. Raises ``ValueError`` for a number that the
    ledger cannot hold."""
    types = {*map(type, given)}
    if not types <= _PLAIN and (
        not types <= _PLAIN_OR_TUPLE or not all(_plain(value) for value in given if type(value) is tuple)
    ):
        return False
    if int in types and not all(-LIMIT < value < LIMIT for value in given if type(value) is int):
        raise ValueError("a number of 2^53 or more")
    return True


def _flat(cls: type[Event]) -> tuple[Callable[[Any], tuple[Any, ...]], type[Struct]]:
    """The values of an event's fields in the order of their names, and a record with these names."""
    names = sorted(field.name for field in fields(cls))
    values: Callable[[Any], tuple[Any, ...]] = operator.attrgetter(*names) if len(names) > 1 else _single(names)
    return values, msgspec.defstruct(cls.__name__, names, gc=False)


def _single(names: list[str]) -> Callable[[Any], tuple[Any, ...]]:
    """For one name or none: a getter of one name answers no tuple."""
    return lambda event: tuple(getattr(event, name) for name in names)


def decode(canonical: bytes) -> Recorded:
    """Decodes an event from its ledger bytes. Raises ``Malformed`` when they are not an envelope."""
    try:
        line = _DECODER.decode(canonical)
    except (msgspec.MsgspecError, UnicodeDecodeError) as error:
        raise Malformed(attempted="read an event", cause=str(error)) from error
    refs = Refs(line.task, line.session, line.turn, line.gate_run, line.machine)
    event = _event(line.kind, line.v, line.body)
    leaf = leaf_hash(canonical)
    return Recorded(line.seq, line.id, line.time_us, line.actor, refs, line.source, event, canonical, leaf)


def _event(kind: str, v: int, body: dict[str, Any]) -> Event:
    cls = KINDS.get((kind, v))
    if cls is None or body.keys() != _KEYS[cls]:
        return UnknownEvent(kind, v, body)
    try:
        return msgspec.convert(body, cls)
    except msgspec.ValidationError:
        return UnknownEvent(kind, v, body)


def _kept(value: Any, redact: Redact | None) -> Any:
    """``value`` with its strings redacted; the same object if nothing changes. Raises ``ValueError`` for what the
    ledger cannot hold."""
    cls = type(value)
    if cls is str:
        return value if redact is None else redact(value)
    if value is None or cls is bool or isinstance(value, StrEnum):
        return value
    if cls is int:
        if not -LIMIT < value < LIMIT:
            raise ValueError("a number of 2^53 or more")
        return value
    if cls is dict:
        for key in value:
            if not (isinstance(key, str) and key.isascii()):
                raise ValueError(f"a key that is not ASCII: {key!r}")
        return {key: _kept(item, redact) for key, item in value.items()}
    if cls is tuple or cls is list:
        items = [_kept(item, redact) for item in value]
        return value if _same(value, items) else cls(items)
    if (names := _names(cls)) is None:
        raise ValueError("a float; use micro-units" if cls is float else f"a value of type {cls.__name__}")
    old = [getattr(value, name) for name in names]
    new = [_kept(item, redact) for item in old]
    return value if _same(old, new) else cls(*new)


def _same(old: Sequence[Any], new: Sequence[Any]) -> bool:
    return all(map(operator.is_, old, new))


def _names(cls: type[Any]) -> tuple[str, ...] | None:
    """A record's fields in the order of its constructor; ``None`` for anything else."""
    if (known := _RECORDS.get(cls)) is not None:
        return known
    if is_dataclass(cls):
        _RECORDS[cls] = tuple(field.name for field in fields(cls))
    elif issubclass(cls, Struct):
        _RECORDS[cls] = cls.__struct_fields__
    return _RECORDS.get(cls)
