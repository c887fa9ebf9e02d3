"""When a provider's usage limit ends, from its own words. The same words at the same time give the same hour."""

from __future__ import annotations

import re
from datetime import UTC, datetime, timedelta, tzinfo
from typing import Final
from zoneinfo import ZoneInfo

from fleet.agent_events import TurnOutcome
from fleet.model import Turn

_LENGTH: Final = 10_000
_GAP: Final = re.compile(r"\s+")
"""In long white space the patterns below would look for minutes; an agent writes these words."""
_WHEN: Final = r"(?:resets?|try\s+again|available\s+again|retry)\s*(?:at|on|after)?\s*:?\s*"
_CLOCK: Final = re.compile(
    _WHEN
    + r"(?:(?P<month>[A-Z][a-z]{2})[a-z]*\.?\s+(?P<day>\d{1,2})(?:st|nd|rd|th)?(?:,?\s+\d{4})?,?\s*(?:at\s+)?)?"
    r"(?P<hour>\d{1,2})(?::(?P<minute>\d\d))?\s*(?P<half>[ap]\.?m\b)?[^(\n]{0,3}(?:\((?P<zone>[\w/+-]{2,40})\))?",
    re.IGNORECASE,
)
_EPOCH: Final = re.compile(r"(?:\||" + _WHEN + r")(\d{10})\b", re.IGNORECASE)
_ISO: Final = re.compile(
    _WHEN + r"(\d{4}-\d\d-\d\dT\d\d:\d\d(?::\d\d)?(?:\.\d+)?(?:Z|[+-]\d\d:\d\d))", re.IGNORECASE
)
_SPAN: Final = re.compile(
    r"(?:resets?|try\s+again|retry)\s+(?:in|after)\s+((?:\d+(?:\.\d+)?\s*[a-z]+[,\s]*(?:and\s+)?)+)", re.IGNORECASE
)
_PART: Final = re.compile(r"(\d+(?:\.\d+)?)\s*([a-z]+)", re.IGNORECASE)
_SECONDS: Final = {"s": 1, "m": 60, "h": 3_600, "d": 86_400, "w": 604_800}
_MONTHS: Final = ("jan", "feb", "mar", "apr", "may", "jun", "jul", "aug", "sep", "oct", "nov", "dec")
_LONGEST: Final = timedelta(days=40)
_JUST_NOW: Final = timedelta(minutes=10)
"""An hour that is over by less was named just before it came; it is not tomorrow's."""
_AGAIN: Final = timedelta(minutes=1)
"""So long after such an hour nobody asks again: the vendor's clock is not ours."""


def resets_us(words: str, now_us: int) -> int:
    """The reset time that ``words``, said at ``now_us``, name; epoch microseconds, 0 when they name none."""
    now = datetime.fromtimestamp(now_us / 1_000_000, UTC)
    words = _GAP.sub(lambda gap: "\n" if "\n" in gap.group() else " ", words[:_LENGTH])
    try:
        found = _absolute(words) or _span(words, now) or _clock(words, now)
    except (ValueError, OverflowError):
        return 0
    if found is None or not now - _JUST_NOW <= found <= now + _LONGEST:
        return 0
    return int((found if found > now else now + _AGAIN).timestamp() * 1_000_000)


def limit_ends_us(turn: Turn) -> int:
    """When the usage limit ends that stopped this turn, epoch microseconds; 0 where none did, or nobody said."""
    return resets_us(turn.error, turn.ended_us) if turn.outcome is TurnOutcome.LIMITED else 0


def clock_of(us: int, zone: tzinfo = UTC) -> str:
    """A time of the next days, for people."""
    return f"{datetime.fromtimestamp(us / 1_000_000, zone):%b %d, %H:%M %Z}"


def _absolute(words: str) -> datetime | None:
    if epoch := _EPOCH.search(words):
        return datetime.fromtimestamp(int(epoch[1]), UTC)
    if iso := _ISO.search(words):
        return datetime.fromisoformat(iso[1].upper().replace("Z", "+00:00")).astimezone(UTC)
    return None


def _span(words: str, now: datetime) -> datetime | None:
    span = _SPAN.search(words)
    if span is None:
        return None
    parts = [(float(number), _SECONDS.get(unit[0].lower(), 0)) for number, unit in _PART.findall(span[1])]
    seconds = sum(number * unit for number, unit in parts)
    return now + timedelta(seconds=seconds) if seconds else None


def _clock(words: str, now: datetime) -> datetime | None:
    clock = _CLOCK.search(words)
    if clock is None or not (clock["minute"] or clock["half"]):
        return None
    here = now.astimezone(_zone(clock["zone"]))
    hour = int(clock["hour"])
    if clock["half"]:
        hour = hour % 12 + (12 if clock["half"][0].lower() == "p" else 0)
    at = here.replace(hour=hour, minute=int(clock["minute"] or 0), second=0, microsecond=0)
    if clock["month"]:
        at = at.replace(month=_MONTHS.index(clock["month"].lower()) + 1, day=int(clock["day"]))
        at = at if at >= here - _JUST_NOW else at.replace(year=at.year + 1)
    elif at < here - _JUST_NOW:
        at += timedelta(days=1)
    return at.astimezone(UTC)


def _zone(name: str | None) -> tzinfo | None:
    """The zone of this name; ``None``, which is this machine's own, for a missing or unknown one."""
    try:
        return ZoneInfo(name) if name else None
    except (KeyError, ValueError, OSError):
        return None
