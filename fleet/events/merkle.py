"""The Merkle tree of RFC 6962 section 2.1 over leaf hashes, grown leaf by leaf.

A frontier is what a growing tree must keep: the roots of its complete subtrees, at most 64 hashes. Adding a leaf
and computing the root then cost O(log n).
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from hashlib import sha256
from typing import Final

EMPTY_ROOT: Final = sha256(b"").digest()

STEP: Final = 8
"""Levels between the subtree roots that :meth:`Frontier.add` returns: every 256 leaves, every 65,536, …"""

_HASH: Final = 32


@dataclass(frozen=True, slots=True)
class Node:
    """The root of a complete subtree: it covers the ``2 ** level`` leaves from ``position * 2 ** level``."""

    level: int
    position: int
    hash: bytes


@dataclass(slots=True)
class Frontier:
    """A tree of ``size`` leaves; ``hashes`` are its complete subtrees' roots, largest first."""

    size: int = 0
    hashes: list[bytes] = field(default_factory=list)

    @classmethod
    def load(cls, size: int, data: bytes) -> Frontier:
        """The inverse of :meth:`dump`."""
        return cls(size, [data[at : at + _HASH] for at in range(0, len(data), _HASH)])

    def dump(self) -> bytes:
        """The hashes as bytes, to store beside ``size``."""
        return b"".join(self.hashes)

    def add(self, leaf: bytes) -> list[Node]:
        """Adds a leaf hash; returns the subtrees of every ``STEP`` levels that are now complete."""
        return self.add_subtree(0, leaf)

    def add_subtree(self, level: int, hash_: bytes) -> list[Node]:
        """Like :meth:`add` for ``2 ** level`` leaves at once; the tree must already have a multiple of these."""
        position, made = self.size >> level, []
        self.size += 1 << level
        while position & 1:
            hash_ = node_hash(self.hashes.pop(), hash_)
            position, level = position >> 1, level + 1
            if level % STEP == 0:
                made.append(Node(level, position, hash_))
        self.hashes.append(hash_)
        return made

    def add_all(self, leaves: Sequence[bytes]) -> list[Node]:
        """As :meth:`add` for many leaves, in half the time: runs of ``2 ** STEP`` are hashed level by level."""
        made, at, run = [], 0, 1 << STEP
        while at < len(leaves):
            if self.size % run or len(leaves) - at < run:
                made += self.add(leaves[at])
                at += 1
                continue
            level = leaves[at : at + run]
            while len(level) > 1:
                pairs = iter(level)
                level = [sha256(b"\x01" + left + right).digest() for left, right in zip(pairs, pairs, strict=True)]
            made.append(Node(STEP, self.size >> STEP, level[0]))
            made += self.add_subtree(STEP, level[0])
            at += run
        return made

    def root(self) -> bytes:
        """The tree head, 32 bytes. Without leaves it is the SHA-256 of nothing."""
        if not self.hashes:
            return EMPTY_ROOT
        *rest, root = self.hashes
        for left in reversed(rest):
            root = node_hash(left, root)
        return root


def node_hash(left: bytes, right: bytes) -> bytes:
    """The hash of an inner node: SHA-256 of 0x01 and both children."""
    return sha256(b"\x01" + left + right).digest()


def root(leaves: Iterable[bytes]) -> bytes:
    """The tree head over leaf hashes."""
    frontier = Frontier()
    for leaf in leaves:
        frontier.add(leaf)
    return frontier.root()
