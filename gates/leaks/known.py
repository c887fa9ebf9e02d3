"""Looks for values of ``.env`` in added lines, in every form in which they may be written. Pure."""

from __future__ import annotations

import re
from bisect import bisect_right
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from itertools import accumulate
from typing import Final

from fleet.secret_forms import SHORTEST, split_over, squeezed, written
from gates.leaks.added import AddedLines

_LONG: Final = 16  # characters: a value of so many counts under any name
_NAMES: Final = re.compile(
    r"(?i)key|token|secret|passw|passphrase|pwd|credential|auth|private|signature|cookie|session|dsn|webhook"
)


@dataclass(frozen=True, slots=True)
class Sighting:
    """A value in a file: ``text`` is what is there, ``value`` what it stands for."""

    path: str
    line: int
    kind: str
    value: str
    text: str


def secret(name: str, value: str) -> bool:
    """Whether a value of ``.env`` is one that no change may contain."""
    return len(value) >= _LONG or (len(value) >= SHORTEST and _NAMES.search(name) is not None)


def find(values: Mapping[str, str], file: AddedLines) -> Iterator[Sighting]:
    """Each value that is in the file or in its path, once, at its first place."""
    text = "\n".join(file.lines)
    ends = list(accumulate(len(line) + 1 for line in file.lines))
    for name, value in values.items():
        if not secret(name, value):
            continue
        forms = sorted(written(value), key=len, reverse=True)
        in_path = next((form for form in forms if form in file.path), "")
        if in_path:
            yield Sighting(file.path, 0, name, value, in_path)
            continue
        place = next(((at, form) for form in forms if (at := text.find(form)) >= 0), None)
        if place is None:
            spans = next((spans for form in squeezed(value) if (spans := split_over(text, form))), [])
            place = next(((start, text[start:end]) for start, end in spans), None)
        if place is not None:
            yield Sighting(file.path, file.numbers[bisect_right(ends, place[0])], name, value, place[1])
