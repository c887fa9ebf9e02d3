"""Cuts a spool's chunks into lines, in bounded memory; reading can stop and continue at any line's end."""

from __future__ import annotations

from collections.abc import Iterator

from msgspec import Struct

DECODE_CAP = 8 * 1024 * 1024
"""The longest line, in bytes, that is passed on for decoding."""


class Line(Struct, frozen=True, gc=False):
    """A complete line without its newline. ``end`` is the spool offset just after the newline."""

    data: bytes
    end: int


class Oversized(Struct, frozen=True, gc=False):
    """A line of ``size`` bytes (without its newline) over the limit; counted, not kept."""

    size: int
    end: int


class LineFramer:
    """Cuts chunks into lines. Holds at most ``cap`` bytes of an unfinished line.

    ``offset`` is the spool offset of the first byte to be fed: after a restart, the ``end`` of the last line taken.
    """

    def __init__(self, cap: int = DECODE_CAP, offset: int = 0) -> None:
        self._cap = cap
        self._offset = offset
        self._parts: list[bytes] = []
        self._size = 0  # of the open line, kept or not

    def feed(self, chunk: bytes) -> Iterator[Line | Oversized]:
        """Every line that ends within the chunk. Consume the iterator before the next call."""
        begin = 0
        while (newline := chunk.find(b"\n", begin)) >= 0:
            yield self._close(chunk[begin:newline], 1)
            begin = newline + 1
        if begin < len(chunk):
            self._add(chunk[begin:])

    def rest(self) -> Line | Oversized | None:
        """The last line of a process that ended without a newline, if any."""
        return self._close(b"", 0) if self._size else None

    def _add(self, part: bytes) -> None:
        self._size += len(part)
        self._offset += len(part)
        if self._size > self._cap:
            self._parts.clear()
        else:
            self._parts.append(part)

    def _close(self, part: bytes, newline: int) -> Line | Oversized:
        size, parts = self._size + len(part), self._parts
        self._offset += len(part) + newline
        if self._size:
            self._parts, self._size = [], 0
        if size > self._cap:
            return Oversized(size, self._offset)
        return Line(b"".join((*parts, part)) if parts else part, self._offset)
