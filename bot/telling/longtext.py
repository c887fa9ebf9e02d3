"""Long text in several messages: cut where a reader would, with code fences whole in each.

Split before escaping for a platform, so that no cut falls into an escape.
"""

from __future__ import annotations

import re
import unicodedata
from bisect import bisect_right
from collections.abc import Callable
from dataclasses import dataclass
from typing import Final

SMALLEST: Final = 64
"""The smallest limit: below it there is no room for a fence and a word."""

_FENCE = re.compile(r" {0,3}(`{3,}|~{3,})[ \t]*([^`\n]*)$")
_MARK_LIMIT: Final = 8
_INFO_LIMIT: Final = 16
_JOINERS = "\u200d\ufe0e\ufe0f"


def utf16(text: str) -> int:
    """The length as Telegram counts it: UTF-16 code units."""
    return len(text) + sum(1 for ch in text if ch > "\uffff")


@dataclass(frozen=True, slots=True)
class _Fence:
    """An open code fence: its marker, and what follows it (the language)."""

    mark: str
    info: str

    @property
    def opening(self) -> str:
        return f"{self.mark}{self.info}\n"

    @property
    def closing(self) -> str:
        return f"\n{self.mark}"


def split(text: str, limit: int, measure: Callable[[str], int] = len) -> list[str]:
    """The text in pieces of at most ``limit`` by ``measure``, none of them blank; ``[]`` for a blank text.

    It cuts after a blank line, else a line, else a word, else anywhere. A code fence that is open at a cut is
    closed there and opened again in the next piece. White space at a cut is dropped, nothing else.
    Raises ``ValueError`` for a limit below ``SMALLEST``.
    """
    if limit < SMALLEST:
        raise ValueError(f"a message limit of {limit} characters is too small")
    pieces: list[str] = []
    fence: _Fence | None = None
    rest = text
    while rest.strip():
        head = fence.opening if fence else ""
        room = limit - measure(head)
        after = _state(fence, rest)
        tail = after.closing if after else ""
        if measure(rest) + measure(tail) <= room:
            pieces.append(head + rest.rstrip() + tail)
            break
        cut, after = _cut(rest, room, fence, measure)
        body = rest[:cut]
        rest = rest[cut:].lstrip("\n") if body.endswith("\n") or rest[cut : cut + 1] == "\n" else rest[cut:]
        if body.strip():
            pieces.append(head + body.rstrip() + (after.closing if after else ""))
        fence = after
    return pieces


def _cut(rest: str, room: int, fence: _Fence | None, measure: Callable[[str], int]) -> tuple[int, _Fence | None]:
    """Where to cut so that the closing fence still fits, and the fence that is open there."""
    cut = _sensible(rest, _most(rest, room, measure))
    after = _state(fence, rest[:cut])
    if after is not None:
        cut = _sensible(rest, _most(rest, room - measure(after.closing), measure))
        after = _state(fence, rest[:cut])
    if after is not None and after is not fence:
        # A piece that ends with an opening fence would show an empty box: the fence goes into the next one.
        before = rest[:cut].rstrip("\n").rfind("\n") + 1
        if _state(fence, rest[:before]) != after and rest[:before].strip():
            return before, _state(fence, rest[:before])
    return cut, after


def _most(rest: str, room: int, measure: Callable[[str], int]) -> int:
    """How many characters fit into ``room``; at least one. Does not split what a reader sees as one character."""
    top = min(len(rest), room)
    most = top if measure is len else bisect_right(range(top + 1), room, key=lambda n: measure(rest[:n])) - 1
    cut = max(1, most)
    for back in range(cut, max(0, cut - 16), -1):
        if back == len(rest) or not _joined(rest, back):
            return back
    return cut


def _joined(text: str, at: int) -> bool:
    return text[at] in _JOINERS or text[at - 1] == "\u200d" or unicodedata.combining(text[at]) != 0


def _sensible(rest: str, most: int) -> int:
    if most >= len(rest):
        return len(rest)
    for sign, least in (("\n\n", most // 2), ("\n", most // 4), (" ", most // 4)):
        found = rest.rfind(sign, 0, most + 1)
        if found > least:
            return min(found + len(sign), most)
    return most


def _state(fence: _Fence | None, text: str) -> _Fence | None:
    """The fence that is open after ``text``, which starts at a line's start inside ``fence`` or outside any."""
    if "```" not in text and "~~~" not in text:
        return fence
    for line in text.split("\n"):
        found = _FENCE.match(line)
        if found is None:
            continue
        mark, info = found.group(1), found.group(2).strip()
        if fence is None:
            fence = _Fence(mark[:_MARK_LIMIT], info if len(info) <= _INFO_LIMIT else "")
        elif not info and mark.startswith(fence.mark):
            fence = None
    return fence
