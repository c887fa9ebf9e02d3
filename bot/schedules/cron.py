"""Reads the five fields of cron into a calendar. 0 and 7 are Sunday, as in cron; names are safer."""

from __future__ import annotations

import calendar
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Final, TypeVar

from bot.schedules.names import through, weekday
from fleet.errors import Misused
from fleet.schedule.spec import Calendar, Weekday

_BEGINS = re.compile(r"[\d*?][\d*?/,-]*")
_LOOKS = re.compile(r"[\d*?a-z/,-]+", re.IGNORECASE)
_MONTHS: Final = {name.lower(): number for number, name in enumerate(calendar.month_abbr) if name}
Value = TypeVar("Value", bound=int)

_HINT: Final = "minute hour day month weekday, for example: 0 9 * * mon-fri"


@dataclass(frozen=True, slots=True)
class _Field:
    """One of the five: what it is called, and the numbers and names it takes."""

    what: str
    low: int
    high: int
    names: Mapping[str, int] = field(default_factory=dict)


_FIELDS: Final = (
    _Field("minute", 0, 59),
    _Field("hour", 0, 23),
    _Field("day of the month", 1, 31),
    _Field("month", 1, 12, _MONTHS),
)
_SUNDAY_FIRST: Final = (Weekday.SUNDAY, *(day for day in Weekday))
"""By cron's number: 0 and 7 are Sunday."""


def begins(word: str) -> bool:
    """Whether a word may be the first of five fields: ``0``, ``*/15``, ``0,30``."""
    return _BEGINS.fullmatch(word) is not None and not re.fullmatch(r"\d{4}[-/].*", word)


def looks_so(word: str) -> bool:
    """Whether a word may be one of the fields, such as ``mon-fri/2``."""
    return _LOOKS.fullmatch(word) is not None and any(ch in word for ch in "0123456789*,")


def read(fields: list[str]) -> Calendar:
    """The calendar. Raises ``Misused`` that names the field that is wrong."""
    if len(fields) != len(_FIELDS) + 1:
        raise _wrong(" ".join(fields), f"cron has five fields, not {len(fields)}")
    minutes, hours, days, months = (
        _numbers(text.lower(), spec) for text, spec in zip(fields, _FIELDS, strict=False)
    )
    both = any(text.startswith(("*", "?")) and "/" in text for text in (fields[2], fields[4]))
    return Calendar(minutes, hours, days, months, _weekdays(fields[4].lower()), both)


def _numbers(text: str, spec: _Field) -> tuple[int, ...]:
    def number(word: str) -> int:
        found = spec.names.get(word, int(word) if word.isascii() and word.isdigit() else -1)
        if not spec.low <= found <= spec.high:
            raise _wrong(word, f"it is no {spec.what} ({spec.low} to {spec.high})")
        return found

    every = list(range(spec.low, spec.high + 1))

    def between(first: int, last: int) -> list[int]:
        if first > last:
            raise _wrong(text, f"{first} comes after {last}")
        return list(range(first, last + 1))

    found = _parsed(text, every, number, between)
    return () if len(found) == len(every) else tuple(sorted(found))


def _weekdays(text: str) -> tuple[Weekday, ...]:
    def day(word: str) -> Weekday:
        named = weekday(word)
        if named is not None:
            return named
        if word.isascii() and word.isdigit() and int(word) < len(_SUNDAY_FIRST):
            return _SUNDAY_FIRST[int(word)]
        raise _wrong(word, "it is no weekday (mon to sun, or 0 to 7 with 0 and 7 for Sunday)")

    found = _parsed(text, list(_SUNDAY_FIRST[:7]), day, through)
    return () if len(found) == len(Weekday) else tuple(sorted(found))


def _parsed(
    text: str, every: list[Value], one: Callable[[str], Value], between: Callable[[Value, Value], list[Value]]
) -> set[Value]:
    found: set[Value] = set()
    for part in text.split(","):
        span, slash, step = part.partition("/")
        if slash and (not (step.isascii() and step.isdigit()) or int(step) == 0):
            raise _wrong(part, "after the slash comes a step, such as */15")
        if span in ("*", "?"):
            values = every
        else:
            first, dash, last = span.partition("-")
            begin = one(first)
            values = between(begin, one(last)) if dash else between(begin, every[-1]) if slash else [begin]
        found.update(values[:: int(step) if slash else 1])
    return found


def _wrong(word: str, cause: str) -> Misused:
    return Misused(
        attempted="read the schedule", cause=f"“{word[:40]}” is not understood: {cause}", hint=f"Write {_HINT}"
    )
