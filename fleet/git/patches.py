"""Reads parts of git's patches. Pure."""

from __future__ import annotations

import re


def unquoted(name: bytes) -> bytes:
    """A path that git wrote, in quotes and C's escapes where it has unusual characters."""
    if len(name) < 2 or not (name.startswith(b'"') and name.endswith(b'"')):
        return name
    return re.sub(rb"\\([0-7]{3}|.)", _unescaped, name[1:-1])


def _unescaped(found: re.Match[bytes]) -> bytes:
    code = found[1]
    if len(code) == 3:
        return bytes([int(code, 8) & 0xFF])
    return {b"n": b"\n", b"t": b"\t", b"r": b"\r"}.get(code, code)
