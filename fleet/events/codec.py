"""Encodes and decodes events: sorted JSON that is RFC 8785 canonical, because of its restricted content.

The envelope and every body contain only strings, booleans, integers below 2^53, nulls, lists, and objects with
ASCII keys. For these, msgspec's sorted output equals RFC 8785; a test compares the two. A kind or version that this
code does not know stays an ``UnknownEvent`` with its body, never dropped.
"""

from __future__ import annotations

import operator
from collections.abc import Callable, Sequence
from dataclasses import fields, is_dataclass
from enum import StrEnum
from typing import Any, Final

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
from fleet.events.envelope import Event, Recorded, Refs, Source, UnknownEvent, kind_of, leaf_hash

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


class _Line(Struct):
    """The envelope as written, one key for each field."""

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
_ENCODER = msgspec.json.Encoder(order="sorted")
_DECODER = msgspec.json.Decoder(_Line)


def encode(
    *,
    seq: int,
    id_: str,
    time_us: int,
    actor: str,
    refs: Refs,
    source: Source,
    event: Event,
    redact: Redact | None = None,
) -> Recorded:
    """The event as recorded; ``redact`` is applied to every string of its body.

    Raises ``Malformed`` for what the ledger cannot hold: floats, larger integers, text that is not Unicode.
    """
    kind, v = kind_of(event)
    try:
        kept: Event = _kept(event, redact)
        if not (0 < seq < LIMIT and -LIMIT < time_us < LIMIT and -LIMIT < v < LIMIT):
            raise ValueError("a number of 2^53 or more")
        line = _Line(
            actor=actor,
            body=kept.raw if isinstance(kept, UnknownEvent) else kept,
            gate_run=refs.gate_run,
            id=id_,
            kind=kind,
            machine=refs.machine,
            seq=seq,
            session=refs.session,
            source=source,
            task=refs.task,
            time_us=time_us,
            turn=refs.turn,
            v=v,
        )
        canonical = _ENCODER.encode(line)
    except (ValueError, TypeError) as error:  # UnicodeEncodeError, for a lone surrogate, is a ValueError
        raise Malformed(attempted="write an event", on=kind, cause=str(error)) from error
    return Recorded(seq, id_, time_us, actor, refs, source, kept, canonical, leaf_hash(canonical))


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
