"""Overlap of path globs, against brute force over every short path of a small alphabet."""

from __future__ import annotations

import itertools
import re
import sys
from types import FrameType

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fleet.errors import Misused
from fleet.folding import lower, lowered
from fleet.globs import LONGEST, LONGEST_NAME, MOST_DEEP, Glob, unmeant

NAMES = ["".join(letters) for size in (1, 2) for letters in itertools.product("abB", repeat=size)]
PATHS = ["/".join(parts) for size in (1, 2) for parts in itertools.product(NAMES, repeat=size)] + [
    "/".join(parts) for parts in itertools.product(NAMES[:5], repeat=3)
]

SEGMENT = st.lists(
    st.sampled_from(["a", "b", "B", "*", "?", "[ab]", "[!a]", "[a-b]", "[!B]"]), min_size=1, max_size=2
)
PATTERN = st.lists(st.one_of(SEGMENT.map("".join), st.just("**")), min_size=1, max_size=3).map("/".join)


def _valid(pattern: str) -> bool:
    return not re.search(r"\*\*", re.sub(r"(^|/)\*\*(?=/|$)", r"\1", pattern))


PATTERNS = PATTERN.filter(_valid)


def _reference(pattern: str, path: str, fold: bool) -> bool:
    """The same language by another road: one regular expression over the whole path."""
    parts = pattern.split("/")
    literal = not re.search(r"[*?\[]", pattern)
    if literal:
        parts.append("**")
    text = ""
    for part in parts:
        if part == "**":
            text += "(?:[^/]+(?:/|$))*"
            continue
        body = "".join(
            {"*": "[^/]*", "?": "[^/]"}.get(token, token.replace("[!", "[^/"))
            for token in re.findall(r"\[[^]]*\]|.", part)
        )
        text += f"(?=[^/]){body}(?:/|$)"  # no name is empty, whatever its pattern says
    return re.fullmatch(text, path, re.IGNORECASE if fold else 0) is not None


@given(PATTERNS, st.booleans())
def test_a_pattern_covers_what_the_reference_says(pattern: str, fold: bool) -> None:
    glob = Glob.parse(pattern, fold=fold)
    assert [p for p in PATHS if glob.covers(p)] == [p for p in PATHS if _reference(pattern, p, fold)]


@given(PATTERNS, PATTERNS, st.booleans())
def test_overlap_is_exact(first: str, second: str, fold: bool) -> None:
    """Where it says yes, it names a path that both cover; where it says no, brute force finds none."""
    a, b = Glob.parse(first, fold=fold), Glob.parse(second, fold=fold)
    shared = a.common(b)
    assert (b.common(a) is None) is (shared is None)
    if shared is None:
        assert not any(a.covers(path) and b.covers(path) for path in PATHS)
    else:
        assert _reference(first, shared, fold)
        assert _reference(second, shared, fold)


@pytest.mark.parametrize(
    ("first", "second", "together"),
    [
        ("src/api/**", "src/api/v1/x.py", True),
        ("src/api/**", "src/web/**", False),
        ("src", "src/a/b", True),
        ("src/*.py", "src/a/b.py", False),
        ("**/*.py", "docs/**", True),
        ("**/*.py", "docs/*.md", False),
        ("a*z", "ab*yz", True),
        ("[a-m]*", "[n-z]*", False),
        ("[!a]", "[!b]", True),
        ("src/", "src/x", True),
        ("**", "anything", True),
        ("./src/x", "src/x", True),
        ("caf\u00e9", "cafe\u0301", True),
        (r"a\*", "ab", False),
        ("x/**/y", "x/y", True),
    ],
)
def test_examples(first: str, second: str, together: bool) -> None:
    assert (Glob.parse(first).common(Glob.parse(second)) is not None) is together


