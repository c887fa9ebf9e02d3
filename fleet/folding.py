"""Upper and lower case as file systems that fold it see them: Unicode's simple folding, one character for each."""

from __future__ import annotations

from bisect import bisect_left, bisect_right
from collections.abc import Iterator
from functools import cache
from typing import Final

_CASED: Final = 0x20000
"""No letter from here on has two cases."""

_FEW: Final = 256


def lower(char: str) -> str:
    """The character in the form that stands for all of its cases."""
    folded = char.casefold()
    if len(folded) > 1:
        folded = char.lower()
    return folded if len(folded) == 1 else char


def lower_all(text: str) -> str:
    """Each of its characters so."""
    folded = text.casefold()  # which makes none shorter
    return folded if len(folded) == len(text) else "".join(map(lower, text))


def lowered(low: str, high: str) -> Iterator[tuple[int, int]]:
    """What a range is once its letters are folded: it without those that change, and what they become."""
    start, end = ord(low), ord(high)
    known = _changing() if end - start > _FEW else [code for code in range(start, end + 1) if _changes(code)]
    for code in known[bisect_left(known, start) : bisect_right(known, end)]:
        if start < code:
            yield start, code - 1
        folded = ord(lower(chr(code)))
        yield folded, folded
        start = code + 1
    if start <= end:
        yield start, end


@cache
def _changing() -> list[int]:
    """Every character that folding changes."""
    return [code for code in range(_CASED) if _changes(code)]


def _changes(code: int) -> bool:
    char = chr(code)
    return char != lower(char)
