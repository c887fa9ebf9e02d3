"""One second of silence as Telegram sends a voice message: Opus in Ogg (RFC 7845, RFC 3533)."""

from __future__ import annotations

import struct
from typing import Final

_RATE: Final = 48_000
_FRAME: Final = 960
"""Samples of one packet: 20 ms."""

_SILENT: Final = b"\xf8\xff\xfe"
"""An Opus packet of one silent frame (RFC 6716): full band, mono."""

_PACKETS: Final = 50
_SERIAL: Final = 0x41697262
_FIRST, _LAST = 2, 4
"""Flags of a page."""


def ogg_silence() -> bytes:
    """The file: a page each for the head, the tags and the sound."""
    head = struct.pack("<8sBBHIhB", b"OpusHead", 1, 1, 0, _RATE, 0, 0)
    tags = struct.pack("<8sI7sI", b"OpusTags", 7, b"airboss", 0)
    sound = [_SILENT] * _PACKETS
    return _page(_FIRST, 0, 0, [head]) + _page(0, 0, 1, [tags]) + _page(_LAST, _FRAME * _PACKETS, 2, sound)


def _page(flags: int, position: int, number: int, packets: list[bytes]) -> bytes:
    """A page with packets of fewer than 255 bytes each, its checksum in place."""
    sizes = bytes(len(packet) for packet in packets)
    start = struct.pack("<4sBBqII", b"OggS", 0, flags, position, _SERIAL, number)
    rest = struct.pack("<B", len(sizes)) + sizes + b"".join(packets)
    return start + struct.pack("<I", _checksum(start + bytes(4) + rest)) + rest


def _checksum(data: bytes) -> int:
    """Ogg's CRC-32: polynomial 0x04c11db7, not reflected."""
    value = 0
    for byte in data:
        value ^= byte << 24
        for _ in range(8):
            value = (value << 1 ^ 0x04C11DB7 if value & 0x80000000 else value << 1) & 0xFFFFFFFF
    return value
