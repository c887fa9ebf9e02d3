"""Which changed paths need a person: those that a gate protects, and those that gates run. Pure functions."""

from __future__ import annotations

import posixpath
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

from fleet.ignoring import IgnorePatterns


@dataclass(frozen=True, slots=True)
class Touched:
    """A changed path that a gate protects, and the pattern or reason."""

    path: str
    pattern: str
    gate: str


def touched(protected: Mapping[str, Sequence[str]], paths: Iterable[str]) -> tuple[Touched, ...]:
    """Which of ``paths`` (both names of a rename) match a gate's protected patterns, gitignore-style.

    ``protected`` maps a gate's name to its patterns. Case is ignored, since a checkout on a file system that
    ignores case would be changed as well.
    """
    found: list[Touched] = []
    ordered = [(path, one_line(path).lower()) for path in sorted(set(paths))]
    for gate, patterns in protected.items():
        spec = IgnorePatterns(pattern.lower() for pattern in patterns)
        for path, comparable in ordered:
            decided = spec.check(comparable)
            if decided.include and decided.index is not None:
                found.append(Touched(path, patterns[decided.index], gate))
    return tuple(found)


def run_by(gates: Mapping[str, Sequence[str]], paths: Iterable[str]) -> tuple[Touched, ...]:
    """Which of ``paths`` a gate's command would load from the checkout: changing them could change the judgement.

    ``gates`` maps a name to an argv. It finds files that a word of the argv names and, for ``-m MODULE``, whatever
    at the root would be imported as that module.
    """
    found: list[Touched] = []
    ordered = sorted(set(paths))
    for gate, argv in gates.items():
        files = {posixpath.normpath(word) for word in argv}
        modules = {argv[at + 1].split(".")[0] for at, word in enumerate(argv[:-1]) if word == "-m"}
        for path in ordered:
            top, _, below = path.partition("/")
            stands_in = next((name for name in modules if (top == name and below) or top.split(".")[0] == name), "")
            if path in files or stands_in:
                found.append(Touched(path, "its command runs it", gate))
    return tuple(found)


def one_line(path: str) -> str:
    """A path without line breaks: a pattern's wildcard stops at one, and would miss what follows."""
    return "".join(ch if ch.isprintable() else "�" for ch in path)
