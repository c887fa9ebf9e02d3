"""Text written by an agent, a log, a file name or a repository. It is shown; it never acts.

``clean`` removes everything that could move a cursor, set a title, hide text or reverse it. Keeping it from
becoming markup, a mention or a link is the job of each chat adapter, which knows its platform.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Final

from fleet.excerpts import excerpt

DEFAULT_LIMIT = 4_000  # characters: one chat message

_TERMINAL = re.compile(
    r"(?:\x1b\[|\x9b)[0-?]*+[ -/]*+[@-~]?"  # CSI
    r"|(?:\x1b[\]PX^_]|[\x9d\x90\x98\x9e\x9f])[^\x07\x1b\x9c\n]*+(?:\x07|\x1b\\|\x9c)?"  # OSC, DCS, SOS, PM, APC
    r"|\x1b[ -/]*+[0-~]?"
)
_NEWLINES = re.compile("\r\n|[\r\x0b\x0c\x85\u2028\u2029]")


def _ranges(*ranges: tuple[int, int]) -> dict[int, None]:
    return {point: None for first, last in ranges for point in range(first, last + 1)}


_GONE: dict[int, int | None] = {
    **_ranges(
        (0x00, 0x08), (0x0B, 0x1F), (0x7F, 0x9F),  # C0 without tab and newline, DEL, C1
        (0xAD, 0xAD), (0x34F, 0x34F), (0x61C, 0x61C), (0x115F, 0x1160), (0x17B4, 0x17B5), (0x180B, 0x180F),
        (0x200B, 0x200F), (0x202A, 0x202E), (0x2060, 0x206F),  # zero-width, bidi marks and overrides
        (0x3164, 0x3164), (0xFE00, 0xFE0E), (0xFEFF, 0xFEFF), (0xFFA0, 0xFFA0), (0xFFF9, 0xFFFB),
        (0xE0000, 0xE0FFF),  # tags: a second, invisible alphabet
    ),
    **dict.fromkeys(range(0xD800, 0xE000), 0xFFFD),  # lone surrogates cannot be sent
}  # fmt: skip


def clean(text: str, limit: int = DEFAULT_LIMIT) -> str:
    """``text`` as plain visible characters, newlines and tabs, at most ``limit`` characters.

    Newlines of all kinds become ``\\n``. Text that is too long keeps its start and its end.
    """
    shown = _TERMINAL.sub("", text)
    shown = _NEWLINES.sub("\n", shown).translate(_GONE)
    return shortened(shown, limit)


def shortened(text: str, limit: int) -> str:
    """``text``, or its first two thirds and its end around a note of what was cut; ``limit`` characters in all."""
    if len(text) <= limit:
        return text
    missing = len(text) - limit
    while True:
        note = f"\n… {missing} characters left out …\n"
        if missing == len(text) - limit + len(note):
            break
        missing = len(text) - limit + len(note)  # the text that the note replaces counts too
    room = limit - len(note)
    if room < len(note):
        return text[: max(0, limit - 1)] + "…"[:limit]
    head = room * 2 // 3
    return text[:head] + note + text[len(text) - (room - head) :]


@dataclass(frozen=True, slots=True)
class Untrusted:
    """A text from an untrusted source. ``raw`` is for storing; to show it, use ``str`` or :meth:`text`."""

    raw: str

    def text(self, limit: int = DEFAULT_LIMIT) -> str:
        """The cleaned text, at most ``limit`` characters."""
        return clean(self.raw, limit)

    def one_line(self, limit: int = 80) -> str:
        """The cleaned text on one line."""
        flat = " ".join(clean(self.raw[: limit * 32], limit * 32).split())
        return flat if len(flat) <= limit else flat[: whole_until(flat, limit - 1)] + "…"

    def __str__(self) -> str:
        return self.text()


_CUT_WORD: Final = 12

SPACELESS: Final = "\u0e00-\u0eff\u1000-\u109f\u1780-\u17ff\u2e80-\ua4cf\uf900-\ufaff\U00020000-\U0003ffff"
"""Scripts that are written without spaces, such as Han, Kana and Thai, as the inside of a character class."""

_START_OF_WORD = re.compile(f"(?:.*[ \n{SPACELESS}])?", re.DOTALL)


def whole_until(text: str, limit: int) -> int:
    """Where to cut a text, at ``limit`` or before: of a word that is cut, only its start stays, because the
    redactor does not recognize half a secret. In a script without spaces each character is a word; the redactor
    knows the starts of secrets that are written so."""
    found = _START_OF_WORD.match(text, 0, limit)
    return min(limit, (found.end() if found else 0) + _CUT_WORD)


_LINE_LIMIT = 300


def tail_that_matters(text: str, lines: int = 60) -> str:
    """The lines of a failed command's output that explain the failure, at most ``lines``, in order; cleaned.

    Short output is kept whole. Lines are cut at 300 characters, empty ones are left out.
    """
    every = (line.rstrip()[:_LINE_LIMIT] for line in clean(text, len(text) + 1).split("\n"))
    return "\n".join(excerpt([line for line in every if line], lines))
