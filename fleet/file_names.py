"""The names of files that people send, as one component of a path: file systems take 255 bytes, not letters."""

from __future__ import annotations

from typing import Final

MOST_BYTES: Final = 120
_ENDING_BYTES: Final = 16


def fitting(name: str, most: int = MOST_BYTES) -> str:
    """``name`` in at most ``most`` bytes: its start, and its ending if that is short."""
    if len(name.encode()) <= most:
        return name
    stem, _, ending = name.rpartition(".")
    tail = f".{ending}" if stem and len(ending.encode()) < _ENDING_BYTES else ""
    head = (stem if tail else name).encode()[: most - len(tail.encode())]
    return head.decode(errors="ignore") + tail


def started(name: str, leave_out: str) -> str:
    """``name`` without these letters at its start. A name of nothing else is *file*, with its ending."""
    stem, dot, ending = name.rpartition(".")
    if dot and stem and ending:
        return f"{stem.lstrip(leave_out) or 'file'}.{ending}"
    return name.lstrip(leave_out) or "file"
