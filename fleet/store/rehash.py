"""The ledger hashed again from its rows alone, page by page: bytes to leaf, leaves to Merkle root.

Nothing that the store keeps beside the bytes is trusted: leaves, columns and subtree roots are compared with what
the bytes give.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from hashlib import sha256
from itertools import count
from typing import Any

import msgspec
from msgspec import Struct
from sqlalchemy import bindparam, select, text

from fleet.events import leaf_hash
from fleet.events.merkle import Frontier, Node
from fleet.store.core import Tx
from fleet.store.tables import ledger_nodes

# As text: types of columns would convert each value a second time, a quarter of the whole check's time.
_ROWS = text(
    "SELECT canonical, leaf, kind, task, time_us FROM ledger WHERE seq > :after AND seq <= :upto ORDER BY seq"
)
_NUMBERS = text("SELECT seq FROM ledger WHERE seq > :after AND seq <= :upto ORDER BY seq")
_KEPT = select(ledger_nodes.c.hash).where(
    ledger_nodes.c.level == bindparam("level"), ledger_nodes.c.position == bindparam("position")
)


class _Envelope(Struct, gc=False):
    """The part of an event's bytes that the table repeats to select by; the rest is skipped."""

    seq: int
    kind: str
    task: str
    time_us: int


_Row = tuple[Any, bytes, str, str, int]

_DECODE = msgspec.json.Decoder(_Envelope).decode


@dataclass(frozen=True, slots=True)
class Damage:
    """The first entry that differs. ``task`` is what its row says, and may be untrue."""

    seq: int
    task: str
    what: str

    def __str__(self) -> str:
        where = f"event {self.seq} of task {self.task}" if self.task else f"event {self.seq}"
        return f"{where}: {self.what}"


@dataclass(frozen=True, slots=True)
class Rehashed:
    """The tree over the events so far; ``nodes`` are its subtrees that this page completed. With ``damage`` the
    tree ends before that page."""

    frontier: Frontier
    nodes: tuple[Node, ...] = ()
    damage: Damage | None = None


def page(tx: Tx, frontier: Frontier, upto: int) -> Rehashed:
    """``frontier`` grown by the events after it, up to number ``upto``."""
    span = {"after": frontier.size, "upto": upto}
    result = tx.connection.execute(_ROWS, span)
    # SQLAlchemy's own rows would take a tenth of the whole check's time.
    rows: Sequence[_Row] = result.cursor.fetchall() if result.cursor else ()
    if len(rows) != upto - frontier.size:
        present = tx.connection.execute(_NUMBERS, span).scalars()
        missing = next(
            (wanted for wanted, seq in zip(count(frontier.size + 1), present, strict=False) if wanted != seq), None
        )
        return Rehashed(frontier, damage=Damage(missing or frontier.size + len(rows) + 1, "", "it is missing"))
    leaves = []
    try:
        for seq, (canonical, leaf, kind, task, time_us) in enumerate(rows, frontier.size + 1):
            hashed, said = sha256(b"\x00" + canonical).digest(), _DECODE(canonical)
            if hashed != leaf or said.seq != seq or (said.kind, said.task, said.time_us) != (kind, task, time_us):
                break
            leaves.append(hashed)
    except (msgspec.MsgspecError, UnicodeDecodeError, TypeError):  # SQLite keeps a text where bytes belong
        pass  # the row after those in ``leaves``
    if len(leaves) < len(rows):
        seq, row = frontier.size + len(leaves) + 1, rows[len(leaves)]
        return Rehashed(frontier, damage=Damage(seq, str(row[3]), _difference(seq, row)))
    grown = Frontier(frontier.size, list(frontier.hashes))
    return Rehashed(grown, tuple(grown.add_all(leaves)))


def first_changed_subtree(tx: Tx, nodes: Sequence[Node]) -> tuple[int, int] | None:
    """The first and last event of the first of these subtrees, in order, whose root is not the one in the store."""
    for node in nodes:
        kept = tx.connection.execute(_KEPT, {"level": node.level, "position": node.position}).scalar_one_or_none()
        if kept is None or bytes(kept) != node.hash:
            return (node.position << node.level) + 1, (node.position + 1) << node.level
    return None


def _difference(seq: int, row: _Row) -> str:
    """What is wrong with a row of which something is."""
    canonical, leaf, *columns = row
    if not isinstance(canonical, bytes):
        return "its bytes are not stored as bytes"
    if leaf_hash(canonical) != leaf:
        return "its bytes do not hash to its leaf"
    try:
        said = _DECODE(canonical)
    except (msgspec.MsgspecError, UnicodeDecodeError) as error:
        return f"its bytes are not an event ({error})"
    if said.seq != seq:
        return f"its bytes are those of event {said.seq}"
    names = ("kind", "task", "time_us")
    differing = next(name for name, kept in zip(names, columns, strict=True) if getattr(said, name) != kept)
    return f"its bytes do not agree with its column {differing}"
