"""The next times of a schedule: a pure function of its spec, its time zone and an instant.

A local time that does not exist (clocks go forward over it) is due at the first instant after the gap. One that
comes twice (clocks go back) is due at the first. Intervals, and calendars that name no hour, count elapsed time
instead: "every hour" neither skips nor repeats when clocks change.
"""

from __future__ import annotations

from datetime import UTC, date, datetime, time, timedelta
from itertools import product
from typing import Final
from zoneinfo import ZoneInfo

from fleet.schedule.spec import MINUTE_US, Calendar, Every, Once, Spec

_EPOCH: Final = datetime(1970, 1, 1, tzinfo=UTC)
_MICROSECOND: Final = timedelta(microseconds=1)
_DAY: Final = timedelta(days=1)
_HORIZON_DAYS: Final = 12 * 366
"""29 February may be eight years away; what does not come within twelve never comes."""


def instant(local: datetime, zone: ZoneInfo) -> int:
    """Microseconds since the epoch of a local time (without a zone of its own) in ``zone``."""
    before = local.replace(tzinfo=zone, fold=0)
    found = before.astimezone(UTC)
    if found.astimezone(zone).replace(tzinfo=None) == local:
        return _us(found)
    # In a gap, fold 0 has the offset from before it and fold 1 the one from after it: the change lies between.
    low, high = local.replace(tzinfo=zone, fold=1).astimezone(UTC), found
    offset = before.utcoffset()
    while high - low > timedelta(seconds=1):
        middle = low + (high - low) // 2
        if middle.astimezone(zone).utcoffset() == offset:
            low = middle
        else:
            high = middle
    return _us(high.replace(microsecond=0))


def local_time(us: int, zone: ZoneInfo) -> datetime:
    """An instant as the clocks of ``zone`` show it."""
    return (_EPOCH + us * _MICROSECOND).astimezone(zone)


def next_after(spec: Spec, zone: ZoneInfo, after_us: int) -> int | None:
    """The first time that ``spec`` is due later than ``after_us``; ``None``: never again."""
    match spec:
        case Once(at_us=at_us):
            return at_us if at_us > after_us else None
        case Every(period_us=period, anchor_us=anchor):
            return anchor + ((after_us - anchor) // period + 1) * period
        case Calendar():
            return _elapsed(spec, zone, after_us) if not spec.hours else _local(spec, zone, after_us)


def upcoming(spec: Spec, zone: ZoneInfo, after_us: int, count: int) -> list[int]:
    """The next ``count`` times later than ``after_us``, fewer when there are fewer."""
    found: list[int] = []
    while len(found) < count and (due := next_after(spec, zone, found[-1] if found else after_us)) is not None:
        found.append(due)
    return found


def due_between(spec: Spec, zone: ZoneInfo, after_us: int, upto_us: int, most: int) -> int:
    """How often ``spec`` is due later than ``after_us`` and not later than ``upto_us``; counts up to ``most``."""
    if isinstance(spec, Every):
        return min(
            most,
            max(0, (upto_us - spec.anchor_us) // spec.period_us - (after_us - spec.anchor_us) // spec.period_us),
        )
    count, due = 0, next_after(spec, zone, after_us)
    while count < most and due is not None and due <= upto_us:
        count, due = count + 1, next_after(spec, zone, due)
    return count


def _local(spec: Calendar, zone: ZoneInfo, after_us: int) -> int | None:
    """By the local clock. Later local times are never earlier instants, so the first one found is the next one."""
    times = [time(hour, minute) for hour, minute in product(sorted(spec.hours), sorted(spec.minutes) or range(60))]
    day = local_time(after_us, zone).date() - _DAY
    for _ in range(_HORIZON_DAYS):
        if matches(spec, day):
            for at in times:
                if (due := instant(datetime.combine(day, at), zone)) > after_us:
                    return due
        day += _DAY
    return None


def _elapsed(spec: Calendar, zone: ZoneInfo, after_us: int) -> int | None:
    """Minute by minute, over the days that match."""
    due = (after_us // MINUTE_US + 1) * MINUTE_US
    until = after_us + _HORIZON_DAYS * _DAY // _MICROSECOND
    while due < until:
        here = local_time(due, zone)
        if not matches(spec, here.date()):
            midnight = instant(datetime.combine(here.date() + _DAY, time()), zone)
            due = midnight if midnight > due else due + MINUTE_US
        elif not spec.minutes or here.minute in spec.minutes:
            return due
        else:
            due += MINUTE_US
    return None


def matches(spec: Calendar, day: date) -> bool:
    """Whether a local day is one of the calendar's."""
    if spec.months and day.month not in spec.months:
        return False
    by_month, by_week = day.day in spec.days, day.isoweekday() in spec.weekdays
    if spec.days and spec.weekdays:
        return (by_month and by_week) if spec.both else (by_month or by_week)
    return (by_month or not spec.days) and (by_week or not spec.weekdays)


def _us(at: datetime) -> int:
    return (at - _EPOCH) // _MICROSECOND
