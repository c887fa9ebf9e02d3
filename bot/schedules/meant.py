"""What may have been meant by words for a time that are not understood, and how keyboards spell those that are."""

from __future__ import annotations

import calendar
import re
import unicodedata
from typing import Final

from bot.parse import tidy
from fleet.schedule.spec import Every, Spec
from fleet.zones import zone_of_city

_MONTH: Final = rf"(?:{'|'.join(filter(None, calendar.month_abbr)).lower()})[a-z]*\.?"
_DATE: Final = re.compile(
    rf"\d{{1,2}}[./]\d{{1,2}}(?:[./]\d{{0,4}})?|\d{{4}}[./-].*|\d{{1,2}}(?:st|nd|rd|th|\.)|{_MONTH}"
)
_HALF_OF_DAY: Final = re.compile(r"(?<![a-z])([ap])\.\s?m\.?(?=\W|$)", re.IGNORECASE)
_AT_SIGN: Final = re.compile(r"(?<!\S)@\s*(?=(\d)|daily|hourly|every)", re.IGNORECASE)
_BEFORE: Final = re.compile(r"^(?:cron:?|once)\s+(?=\S)", re.IGNORECASE)

_SPACED: Final = re.compile(r"(?<=[A-Za-z])\s+(?:-|to)\s+(?=[A-Za-z])|(?<=[A-Za-z])(?:\s+/\s*|/\s+)(?=[A-Za-z])")
"""``mon - fri``, ``mon to fri``, ``Europe / Berlin``."""

_TRAILING: Final = re.compile(r"(?:(?:^|\s)(?:to|then|please|and))+\s*$", re.IGNORECASE)


def plain(head: str) -> str:
    """What was typed of when, as a keyboard without a mind of its own would write it: ``9 a.m.`` is ``9 am``."""
    said = unicodedata.normalize("NFKC", tidy(head)).strip("\"'`")
    said = _HALF_OF_DAY.sub(r"\1m", _AT_SIGN.sub(lambda found: "at " if found[1] else "", said))
    return _TRAILING.sub("", _SPACED.sub(_joined, _BEFORE.sub("", said).rstrip(" .!:,;→-")))


def _joined(found: re.Match[str]) -> str:
    return "/" if "/" in found.group() else "-"


def advice(left: list[str], when: Spec | None) -> str:
    """What words that are left over may be: a zone, days of an interval, or a task without its verb."""
    word = left[0]
    if near := zone_of_city("_".join(left[:2])) or zone_of_city(word):
        return f"Did you mean {near}?"
    if re.fullmatch(r"[A-Z]{1,5}|(?:UTC|GMT)?[+-]?\d.*", word):
        return "A time zone is written Europe/Berlin."
    if isinstance(when, Every) and word.lower() in ("on", "from", "between", "at", "every"):
        return "For an interval on some days or hours write cron: */15 9-17 * * mon-fri."
    return "Write run or ask right before the task."


def no_time(word: str, following: str) -> str:
    """How to write what may have been meant by a word that is no time of day."""
    if _DATE.fullmatch(word) or (word.isdigit() and re.fullmatch(_MONTH, following)):
        return "A date is written 2026-12-24."
    if word.isdigit() and int(word) < 24:
        return f"Write {int(word)}:00."
    if word in ("tonight", "this", "morning", "afternoon", "evening", "night", "nightly"):
        return "Write today 22:00, tomorrow 7:00 or every day 2:00."
    if word in ("weekly", "monthly", "yearly", "first"):
        return "Write every monday 9:00, or for a day of each month cron: 0 9 1 * *."
    return "It is no time of day."
