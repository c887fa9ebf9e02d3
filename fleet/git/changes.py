"""What differs between two commits."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class ChangedPath:
    """One path that differs. ``status`` is git's letter (A, M, D, T; R with ``old_path`` only on request).

    Path bytes that are not UTF-8 are kept as surrogate escapes.
    """

    status: str
    path: str
    old_path: str = ""


@dataclass(frozen=True, slots=True)
class Stat:
    """The size of a change. A binary file counts as a file without lines."""

    files: int
    insertions: int
    deletions: int
