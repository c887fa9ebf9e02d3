"""What a person types after ``/schedule``: when, in which zone, and what is to be done.

``every weekday 02:00 Europe/Berlin run …``, ``every 15 min …``, ``0 9 * * mon-fri ask …``, ``in 30 min …``,
``tomorrow 7:00 …``, ``2026-12-01 08:00 …``. What cannot be read is named, with an example.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from datetime import date, datetime, time, timedelta
from enum import Enum
from typing import Final
from zoneinfo import ZoneInfo

from bot.schedules import cron
from bot.schedules.meant import advice, no_time, plain
from bot.schedules.names import is_every, weekday, weekdays
from fleet.errors import Misused
from fleet.schedule.model import Job, Overlap
from fleet.schedule.spec import HOUR_US, MINUTE_US, WEEKDAYS, WEEKEND, Calendar, Every, Once, Spec, Weekday
from fleet.schedule.times import instant, local_time, next_after
from fleet.zones import known_zone, nearest_zone, zone_of_city

EXAMPLE: Final = "every weekday 02:00 Europe/Berlin run WORDS"
_LONGEST_US: Final = 366 * 24 * HOUR_US
_FIRST_YEAR, _LAST_YEAR = 1970, 2199
_UNITS_US: Final = {
    **dict.fromkeys(("s", "sec", "secs", "second", "seconds"), 1_000_000),
    **dict.fromkeys(("m", "min", "mins", "minute", "minutes"), MINUTE_US),
    **dict.fromkeys(("h", "hr", "hrs", "hour", "hours"), HOUR_US),
    **dict.fromkeys(("d", "day", "days"), 24 * HOUR_US),
    **dict.fromkeys(("w", "week", "weeks"), 7 * 24 * HOUR_US),
}
_SPAN = re.compile(r"(\d{1,5})([a-z]*)")
_SPAN_JOINT = re.compile(r"(\d[a-z]+)(?=\d)", re.IGNORECASE)
_TIME = re.compile(r"(\d{1,2})(?:[:.](\d{2})(?::00)?)?(am|pm)?")
_DATE = re.compile(r"(\d{4})[-/](\d{1,2})[-/](\d{1,2})(?:t(\d{1,2}:\d{2})(?::00)?)?")
_DAYS: Final = {
    "day": (),
    "days": (),
    "weekday": WEEKDAYS,
    "weekdays": WEEKDAYS,
    "weekend": WEEKEND,
    "weekends": WEEKEND,
}
_ALONE: Final = {"daily": "day", "weekdays": "weekday", "weekends": "weekend", "hourly": "hour"}
_BEGIN_DAYS: Final = frozenset((*_ALONE, "every", "each", "today", "tomorrow", "on", "next"))
_SPOKEN_TIMES: Final = {"noon": time(12), "midnight": time(0)}
_TOKEN = re.compile(r"\S+")
_IN_HOURS: Final = "An interval has minutes or hours. For days write every day, every monday, or cron: 0 9 1 * *."


class Need(Enum):
    """What the words leave open."""

    NOTHING = "nothing"
    WHEN = "when"
    TIME = "time"  # the days are named, the time of day is not


@dataclass(frozen=True, slots=True)
class ScheduleRequest:
    """A schedule as it was asked for. ``head`` is what was typed of when; ``zone`` is empty where none was named.

    ``overlap`` and ``job`` are ``None`` where nothing says so; ``words`` is what follows it, letter for letter.
    ``yes``: a person has confirmed a very short interval.
    """

    spec: Spec | None
    need: Need
    head: str
    zone: str
    overlap: Overlap | None
    job: Job | None
    words: str
    yes: bool = False


def read(text: str, now_us: int, usual: str) -> ScheduleRequest:
    """Reads it; ``usual`` is the zone where none is named. Raises ``Misused`` that names what is not understood."""
    head, job, words = _split(text)
    cursor = _Cursor(plain(head).split())
    yes = cursor.take("yes")
    zone, overlap = _options(cursor)
    parts = _Parts(cursor, now_us, ZoneInfo(zone or usual))
    when = parts.read()
    if cursor.left:
        raise not_understood(cursor.left[0], advice(cursor.left, when))
    if when is not None and next_after(when, parts.zone, now_us) is None:
        raise Misused(
            attempted="make a schedule",
            on=" ".join(parts.typed),
            cause="that time never comes, or is over",
            hint=f"It is {parts.now:%a %H:%M} in {parts.zone.key}." if isinstance(when, Once) else "",
        )
    need = Need.NOTHING if when is not None else Need.TIME if parts.typed else Need.WHEN
    return ScheduleRequest(when, need, " ".join(parts.typed), zone, overlap, job, words, yes)


def not_understood(word: str, hint: str = "") -> Misused:
    """The error for a word that means nothing here."""
    return Misused(
        attempted="read the schedule",
        cause=f"“{word[:40]}” is not understood",
        hint=f"{hint} Example: /schedule {EXAMPLE}".strip(),
    )


def time_of_day(word: str) -> time | None:
    """``9:00``, ``9.30``, ``7pm``, ``noon``; ``None`` for anything else, a bare number included."""
    if word in _SPOKEN_TIMES:
        return _SPOKEN_TIMES[word]
    found = _TIME.fullmatch(word)
    if found is None or not (found.group(2) or found.group(3)):
        return None
    return _clock(word, int(found.group(1)), int(found.group(2) or 0), found.group(3) or "")


def _clock(word: str, hour: int, minute: int, half: str) -> time:
    if minute > 59 or hour > (12 if half else 23) or (half and not hour):
        raise not_understood(word, "It is no time of day.")
    return time(hour % 12 + (12 if half == "pm" else 0) if half else hour, minute)


def _split(text: str) -> tuple[str, Job | None, str]:
    """Everything before the job, the job, and everything after it."""
    for found in _TOKEN.finditer(text):
        word = found.group().lower().lstrip("/／!").rstrip(":,")
        if word in set(Job) and word != Job.DIGEST:
            return text[: found.start()], Job(word), text[found.end() :].strip()
    return text, None, ""


def _options(cursor: _Cursor) -> tuple[str, Overlap | None]:
    """Takes the zone and the policy for overlaps out, wherever they stand."""
    zone, rest = "", list[str]()
    overlap: Overlap | None = None
    for raw in cursor.left:
        word = raw.strip("(),;") or raw
        folded = word.lower().removeprefix("overlap=")
        if folded in set(Overlap):
            overlap = Overlap(folded)
        elif known := (known_zone(word) if "/" in word or word.lower() in ("utc", "gmt") else ""):
            zone = known
            if rest[-1:] in (["in"], ["In"]):
                rest.pop()
        elif re.fullmatch(r"[A-Za-z_]+/[A-Za-z_/+-]+\d*", word) and not cron.looks_so(word):
            near = zone_of_city(f"{word}_{''.join(cursor.left[len(rest) + 1 :][:1])}") or nearest_zone(word)
            raise not_understood(
                word, f"It is no time zone. Did you mean {near}?" if near else "It is no time zone."
            )
        else:
            rest.append(word)
    cursor.left = rest
    return zone, overlap


def _days_first(words: list[str]) -> list[str]:
    """``at 9:00 every day`` as ``every day at 9:00``; other words as they are."""
    size = 1 if words[:1] and words[0].lower() == "at" else 0
    while size < len(words):
        word, half = words[size].lower().strip(",;"), "".join(words[size + 1 : size + 2]).lower()
        spoken = word in _SPOKEN_TIMES or word in ("and", "&")
        if not spoken and not (_TIME.fullmatch(word) and (not word.isdigit() or half in ("am", "pm") or size == 1)):
            break
        size += 2 if half in ("am", "pm") and not spoken else 1
    rest = [word.lower().strip(",;") for word in words[size : size + 1]]
    named = any(word in _BEGIN_DAYS or weekdays(word) or _DATE.fullmatch(word) for word in rest)
    return [*words[size:], *words[:size]] if size and named else words


class _Cursor:
    """Words that are read from the front."""

    def __init__(self, words: list[str]) -> None:
        self.left = words

    def peek(self) -> str:
        return self.left[0].lower().strip(",;") if self.left else ""

    def next(self) -> str:
        return self.left.pop(0).lower().strip(",;") if self.left else ""

    def take(self, *words: str) -> bool:
        """Takes the next word when it is one of these."""
        if self.peek() in words:
            self.left.pop(0)
            return True
        return False


def _only(times: list[time]) -> time:
    """The time of what happens once."""
    if len(times) > 1:
        raise Misused(
            attempted="read the schedule",
            cause="what runs once has one time",
            hint="Make one schedule for each time, or write every day.",
        )
    return times[0]


class _Parts:
    """Reads the words that say when. ``typed``: those that were read."""

    def __init__(self, cursor: _Cursor, now_us: int, zone: ZoneInfo) -> None:
        self.cursor, self.now_us, self.zone = cursor, now_us, zone
        self.now = local_time(now_us, zone).replace(tzinfo=None)
        self.typed: list[str] = []

    def read(self) -> Spec | None:
        self.cursor.left = before = _days_first(self.cursor.left)
        before = list(before)
        found = self._when()
        self.typed = before[: len(before) - len(self.cursor.left)]
        return found

    def _when(self) -> Spec | None:
        cursor = self.cursor
        first = cursor.peek()
        if not first:
            return None
        if cron.begins(first) and len(cursor.left) > 1 and cron.looks_so(cursor.left[1]):
            size = 5 + (len(cursor.left) > 5 and cron.begins(cursor.left[5]))
            fields, cursor.left = cursor.left[:size], cursor.left[size:]
            return cron.read(fields)
        if cursor.take("every", "each"):
            return self._every()
        if first in _ALONE:
            cursor.left[0] = _ALONE[first]
            return self._every()
        if cursor.take("in"):
            return Once(self.now_us + self._spans())
        after_today = cursor.take("next")
        if cursor.take("on") and cursor.peek() in _ALONE:
            cursor.left[0] = _ALONE[cursor.peek()]
            return self._every()
        if is_every(cursor.peek()):
            return self._every()
        return self._once(after_today=after_today)

    # --- again and again --------------------------------------------------------------------------------

    def _every(self) -> Spec | None:
        word = self.cursor.peek()
        if _SPAN.match(word) or word in ("minute", "hour", "half"):
            return self._interval()
        days = self._days()
        times = self._times()
        if times is None:
            return None
        minutes = {at.minute for at in times}
        if len(minutes) > 1:
            raise Misused(
                attempted="read the schedule",
                cause="times of one schedule must have the same minutes",
                hint="Make one schedule for each, or write cron: 0,30 9 * * *.",
            )
        return Calendar(tuple(minutes), tuple(sorted({at.hour for at in times})), weekdays=days)

    def _interval(self) -> Every:
        period = self._spans("every 15 min", alone=True)
        if period < MINUTE_US or period > _LONGEST_US:
            raise Misused(
                attempted="read the schedule", cause="an interval is a minute at least, and a year at most"
            )
        midnight = instant(datetime.combine(self.now.date(), time()), self.zone)
        return Every(period, midnight)

    def _days(self) -> tuple[Weekday, ...]:
        word = self.cursor.next()
        found = _DAYS[word] if word in _DAYS else weekdays(word)
        if found == ():
            return found
        if found is None:
            raise not_understood(
                word or "every", "Write every day, weekday, monday,thursday, hour or 15 min, or cron: 0 9 1 * *."
            )
        while self.cursor.take("and", "&") or weekdays(self.cursor.peek()) is not None:
            more = weekdays(word := self.cursor.next())
            if more is None:
                raise not_understood(word, "It is no day of the week.")
            found = (*found, *more)
        return tuple(sorted(set(found)))

    # --- once -------------------------------------------------------------------------------------------

    def _once(self, *, after_today: bool = False) -> Spec | None:
        cursor, word = self.cursor, self.cursor.peek()
        if dated := _DATE.fullmatch(word):
            cursor.next()
            return self._dated(word, dated)
        if word in ("today", "tomorrow"):
            cursor.next()
            return self._at(self.now.date() + timedelta(days=word == "tomorrow"))
        if (day := weekday(word)) is not None:
            cursor.next()
            ahead = (day - self.now.isoweekday()) % 7 or 7 * after_today
            found = self._at(self.now.date() + timedelta(days=ahead))
            late = found is not None and found.at_us <= self.now_us
            return self._again(found, timedelta(days=7)) if late and found else found
        times = self._times(required=True)
        assert times
        found = Once(instant(datetime.combine(self.now.date(), _only(times)), self.zone))
        return self._again(found, timedelta(days=1)) if found.at_us <= self.now_us else found

    def _dated(self, word: str, dated: re.Match[str]) -> Once | None:
        try:
            day = date(*(int(dated.group(part)) for part in (1, 2, 3)))
        except ValueError:
            raise not_understood(word, "It is no date.") from None
        if not _FIRST_YEAR <= day.year <= _LAST_YEAR:
            raise not_understood(word, f"It is no date from {_FIRST_YEAR} to {_LAST_YEAR}.")
        if dated.group(4):
            self.cursor.left.insert(0, dated.group(4))
        return self._at(day)

    def _at(self, day: date) -> Once | None:
        times = self._times()
        if times is None:
            return None
        return Once(instant(datetime.combine(day, _only(times)), self.zone))

    def _again(self, found: Once, later: timedelta) -> Once:
        here = local_time(found.at_us, self.zone).replace(tzinfo=None)
        return Once(instant(here + later, self.zone))

    # --- times and spans --------------------------------------------------------------------------------

    def _times(self, *, required: bool = False) -> list[time] | None:
        """Times of day that come next; ``None`` when no word is left."""
        cursor = self.cursor
        at = cursor.take("at")
        if not cursor.left:
            if at or required:
                raise not_understood("at", "Write a time, such as 9:00.")
            return None
        words, bare = cursor.next(), at or not required
        found = [self._time(word, bare=bare) for word in words.split(",") if word]
        if not found:
            raise not_understood(words, "Write a time, such as 9:00.")
        while (more := cursor.take("and", "&")) or _TIME.fullmatch(cursor.peek()):
            bare = (cursor.take("at") or bare) and more
            found.append(self._time(cursor.next(), bare=bare))
        return found

    def _time(self, word: str, *, bare: bool) -> time:
        if (half := self.cursor.peek()) in ("am", "pm") and word.replace(":", "").isdigit():
            self.cursor.next()
            word += half
        found = time_of_day(word)
        if found is None and bare and word.isdigit() and len(word) <= 2:
            found = _clock(word, int(word), 0, "")
        if found is None:
            raise not_understood(word, no_time(word, self.cursor.peek()))
        return found

    def _spans(self, example: str = "in 30 min", *, alone: bool = False) -> int:
        """``30 min``, ``1 hour 30 min``, ``1h30m``, ``half an hour``; ``alone`` as in :meth:`_span`."""
        cursor = self.cursor
        half = cursor.take("half")
        if cursor.left:
            cursor.left[:1] = _SPAN_JOINT.sub(r"\1 ", cursor.left[0]).split()
        span = self._span(example, alone=alone) // (2 if half else 1)
        while cursor.take("and") or _SPAN.fullmatch(cursor.peek()):
            span += _UNITS_US["min"] * 30 if self._half_hour() else self._span(example)
        if span > _LONGEST_US:
            raise not_understood(example, "It is too long.")
        return span

    def _half_hour(self) -> bool:
        """Takes ``a half``."""
        found = [word.lower() for word in self.cursor.left[:2]] == ["a", "half"]
        self.cursor.left = self.cursor.left[2:] if found else self.cursor.left
        return found

    def _span(self, example: str, *, alone: bool = False) -> int:
        """``30 min``, ``2h``, ``an hour``; where ``alone``, a unit without a number is one of it."""
        cursor, word = self.cursor, self.cursor.next()
        if word in ("a", "an") or (alone and word in ("minute", "hour")):
            unit = word if alone and word in _UNITS_US else cursor.next()
            number = 1
        elif (found := _SPAN.fullmatch(word)) is not None:
            number, unit = int(found.group(1)), found.group(2) or cursor.next()
        else:
            raise not_understood(word or example.split(maxsplit=1)[0], f"Write {example}.")
        if alone and (unit in ("st", "nd", "rd", "th") or _UNITS_US.get(unit, 0) > HOUR_US):
            raise not_understood(f"{number} {unit}" if unit in _UNITS_US else word, _IN_HOURS)
        if unit not in _UNITS_US:
            raise not_understood(f"{word} {unit}".strip(), f"Write {example}.")
        span = number * _UNITS_US[unit]
        if not 0 < span <= _LONGEST_US:
            raise not_understood(word, "It is too short or too long.")
        return span
