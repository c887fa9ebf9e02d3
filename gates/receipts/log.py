"""Inclusion and consistency proofs over the Merkle tree of RFC 6962 section 2.1 (``fleet.events.merkle``).

Everything here uses leaf *hashes* (32 bytes each, ``fleet.events.leaf_hash`` of an event's bytes), which the ledger
stores. A root covers every event before it, in order; a consistency proof shows that a longer log only added to a
shorter one.
"""

from __future__ import annotations

from collections.abc import Sequence

from fleet.events.merkle import node_hash


def roots_of_path(leaf: bytes, index: int, size: int, path: Sequence[bytes]) -> tuple[bytes, bytes] | None:
    """The roots of the first ``index + 1`` leaves and of all ``size`` by the audit path of this leaf hash, lowest
    first; ``None`` where it is no path of that leaf."""
    if not 0 <= index < size:
        return None
    position, last, before, node = index, size - 1, leaf, leaf
    for sibling in path:
        if last == 0:
            return None
        if position & 1 or position == last:
            before, node = node_hash(sibling, before), node_hash(sibling, node)
            while not position & 1 and position:
                position, last = position >> 1, last >> 1
        else:
            node = node_hash(node, sibling)
        position, last = position >> 1, last >> 1
    return (before, node) if last == 0 else None


def verify_consistency(
    old_size: int, new_size: int, old_head: bytes, new_head: bytes, proof: Sequence[bytes]
) -> bool:
    """Whether ``proof`` shows that the log with the new head starts with the log with the old head."""
    if not 0 < old_size <= new_size:
        return False
    if old_size == new_size:
        return not proof and old_head == new_head
    path = list(proof)
    if old_size & (old_size - 1) == 0:
        path.insert(0, old_head)
    if not path:
        return False
    position, last = old_size - 1, new_size - 1
    while position & 1:
        position, last = position >> 1, last >> 1
    old_node = new_node = path[0]
    for sibling in path[1:]:
        if last == 0:
            return False
        if position & 1 or position == last:
            old_node, new_node = node_hash(sibling, old_node), node_hash(sibling, new_node)
            while not position & 1 and position:
                position, last = position >> 1, last >> 1
        else:
            new_node = node_hash(new_node, sibling)
        position, last = position >> 1, last >> 1
    return last == 0 and old_node == old_head and new_node == new_head
