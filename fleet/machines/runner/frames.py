"""Frames: two big-endian 32-bit lengths, a JSON header and a payload, many requests over one link."""

from __future__ import annotations

import json
import struct

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator

    from .files import Json

LENGTHS = struct.Struct(">II")


def frame(header: Json, payload: bytes = b"") -> bytes:
    """One frame as it goes over the link."""
    text = json.dumps(header).encode()
    return LENGTHS.pack(len(text), len(payload)) + text + payload


def whole_frames(buffer: bytearray) -> Iterator[tuple[Json, bytes]]:
    """Takes the complete frames off the front of ``buffer``."""
    while len(buffer) >= LENGTHS.size:
        header, payload = LENGTHS.unpack_from(buffer)
        start, end = LENGTHS.size + header, LENGTHS.size + header + payload
        if len(buffer) < end:
            return
        text, body = bytes(buffer[LENGTHS.size : start]), bytes(buffer[start:end])
        del buffer[:end]
        yield json.loads(text), body


class Problem(Exception):
    """Becomes an error frame: ``kind`` is "unavailable" or "refused"."""

    def __init__(self, kind: str, cause: str) -> None:
        super().__init__(kind, cause)
        self.kind, self.cause = kind, cause
