"""Questions from an agent to a person, and how the store keeps them."""

from __future__ import annotations

import json
import re
from collections.abc import Sequence
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Option:
    """One answer that the agent offers. Both texts are the agent's."""

    label: str
    description: str = ""


@dataclass(frozen=True, slots=True)
class Question:
    """``many``: more than one option may be chosen. A person may also answer in other words."""

    text: str
    options: tuple[Option, ...] = ()
    many: bool = False


def to_json(questions: Sequence[Question]) -> str:
    """The stored form; empty for no questions."""
    if not questions:
        return ""
    plain = [
        [question.text, [[each.label, each.description] for each in question.options], question.many]
        for question in questions
    ]
    return json.dumps(plain, ensure_ascii=True, separators=(",", ":"))


def from_json(text: str) -> tuple[Question, ...]:
    """The inverse of :func:`to_json`."""
    if not text:
        return ()
    return tuple(
        Question(words, tuple(Option(*option) for option in options), many)
        for words, options, many in json.loads(text)
    )


def meant(questions: Sequence[Question], said: str) -> str:
    """A person's reply as the answer to store: numbers become the labels of their options.

    Several questions are answered with one line each or one number each; other text stays as it is.
    """
    lines = [line.strip() for line in said.splitlines() if line.strip()]
    if len(questions) > 1 and len(lines) == 1 and _NUMBERS.fullmatch(lines[0]):
        lines = _NUMBER.findall(lines[0])
    if len(questions) == 1:
        return _option(questions[0], said.strip())
    if len(lines) != len(questions):
        return said.strip()
    return "\n".join(_option(question, line) for question, line in zip(questions, lines, strict=True))


def answers(count: int, kept: str) -> tuple[str, ...]:
    """The stored answer, split into one for each of ``count`` questions: its lines, or the whole text for each."""
    lines = kept.split("\n")
    return tuple(lines) if len(lines) == count > 1 else (kept,) * count


_NUMBER = re.compile(r"\d{1,3}")
_NUMBERS = re.compile(r"\d{1,3}(?:[\s,;/]+\d{1,3})*")


def _option(question: Question, said: str) -> str:
    numbers = [int(digits) for digits in _NUMBER.findall(said)] if _NUMBERS.fullmatch(said) else []
    if not numbers or (len(numbers) > 1 and not question.many):
        return said
    if not all(0 < number <= len(question.options) for number in numbers):
        return said
    return ", ".join(question.options[number - 1].label for number in dict.fromkeys(numbers))
