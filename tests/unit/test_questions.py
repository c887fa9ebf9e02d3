"""What a person's words mean as the answer to an agent's questions."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fleet.questions import Option, Question, answers, from_json, meant, to_json

COLOUR = Question("Which colour?", (Option("red"), Option("blue")))
SIZES = Question("Which sizes?", (Option("small"), Option("medium"), Option("3")), many=True)
WHY = Question("Why?")


@pytest.mark.parametrize(
    ("questions", "said", "each"),
    [
        ((COLOUR,), " 2 ", ("blue",)),
        ((COLOUR,), "3", ("3",)),
        ((COLOUR,), "0", ("0",)),
        ((COLOUR,), "1 2", ("1 2",)),
        ((COLOUR,), "green, like moss\nor red", ("green, like moss\nor red",)),
        ((SIZES,), "1, 2", ("small, medium",)),
        ((SIZES,), "2 2 9", ("2 2 9",)),
        ((WHY,), "1", ("1",)),
        ((COLOUR, SIZES), "2\n1,3", ("blue", "small, 3")),
        ((COLOUR, SIZES), "2, 1", ("blue", "small")),
        ((COLOUR, SIZES), "1\n\n as large as can be ", ("red", "as large as can be")),
        ((COLOUR, SIZES), "you choose", ("you choose", "you choose")),
        ((COLOUR, SIZES), "1 2 3", ("1 2 3", "1 2 3")),
    ],
)
def test_numbers_mean_options_and_lines_mean_questions(
    questions: tuple[Question, ...], said: str, each: tuple[str, ...]
) -> None:
    assert answers(len(questions), meant(questions, said)) == each


def test_a_label_that_is_a_number_is_not_taken_for_one_again() -> None:
    backwards = Question("How many?", (Option("2"), Option("1")))
    assert answers(2, meant((backwards, backwards), "1\n2")) == ("2", "1")


@given(st.text(), st.integers(1, 4))
def test_any_words_are_an_answer_to_each(said: str, count: int) -> None:
    assert len(answers(count, meant((COLOUR,) * count, said))) == count


def test_questions_come_back_from_the_store_as_they_were() -> None:
    assert from_json(to_json((COLOUR, SIZES, WHY))) == (COLOUR, SIZES, WHY)
    assert from_json(to_json(())) == ()
