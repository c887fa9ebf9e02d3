"""Patterns in the way of ``.gitignore``: which of them decides about a path, in a time that no pattern can blow up.

A path is matched name by name: each pattern keeps the set of its own parts that can come next, and the wildcards of
one part are matched without going back over the stars before them. So the work is at most the length of the pattern
times the length of the path. The usual way, one regular expression for a whole pattern, takes longer than anybody
waits for a few dozen stars.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass
from fnmatch import translate
from functools import lru_cache
from typing import Final

_DEEP: Final = None
"""``**`` as a whole segment: any number of segments."""

_SPECIAL: Final = frozenset("*?[")


@dataclass(frozen=True, slots=True)
class Decided:
    """What the patterns say of a path. ``include``: it matches; ``None``: no pattern is about it. ``index``: of the
    pattern that decides."""

    include: bool | None = None
    index: int | None = None


@dataclass(frozen=True, slots=True)
class _Pattern:
    index: int
    include: bool
    segments: tuple[re.Pattern[str] | None, ...]
    inside_only: bool  # it names a directory: what is in it matches, and a file of that name does not

    def reach(self, names: tuple[str, ...]) -> int:
        """2: it names the path; 1: it names a directory above it; 0: neither."""
        last, above = len(self.segments), 0
        states = self._closed({0})
        for at, name in enumerate(names, 1):
            states = self._closed(set(self._steps(states, name)))
            if last in states:
                if at == len(names):
                    return above if self.inside_only else 2
                above = 1
            if not states:
                break
        return above

    def _steps(self, states: Iterable[int], name: str) -> Iterable[int]:
        for state in states:
            if state == len(self.segments):
                continue
            segment = self.segments[state]
            if segment is _DEEP:
                yield state
            elif segment.match(name):
                yield state + 1

    def _closed(self, states: set[int]) -> frozenset[int]:
        """With those that are reached because ``**`` may stand for nothing. At the end it stands for something."""
        todo = list(states)
        while todo:
            state = todo.pop()
            if state < len(self.segments) and self.segments[state] is _DEEP and state + 1 not in states:
                states.add(state + 1)
                todo.append(state + 1)
        return frozenset(states)


class IgnorePatterns:
    """Some patterns, in their order. The last one that matches decides; one that names the path itself before one
    that names a directory above it."""

    def __init__(self, lines: Iterable[str]) -> None:
        parsed = (_parsed(index, line) for index, line in enumerate(lines))
        self._patterns = tuple(pattern for pattern in parsed if pattern is not None)

    def check(self, path: str) -> Decided:
        """What decides about a path with ``/`` between its names."""
        names = tuple(path.split("/"))
        decided, reached = Decided(), 0
        for pattern in self._patterns:
            reach = pattern.reach(names)
            if reach and reach >= reached:
                decided, reached = Decided(pattern.include, pattern.index), reach
        return decided

    def match(self, path: str) -> bool:
        """Whether a path matches."""
        return bool(self.check(path).include)


def _parsed(index: int, line: str) -> _Pattern | None:
    text = line.rstrip("\r\n")
    while text.endswith(" ") and not text.endswith("\\ "):
        text = text[:-1]
    if not text or text.startswith("#"):
        return None
    include = not text.startswith("!")
    text = text if include else text[1:]
    inside_only = text.endswith("/")
    text = text.removesuffix("/")
    if not text:
        return None
    parts = text.removeprefix("/").split("/")
    if "/" not in text and parts != ["**"]:
        parts = ["**", *parts]
    segments: list[re.Pattern[str] | None] = []
    for part in parts:
        deep = part == "**"
        if not (deep and segments and segments[-1] is _DEEP):
            segments.append(_DEEP if deep else _segment(part))
    if segments[-1] is _DEEP and inside_only and len(segments) > 1:
        segments.pop()  # "a/**/" is what is in a
    elif segments[-1] is _DEEP:
        segments.append(_segment("*"))  # what is inside, not the directory itself
    return _Pattern(index, include, tuple(segments), inside_only)


@lru_cache(maxsize=4096)
def _segment(part: str) -> re.Pattern[str]:
    """A regular expression for one name. Python's own looks for what is between two stars once, from the left."""
    made, at = "", 0
    while at < len(part):
        char = part[at]
        if char == "\\" and at + 1 < len(part):
            at += 1
            made += f"[{part[at]}]" if part[at] in _SPECIAL else part[at]
        elif char == "[" and part[at + 1 : at + 2] == "^":
            made += "[!"
            at += 1
        else:
            made += char
        at += 1
    return re.compile(translate(made))
