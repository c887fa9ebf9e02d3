"""Reads parts of git's patches. Pure."""

from __future__ import annotations

import re
from typing import Final, NamedTuple

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


class Patch(NamedTuple):
    """A unified diff for people. ``cut``: its end is missing."""

    text: str
    cut: bool = False


class FileChanged(NamedTuple):
    """Lines added and removed in a file, and what else became of it: ``new``, ``was a.txt``, ``binary``."""

    added: int
    removed: int
    also: tuple[str, ...] = ()


_ALSO: Final = (
    ("new file mode 100755", "new, executable"),
    ("new file mode 120000", "new link"),
    ("new file mode 160000", "new submodule"),
    ("new file mode ", "new"),
    ("deleted file mode ", "deleted"),
    ("new mode 100755", "executable now"),
    ("new mode 100644", "no longer executable"),
    ("Binary files ", "binary"),
)


def files_changed(patch: Patch) -> dict[str, FileChanged]:
    """What became of each file, by its new path. Of a patch that is cut, nobody knows all of the last one."""
    found: dict[str, tuple[list[str], list[str]]] = {}
    inside = False
    heads, rows = list[str](), list[str]()
    for row in patch.text.split("\n"):
        if row.startswith(FILE.decode()):
            inside, heads, rows = False, [], []
            found[path_of(row.encode()).decode("utf-8", "backslashreplace")] = heads, rows
        elif row.startswith("@@ "):
            inside = True
            rows.append(row)
        elif inside:
            rows.append(row)
        else:
            heads.append(row)
    last = next(reversed(found), "") if patch.cut else ""
    return {name: _file_changed(*seen, cut=name == last) for name, seen in found.items()}


def _file_changed(heads: list[str], rows: list[str], *, cut: bool) -> FileChanged:
    also = [words for row in heads if (words := _also(row))]
    added, removed = (sum(row[:1] == sign for row in rows) for sign in "+-")
    if cut:
        also.append("and more that is not counted")
    elif removed and _side(rows, "-") == _side(rows, "+"):
        also.append("only line ends")
    return FileChanged(added, removed, tuple(also))


def _side(rows: list[str], sign: str) -> list[str]:
    """What the hunks show of the old file (``-``) or of the new one (``+``), without the ends of the lines. A line
    that moved stands in another place."""
    return ["@@" if row.startswith("@@") else row[1:].rstrip("\r") for row in rows if row[:1] in ("@", " ", sign)]


def _also(row: str) -> str:
    if row.startswith("rename from "):
        return f"was {unquoted(row.removeprefix('rename from ').encode()).decode('utf-8', 'backslashreplace')}"
    return next((words for begin, words in _ALSO if row.startswith(begin)), "")
