"""Frames: two big-endian 32-bit lengths, a JSON header and a payload, many requests over one link."""

from __future__ import annotations

import struct

from . import light_json as json

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator

    from .files import Json

LENGTHS = struct.Struct(">II")


def frame(header: Json, payload: bytes = b"") -> bytes:
    """Encodes one frame."""
    text = json.dumps(header).encode()
    return LENGTHS.pack(len(text), len(payload)) + text + payload


def whole_frames(buffer: bytearray) -> Iterator[tuple[Json, bytes]]:
    """Removes and yields the complete frames at the start of ``buffer``."""
    while len(buffer) >= LENGTHS.size:
        header, payload = LENGTHS.unpack_from(buffer)
        start, end = LENGTHS.size + header, LENGTHS.size + header + payload
        if len(buffer) < end:
            return
        text, body = bytes(buffer[LENGTHS.size : start]), bytes(buffer[start:end])
        del buffer[:end]
        yield json.loads(text), body


class RequestError(Exception):
    """A request failed; sent as an error frame. ``kind`` is "unavailable" or "refused"."""

    def __init__(self, kind: str, cause: str) -> None:
        super().__init__(kind, cause)
        self.kind, self.cause = kind, cause
