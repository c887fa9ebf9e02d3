"""What is written to the standard input of a session's process: committed first, sent afterwards."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass

from sqlalchemy import bindparam, func, insert, select

from fleet.store.core import Tx
from fleet.store.statements import Statement
from fleet.store.tables import inputs

_INPUTS = select(inputs.c.position, inputs.c.data, inputs.c.eof).where(inputs.c.pipe == bindparam("pipe"))
_LAST_INPUT = Statement(_INPUTS.order_by(inputs.c.position.desc(), inputs.c.id.desc()).limit(1))
_IN_ORDER = _INPUTS.order_by(inputs.c.position, inputs.c.id)
_ALL_INPUTS = Statement(_IN_ORDER)
_INPUTS_FROM = Statement(
    _IN_ORDER.where((inputs.c.position + func.length(inputs.c.data) > bindparam("given")) | inputs.c.eof)
)
_NEW_INPUT = Statement(insert(inputs))


@dataclass(frozen=True, slots=True)
class Input:
    """Bytes for a process's standard input that start at byte ``position``; ``eof``: nothing follows."""

    position: int
    data: bytes
    eof: bool


def queue(tx: Tx, pipe: str, data: bytes, *, eof: bool = False) -> int:
    """Queues ``data`` for a process, and returns the byte position where it starts.

    Once committed, the bytes are sent even if the controller dies. Raises ``ValueError`` after end of file.
    """
    last = _LAST_INPUT.one(tx.connection, {"pipe": pipe})
    if last is not None and last.eof:
        raise ValueError(f"the input of pipe {pipe} is closed")
    position = last.position + len(last.data) if last is not None else 0
    row = {"pipe": pipe, "position": position, "data": data, "eof": eof}
    _NEW_INPUT.run(tx.connection, row)
    return position


def closed(tx: Tx, pipe: str) -> bool:
    """Whether the end of a process's input is queued."""
    last = _LAST_INPUT.one(tx.connection, {"pipe": pipe})
    return last is not None and bool(last.eof)


def was_given(tx: Tx, pipe: str, count: int, sha256: str) -> bool:
    """Whether these are the first ``count`` bytes of what was queued for a process."""
    hashed, left = hashlib.sha256(), count
    for row in _ALL_INPUTS.all(tx.connection, {"pipe": pipe}):
        hashed.update(row.data[:left])
        left -= min(left, len(row.data))
    return left == 0 and hashed.hexdigest() == sha256


def after(tx: Tx, pipe: str, position: int) -> list[Input]:
    """What must still be sent to a process that has its first ``position`` bytes, in order.

    The end of file is returned every time, because no byte shows that it was sent.
    """
    found = []
    for row in _INPUTS_FROM.all(tx.connection, {"pipe": pipe, "given": position}):
        done = min(max(position - row.position, 0), len(row.data))
        found.append(Input(row.position + done, bytes(row.data[done:]), row.eof))
    return found
