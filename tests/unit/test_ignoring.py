"""Patterns of ignore rules: they decide as the library does that people know, and none of them takes for ever."""

from __future__ import annotations

import random

import pathspec
import pytest

from fleet.ignoring import IgnorePatterns
from gates.protected import touched
from gates.rulings.permissions import denied_by

PARTS = ("a", "b", "*", "**", "a*", "*b", "?", "[ab]", "[!a]", "[^b]", "a?", "\\*", "a*b")
NAMES = ("a", "b", "ab", "ba", "aab", "*", "c")


def _pattern(lot: random.Random) -> str:
    parts = "/".join(lot.choice(PARTS) for _ in range(lot.randint(1, 3)))
    return "!" * (lot.random() < 0.2) + "/" * (lot.random() < 0.2) + parts + "/" * (lot.random() < 0.2)


@pytest.mark.parametrize("seed", range(4))
def test_they_decide_as_pathspec_does(seed: int) -> None:
    lot = random.Random(seed)
    for _ in range(400):
        lines = [_pattern(lot) for _ in range(lot.randint(1, 3))]
        theirs, ours = pathspec.GitIgnoreSpec.from_lines(lines), IgnorePatterns(lines)
        for _ in range(5):
            path = "/".join(lot.choice(NAMES) for _ in range(lot.randint(1, 4)))
            wanted, found = theirs.check_file(path), ours.check(path)
            assert bool(wanted.include) == bool(found.include), (seed, lines, path)
            if wanted.include:
                assert wanted.index == found.index, (seed, lines, path)


@pytest.mark.parametrize(
    ("line", "path", "matches"),
    [
        ("# a comment", "# a comment", False),
        ("", "a", False),
        ("\\#a", "#a", True),
        ("\\!a", "!a", True),
        ("a ", "a", True),
        ("a\\ ", "a ", True),
        ("/", "a", False),
        ("[", "[", True),
        ("build/", "build", False),
        ("build/", "x/build/y", True),
        ("docs/*.md", "docs/x/y.md", False),
        ("docs/**", "docs", False),
        ("docs/**/*.md", "docs/y.md", True),
    ],
)
def test_single_lines(line: str, path: str, matches: bool) -> None:
    assert IgnorePatterns([line]).match(path) is matches


HOSTILE = [
    ("*" * 300 + "b", "a" * 255),
    ("*a" * 100 + "b", "a" * 255),
    ("**/a/" * 60 + "b", "a/" * 1_000 + "c"),
    ("?*" * 60 + "b", "/".join(["a" * 250] * 10)),
    ("[ab]*" * 50 + "[!a]", "a" * 250),
    ("/".join(["*a*a*a*b"] * 20), "/".join(["a" * 200] * 19)),
]


@pytest.mark.parametrize(("pattern", "path"), HOSTILE)
def test_a_hostile_pattern_ends(pattern: str, path: str) -> None:
    """As one regular expression, each of these takes years."""
    assert not IgnorePatterns([pattern]).match(path)
    assert touched({"tests": [pattern]}, [path]) == ()
    assert denied_by(path, [pattern]) == ""
