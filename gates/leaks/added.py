"""The lines that a change adds, read from git's patch. Pure.

Bytes of any file are read, binary ones too: without their zero bytes, ASCII in UTF-16 is ASCII. Compressed
content is not opened.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Final

from fleet.git.patches import unquoted

_HUNK: Final = re.compile(rb"@@ -\d+(?:,(\d+))? \+(\d+)(?:,(\d+))? @@")
_NEW: Final = b"+++ "
_NOWHERE: Final = "/dev/null"


@dataclass(slots=True)
class AddedLines:
    """The added lines of one file: their numbers in the new file, and their texts."""

    path: str
    numbers: list[int] = field(default_factory=list)
    lines: list[str] = field(default_factory=list)


def added(patch: bytes) -> list[AddedLines]:
    """What a patch without context lines adds, by file. The patch may end anywhere."""
    found: list[AddedLines] = []
    rows = iter(patch.split(b"\n"))
    for row in rows:
        if row.startswith(_NEW):
            found.append(AddedLines(_path(row.removeprefix(_NEW))))
        elif (hunk := _HUNK.match(row)) and found:
            _take(rows, hunk, found[-1])
    return [file for file in found if file.lines and file.path != _NOWHERE]


def _take(rows: Iterator[bytes], hunk: re.Match[bytes], file: AddedLines) -> None:
    """The hunk's lines are counted, so that no line of a file can pass for a header."""
    gone, here = int(hunk[1] or 1), int(hunk[3] or 1)
    number = int(hunk[2])
    while gone > 0 or here > 0:
        row = next(rows, None)
        if row is None:
            return
        if row.startswith(b"-"):
            gone -= 1
        elif row.startswith(b"+"):
            here -= 1
            file.numbers.append(number)
            file.lines.append(row[1:].replace(b"\0", b"").decode("utf-8", "replace").rstrip("\r"))
            number += 1


def _path(name: bytes) -> str:
    """A path as git writes it in a patch: quoted in C's way where it has unusual characters."""
    text = unquoted(name.rstrip(b"\t\r")).decode("utf-8", "surrogateescape")
    return text if text == _NOWHERE else text.removeprefix("b/")
