"""A change as a reviewer is shown it: git's patch with a number before each line. Pure."""

from __future__ import annotations

import re
from collections.abc import Callable, Collection, Iterator
from dataclasses import dataclass, field, replace
from enum import Enum
from typing import Final

from fleet.git.patches import FILE, path_of, unquoted
from gates.review.exchange import NoReview, WhyNone

Redact = Callable[[str], str]

_HUNK: Final = re.compile(rb"@@ -\d+(?:,(\d+))? \+(\d+)(?:,(\d+))? @@")
_NEW: Final = b"+++ "
_GONE: Final = b"+++ /dev/null"
#: Letters and marks that count as printable, and show nothing.
_BLANK: Final = re.compile(
    "[\u115f\u1160\u17b4\u17b5\u180b-\u180f\u3164\uffa0\u2800\u034f\ufe00-\ufe0e\U0001d159\U000e0100-\U000e01ef]"
)
_HIDDEN: Final = "‹redacted›"


class Mark(Enum):
    """What happened to a line."""

    ADDED = "+"
    REMOVED = "-"
    KEPT = " "


@dataclass(frozen=True, slots=True)
class ShownLine:
    """A line of a patch. ``number`` is its number in the new file; 0 for a removed one."""

    mark: Mark
    number: int
    text: str


@dataclass(slots=True)
class ShownFile:
    """A file of a change: its path, git's remarks about it, and its lines by hunk."""

    path: str
    remarks: list[str] = field(default_factory=list)
    hunks: list[list[ShownLine]] = field(default_factory=list)

    def numbers(self) -> frozenset[int]:
        """The numbers of the lines that are shown."""
        return frozenset(line.number for hunk in self.hunks for line in hunk if line.number)

    def __str__(self) -> str:
        rows = [f"=== {self.path}", *self.remarks]
        for hunk in self.hunks:
            rows.append("@@")
            rows += [f"{line.number or '':>6} {line.mark.value} {line.text}" for line in hunk]
        return "\n".join(rows)


def render(files: list[ShownFile]) -> str:
    """The whole change as text."""
    return "\n\n".join(map(str, files))


def read_patch(
    patch: bytes, redact: Redact | None, hidden: Collection[tuple[str, int]] = frozenset()
) -> list[ShownFile]:
    """The files of a patch, with what is invisible made visible, without secrets and the ``hidden`` lines.

    Raises ``NoReview`` for binary content, which no reviewer can read.
    """
    hidden = frozenset((visible(path.encode("utf-8", "surrogateescape")), line) for path, line in hidden)
    files: list[ShownFile] = []
    rows = iter(patch.split(b"\n"))
    for row in rows:
        if row.startswith(FILE):
            files.append(ShownFile(visible(path_of(row))))
        elif (hunk := _HUNK.match(row)) and files:
            files[-1].hunks.append(list(_lines(rows, hunk, files[-1].path)))
        elif row.startswith(_NEW) and row != _GONE and files:
            files[-1].path = visible(unquoted(row.removeprefix(_NEW).rstrip(b"\t")).removeprefix(b"b/"))
        elif row and files and not row.startswith((b"index ", b"--- ", b"+++ ")):
            files[-1].remarks.append(visible(row))
    for file in files:
        file.hunks = [[_shown(file, line, hidden) for line in hunk] for hunk in file.hunks]
    return [_redacted(file, redact) for file in files] if redact else files


def _lines(rows: Iterator[bytes], hunk: re.Match[bytes], path: str) -> Iterator[ShownLine]:
    """The hunk's lines are counted, so that no line of a file can pass for a header."""
    gone, here = int(hunk[1] or 1), int(hunk[3] or 1)
    number = int(hunk[2])
    while gone > 0 or here > 0:
        row = next(rows, None)
        if row is None:
            raise NoReview(WhyNone.TOO_LARGE, "git's patch ends early")
        if row.startswith(b"\\"):
            continue
        mark = Mark(chr(row[0])) if row[:1] in b"+- " and row else Mark.KEPT
        if b"\0" in row:
            raise NoReview(WhyNone.BINARY, f"{path} is binary: a reviewer cannot read it")
        text = visible(row[1:])
        if mark is Mark.REMOVED:
            gone -= 1
            yield ShownLine(mark, 0, text)
            continue
        here, gone = here - 1, gone - (mark is Mark.KEPT)
        yield ShownLine(mark, number, text)
        number += 1


def _shown(file: ShownFile, line: ShownLine, hidden: Collection[tuple[str, int]]) -> ShownLine:
    return replace(line, text=_HIDDEN) if (file.path, line.number) in hidden else line


def visible(row: bytes) -> str:
    """The text, with what is invisible made visible."""
    text = row.decode("utf-8", "backslashreplace")
    if text.isprintable() and not _BLANK.search(text):
        return text
    shown = (ch == "\t" or (ch.isprintable() and not _BLANK.match(ch)) for ch in text)
    return "".join(ch if plain else ascii(ch)[1:-1] for ch, plain in zip(text, shown, strict=True))


def _redacted(file: ShownFile, redact: Redact) -> ShownFile:
    hunks = []
    for hunk in file.hunks:
        texts = redact_lines([line.text for line in hunk], redact)
        hunks.append([replace(line, text=text) for line, text in zip(hunk, texts, strict=True)])
    return ShownFile(redact(file.path), [redact(row) for row in file.remarks], hunks)


def redact_lines(lines: list[str], redact: Redact) -> list[str]:
    """As many lines, without secrets: a secret over several lines hides each of them."""
    after = redact("\n".join(lines)).split("\n")
    if len(after) == len(lines):
        return after
    start = 0
    while start < min(len(lines), len(after)) and lines[start] == after[start]:
        start += 1
    end = 0
    while end < min(len(lines), len(after)) - start and lines[-1 - end] == after[-1 - end]:
        end += 1
    hidden = [_HIDDEN] * (len(lines) - start - end)
    return lines[:start] + hidden + lines[len(lines) - end :]
