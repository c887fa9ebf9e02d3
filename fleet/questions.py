"""What an agent wants to know from a person in the middle of its work, and the form in which the store keeps it."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Option:
    """One answer that the agent offers. Both texts are the agent's."""

    label: str
    description: str = ""


@dataclass(frozen=True, slots=True)
class Question:
    """``many``: more than one option may be chosen. Any other words are an answer too."""

    text: str
    options: tuple[Option, ...] = ()
    many: bool = False


def to_json(questions: Sequence[Question]) -> str:
    """The form the store keeps; empty for none."""
    if not questions:
        return ""
    plain = [[one.text, [[each.label, each.description] for each in one.options], one.many] for one in questions]
    return json.dumps(plain, ensure_ascii=True, separators=(",", ":"))


def from_json(text: str) -> tuple[Question, ...]:
    """The inverse of :func:`to_json`."""
    if not text:
        return ()
    return tuple(
        Question(words, tuple(Option(*option) for option in options), many)
        for words, options, many in json.loads(text)
    )


def told(answer: str) -> str:
    """How the agent reads a person's answer: as the reason why its question went no further."""
    return f"The person answers: {answer}"
