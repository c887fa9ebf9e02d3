"""Reads parts of git's patches. Pure."""

from __future__ import annotations

import re
from typing import Final

#: How the part of a file begins.
FILE: Final = b"diff --git "


def unquoted(name: bytes) -> bytes:
    """A path that git wrote, in quotes and C's escapes where it has unusual characters."""
    if len(name) < 2 or not (name.startswith(b'"') and name.endswith(b'"')):
        return name
    return re.sub(rb"\\([0-7]{3}|.)", _unescaped, name[1:-1])


def path_of(row: bytes) -> bytes:
    """The new path in ``diff --git a/… b/…``; one with `` b/`` in it is only certain where it stayed."""
    names = row.removeprefix(FILE)
    old, new = (unquoted(half) for half in (names[: len(names) // 2], names[len(names) // 2 + 1 :]))
    if old.removeprefix(b"a/") == new.removeprefix(b"b/"):
        return new.removeprefix(b"b/")
    start = b' "b/' if names.endswith(b'"') else b" b/"
    return unquoted(names[names.rindex(start) + 1 :]).removeprefix(b"b/") if start in names else names


def _unescaped(found: re.Match[bytes]) -> bytes:
    code = found[1]
    if len(code) == 3:
        return bytes([int(code, 8) & 0xFF])
    return {b"n": b"\n", b"t": b"\t", b"r": b"\r"}.get(code, code)


def lines_changed(patch: str) -> dict[str, list[int]]:
    """Lines added and removed, by file."""
    counts: dict[str, list[int]] = {}
    name, inside = "", False
    for row in patch.split("\n"):
        if row.startswith(FILE.decode()):
            name, inside = path_of(row.encode()).decode("utf-8", "backslashreplace"), False
            counts[name] = [0, 0]
        elif row.startswith("@@ "):
            inside = True
        elif inside and row[:1] in {"+", "-"}:
            counts[name][row[0] == "-"] += 1
    return counts
