"""A long text in several messages: nothing lost, nothing too long, no fence left open."""

from __future__ import annotations

import re
from collections.abc import Callable

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from bot.telling.longtext import SMALLEST, split, utf16

FENCE = re.compile(r" {0,3}(`{3,}|~{3,})")

prose = st.text(alphabet=st.sampled_from("ab c.\n\n😀é\u0301"), max_size=300)
code = st.builds(
    lambda info, body: f"\n```{info}\n{body}\n```\n",
    st.sampled_from(["", "python", "sh"]),
    st.text(alphabet=st.sampled_from("xy =\n"), max_size=300),
)
documents = st.lists(st.one_of(prose, code), max_size=8).map("".join)


def fences(piece: str) -> int:
    return sum(1 for line in piece.split("\n") if FENCE.match(line))


def words(text: str) -> str:
    """What is left without white space and fence lines, which a split may drop or repeat."""
    kept = (line for line in text.split("\n") if not FENCE.match(line))
    return "".join("".join(kept).split())


@given(documents, st.integers(SMALLEST, 400), st.sampled_from([len, utf16]))
@example("```\n" + "x" * 500 + "\n```", SMALLEST, len)
@example("a" * 60 + "\n```python\ncode\n```", SMALLEST, len)
def test_every_piece_fits_is_whole_and_nothing_is_lost(
    text: str, limit: int, measure: Callable[[str], int]
) -> None:
    pieces = split(text, limit, measure)
    for piece in pieces:
        assert measure(piece) <= limit
        assert piece.strip()
        assert fences(piece) % 2 == 0, "a fence is closed where it was opened"
    assert words("\n".join(pieces)) == words(text)
    if measure(text) <= limit and text.strip() and fences(text) % 2 == 0:
        assert len(pieces) == 1


@given(st.text(max_size=2_000), st.integers(SMALLEST, 500))
def test_any_text_at_all_gives_pieces_that_fit(text: str, limit: int) -> None:
    pieces = split(text, limit, utf16)
    assert all(utf16(piece) <= limit and piece.strip() for piece in pieces)
    assert bool(pieces) == bool(text.strip())


def test_it_prefers_a_blank_line_then_a_line_then_a_word() -> None:
    paragraphs = f"{'one ' * 12}\n\n{'two ' * 12}".strip()
    assert split(paragraphs, 80) == [("one " * 12).strip(), ("two " * 12).strip()]
    lines = "\n".join(f"line {number} with some words" for number in range(6))
    assert all(piece.startswith("line") and piece.endswith("words") for piece in split(lines, 80))
    assert all(not piece.startswith(" ") and piece.endswith("word") for piece in split("word " * 60, 80))


def test_code_goes_on_as_code_of_the_same_language() -> None:
    first, *others = split("```python\n" + "\n".join(f"line{n} = {n}" for n in range(40)) + "\n```\nafter", 120)
    assert first.startswith("```python\nline0")
    assert all(piece.startswith("```python\n") for piece in others[:-1])
    assert others[-1].endswith("after")


def test_no_piece_ends_with_an_empty_box() -> None:
    pieces = split("w" * 50 + "\n```\n" + "x" * 60 + "\n```", SMALLEST)
    assert pieces[0] == "w" * 50


def test_a_sign_of_several_characters_is_not_parted() -> None:
    family = "👨\u200d👩\u200d👧"
    for piece in split(family * 40, 70):
        assert len(piece) % len(family) == 0


def test_a_limit_without_room_is_a_bug() -> None:
    with pytest.raises(ValueError, match="too small"):
        split("x", 10)


def test_a_very_long_text_is_quick_enough_to_send() -> None:
    text = ("A line of a log that goes on. " * 3 + "\n") * 1_200
    assert sum(len(piece) for piece in split(text, 4_096, utf16)) > 100_000
