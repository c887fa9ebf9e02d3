"""The ledger's Merkle tree, updated in the appending transaction: its frontier in one row, and the roots of all
complete subtrees of 256 leaves, of 65,536, and so on.

An append costs O(log n) hashes. The root of any earlier size needs at most 255 of each size, not every leaf.
"""

from __future__ import annotations

from sqlalchemy import bindparam, insert, select, update

from fleet.events.merkle import STEP, Frontier, Node
from fleet.store.core import Tx
from fleet.store.statements import Statement
from fleet.store.tables import ledger, ledger_frontier, ledger_nodes

_ONE = 1
_FRONTIER = Statement(select(ledger_frontier.c.size, ledger_frontier.c.hashes)).ahead({})
_KEEP = Statement(update(ledger_frontier).values(size=bindparam("now"), hashes=bindparam("data")))
_FIRST = Statement(insert(ledger_frontier))
_ADD = Statement(insert(ledger_nodes))
_LEAVES = (
    select(ledger.c.leaf)
    .where(ledger.c.seq > bindparam("after"), ledger.c.seq <= bindparam("upto"))
    .order_by(ledger.c.seq)
)
_NODES = (
    select(ledger_nodes.c.hash)
    .where(
        ledger_nodes.c.level == bindparam("level"),
        ledger_nodes.c.position >= bindparam("after"),
        ledger_nodes.c.position < bindparam("upto"),
    )
    .order_by(ledger_nodes.c.position)
)


def frontier(tx: Tx) -> Frontier:
    """The tree over the whole ledger."""
    row = _FRONTIER.one(tx.connection, {})
    return Frontier() if row is None else Frontier.load(row.size, bytes(row.hashes))


def keep(tx: Tx, grown: Frontier, nodes: list[Node], *, first: bool = False) -> None:
    """Stores the tree after an append, and the subtrees that the append completed. ``first``: nothing was."""
    now = {"now": grown.size, "data": grown.dump()}
    if not first:
        _KEEP.many(tx.connection, [now])
    elif _KEEP.run(tx.connection, now) == 0:
        _FIRST.run(tx.connection, {"id": _ONE, "size": grown.size, "hashes": grown.dump()})
    if nodes:
        rows = [{"level": node.level, "position": node.position, "hash": node.hash} for node in nodes]
        _ADD.many(tx.connection, rows)


def leaves(tx: Tx, after: int, upto: int) -> list[bytes]:
    """The leaf hashes of the events after ``after``, up to the event ``upto``, in order.

    Raises ``ValueError`` when the ledger does not have them all.
    """
    found = [bytes(leaf) for leaf in tx.connection.execute(_LEAVES, {"after": after, "upto": upto}).scalars()]
    if len(found) != upto - after:
        raise ValueError(f"the ledger has {after + len(found)} events, not {upto}")
    return found


def root_at(tx: Tx, size: int) -> bytes:
    """The root of the first ``size`` events. Raises ``ValueError`` when the ledger has fewer."""
    whole = frontier(tx)
    if whole.size == size:
        return whole.root()
    return frontier_at(tx, size).root()


def frontier_at(tx: Tx, size: int, start: int = 0) -> Frontier:
    """The tree over ``size`` events: the first ones, or those from ``start`` on, which is then a multiple of a
    power of two that is at least ``size``. Raises ``ValueError`` when the ledger has fewer."""
    built, level = Frontier(), (size.bit_length() - 1) // STEP * STEP
    while level >= STEP:
        first, last = (start + built.size) >> level, (start + size) >> level
        rows = tx.connection.execute(_NODES, {"level": level, "after": first, "upto": last})
        hashes = [bytes(found) for found in rows.scalars()]
        if len(hashes) != last - first:
            raise ValueError(f"the ledger has no {start + size} events")
        for found in hashes:
            built.add_subtree(level, found)
        level -= STEP
    for leaf in leaves(tx, start + built.size, start + size):
        built.add(leaf)
    return built


def consistency(tx: Tx, old: int, new: int) -> list[bytes]:
    """Shows that the first ``old`` events are the start of the first ``new`` ones (RFC 6962 section 2.1.2), from
    stored subtrees: O(log n) reads. Raises ``ValueError`` when the ledger has fewer."""
    if not 0 < old <= new:
        raise ValueError(f"{old} is not between 1 and {new}")
    proof, start, size, whole = list[bytes](), 0, new, True
    while old != size:
        split = 1 << ((size - 1).bit_length() - 1)
        if old <= split:
            proof.append(frontier_at(tx, size - split, start + split).root())
            size = split
        else:
            proof.append(frontier_at(tx, split, start).root())
            old, start, size, whole = old - split, start + split, size - split, False
    if not whole:
        proof.append(frontier_at(tx, size, start).root())
    return proof[::-1]


def inclusion(tx: Tx, index: int, size: int) -> list[bytes]:
    """The audit path of the event at ``index``, from 0, in the tree of ``size`` events, lowest first (RFC 6962
    section 2.1.1), from stored subtrees. Raises ``ValueError`` when the ledger has fewer."""
    if not 0 <= index < size:
        raise ValueError(f"{index} is not between 0 and {size - 1}")
    path, start = list[bytes](), 0
    while size > 1:
        split = 1 << ((size - 1).bit_length() - 1)
        if index < split:
            path.append(frontier_at(tx, size - split, start + split).root())
            size = split
        else:
            path.append(frontier_at(tx, split, start).root())
            index, start, size = index - split, start + split, size - split
    return path[::-1]
