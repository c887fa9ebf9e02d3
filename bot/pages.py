"""Pages of long lists: a card fits a phone's screen, and buttons lead to every row."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

from bot.cards import Action
from bot.parse import words

ROWS: Final = 10
"""Rows of a page: with the title, and a row or two that wrap, the twelve lines of a phone."""


@dataclass(frozen=True, slots=True)
class Page:
    """Rows ``first`` (from 0) up to ``upto`` of ``total``; ``number`` counts from 1."""

    number: int
    first: int
    upto: int
    total: int

    @classmethod
    def of(cls, wanted: int, total: int, rows: int = ROWS) -> Page:
        """The page of that number; the first or the last page if there is no such page."""
        number = min(max(1, wanted), max(1, -(-total // rows)))
        return cls(number, (number - 1) * rows, min(number * rows, total), total)

    @property
    def span(self) -> str:
        """`` · 11-20``, for the end of a title; empty if there is only one page."""
        return f" · {self.first + 1}-{self.upto}" if self.upto - self.first < self.total else ""

    def actions(self, command: str) -> tuple[Action, ...]:
        """Buttons to the previous and next pages, if there are any; a page's number is added to ``command``."""
        back = (Action("Back", f"{command}{self.number - 1}", once=False),) if self.number > 1 else ()
        more = (Action("More", f"{command}{self.number + 1}", once=False),) if self.upto < self.total else ()
        return (*back, *more)


def wanted(args: str) -> int:
    """The page that was asked for: the first number in ``args``, 1 without one."""
    return next((int(word[:9]) for word in words(args) if word.isascii() and word.isdigit()), 1)
