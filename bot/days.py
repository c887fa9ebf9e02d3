"""Whole days that a person names: the first and the last, both included, in a time zone."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import date
from zoneinfo import ZoneInfo

from fleet.errors import Misused
from fleet.events.codec import LIMIT
from fleet.range_figures import Period
from fleet.zones import known_zone

_FIRST_YEAR = 1900

HINT = "Write --from 2026-11-01 --to 2026-11-30, and --tz Europe/Berlin for other days than UTC's."


@dataclass(frozen=True, slots=True)
class Days:
    """The days ``first`` to ``last`` as ISO dates."""

    first: str
    last: str
    zone: ZoneInfo
    period: Period

    def to_json(self) -> dict[str, str]:
        """For scripts."""
        return {"from": self.first, "to": self.last, "tz": self.zone.key}


def days_of(first: str, last: str, zone: str, *, hint: str = HINT) -> Days:
    """Reads the days. Raises ``Misused`` for what is no date or no zone, and for days in the wrong order."""
    if missing := " and ".join(name for name, text in (("--from", first), ("--to", last)) if not text.strip()):
        raise Misused(attempted="read the days", cause=f"{missing} is missing", hint=hint)
    name = known_zone(zone)
    if not name:
        raise Misused(attempted="read the days", on=zone, cause="there is no such time zone", hint=hint)
    try:
        ends = [date.fromisoformat(text.strip()) for text in (first, last)]
        known = ZoneInfo(name)
        period = Period.of(ends[0], ends[1], known)
    except (ValueError, OverflowError) as error:
        cause = str(error) or "a date or the zone is wrong"
        raise Misused(attempted="read the days", cause=cause, hint=hint) from error
    if ends[0] > ends[1]:
        raise Misused(attempted="read the days", cause=f"{last} is before {first}")
    if period.upto_us > LIMIT or ends[0].year < _FIRST_YEAR:
        raise Misused(attempted="read the days", cause="no event can be so early, or so late", hint=hint)
    return Days(ends[0].isoformat(), ends[1].isoformat(), known, period)