@pytest.mark.parametrize("path", [" a", "a ", "dir/ ", "\ta\n", "*" * 250, "[x" * 100, "\\xff" * 255, "a\\"])
def test_every_name_that_git_can_have_is_a_path(path: str) -> None:
    glob = Glob.path(path, fold=True)
    again = Glob.parse(glob.text, fold=True)
    assert glob.covers(path) and again.covers(path)
    assert again.literal == glob.literal == path
    assert not again.covers(path.strip() + "x")


def test_case_counts_unless_the_file_system_folds_it() -> None:
    assert Glob.parse("README.md").common(Glob.parse("readme.md")) is None
    assert Glob.parse("README.md", fold=True).common(Glob.parse("readme.md")) is not None
    assert Glob.parse("[A-Z]x", fold=True).covers("qX")
    assert not Glob.parse("[!A]x", fold=True).covers("ax")


def test_cases_are_those_that_file_systems_fold() -> None:
    for one, other, same in (
        ("ſtop", "STOP", True),
        ("ΟΔΟΣ", "οδος", True),
        ("straße", "STRASSE", False),
        ("İ", "i", False),
    ):
        assert Glob.parse(one, fold=True).covers(other) is same
        assert Glob.parse(other, fold=True).covers(one) is same
        assert (Glob.parse(one, fold=True).common(Glob.parse(other, fold=True)) is not None) is same


@given(st.integers(0x20, 0x2FFF), st.integers(0, 600))
def test_a_folded_range_has_what_each_of_its_letters_becomes(first: int, more: int) -> None:
    found = {code for low, high in lowered(chr(first), chr(first + more)) for code in range(low, high + 1)}
    assert found == {ord(lower(chr(code))) for code in range(first, first + more + 1)}


def test_classes_of_everything_are_read_without_a_look_at_every_letter() -> None:
    looked = 0

    def count(frame: FrameType, event: str, _: object) -> None:
        nonlocal looked
        looked += event == "call" and frame.f_code is lower.__code__

    sys.setprofile(count)
    try:
        glob = Glob.parse("/".join(["x[!\u0100-\U0010ffff]*"] * 20), fold=True)
    finally:
        sys.setprofile(None)
    assert looked < 200_000, "a person can type such a pattern, and the controller waits for it"
    assert glob.covers("/".join(["xab"] * 20)) and not glob.covers("/".join(["x\u4e00"] * 20))


@pytest.mark.parametrize(
    ("text", "means"),
    [
        ("src/{a,b}/**", "braces"),
        ("v{1..3}/x", "braces"),
        ("src/a.py,src/b.py", "comma"),
        (r"src/\{a,b}/x", "comma"),
        (r"src/\{a\,b}/x", ""),
        ("{{cookiecutter.slug}}/x", ""),
        ("src/[a,b]/x", ""),
    ],
)
def test_what_would_be_granted_and_protect_nothing_is_noticed(text: str, means: str) -> None:
    assert means in unmeant(text) and bool(unmeant(text)) is bool(means)


def test_a_path_is_taken_by_its_letters() -> None:
    assert Glob.path("app/[id]/*.tsx").covers("app/[id]/*.tsx")
    assert not Glob.path("app/[id]/*.tsx").covers("app/i/x.tsx")


@pytest.mark.parametrize(
    "text", ["", " ", "/etc", "../x", "a//b", "a/./b", "a**", "[a", "a\\", "[b-a]", "a\x00", "x" * (LONGEST + 1)]
)
def test_what_is_no_pattern_is_refused(text: str) -> None:
    with pytest.raises(Misused):
        Glob.parse(text)


def test_patterns_that_could_take_long_are_refused() -> None:
    first, second = "*a" * 120, "*b" * 120
    assert Glob.parse(first + "*").common(Glob.parse(second + "*")) is not None
    assert Glob.parse(first).common(Glob.parse(second)) is None
    deep = "/".join(["**", "a"] * MOST_DEEP)
    assert Glob.parse(deep).common(Glob.parse("/".join(["**", "b"] * MOST_DEEP) + "/a")) is not None
    for hostile in (f"{deep}/**", "*a" * LONGEST_NAME):
        with pytest.raises(Misused):
            Glob.parse(hostile)
