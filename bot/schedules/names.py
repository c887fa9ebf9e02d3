"""Names of weekdays, as people and cron write them. Never numbers: libraries disagree on which day is 0."""

from __future__ import annotations

from fleet.schedule.spec import Weekday

_SHORTEST = 3


def weekday(word: str) -> Weekday | None:
    """``mon``, ``tues``, ``Thursday``; ``None`` for anything else."""
    folded = word.lower().rstrip(".")
    for day in Weekday:
        name = day.name.lower()
        if len(folded) >= _SHORTEST and (name.startswith(folded) or folded == f"{name}s"):
            return day
    return None


def weekdays(word: str) -> tuple[Weekday, ...] | None:
    """``mon,thu``, ``mon-fri``, ``fri-mon``; ``None`` when a part is no weekday."""
    found: list[Weekday] = []
    for part in filter(None, word.split(",")):
        first, dash, last = part.partition("-")
        begin, end = weekday(first), weekday(last if dash else first)
        if begin is None or end is None:
            return None
        found += through(begin, end)
    return tuple(found) or None


def is_every(word: str) -> bool:
    """Whether a word for days means each of them, without ``every``: ``mondays``, ``mon-fri``, ``sat,sun``."""
    found = weekdays(word) or ()
    return len(found) > 1 or any(word.lower() == f"{day.name.lower()}s" for day in found)


def through(first: Weekday, last: Weekday) -> list[Weekday]:
    """All days from one to the other, over the end of the week where need be."""
    return [Weekday((first - 1 + step) % 7 + 1) for step in range((last - first) % 7 + 1)]
