"""Next times of schedules, against a slow oracle that looks at every minute, and around changes of the clocks."""

from __future__ import annotations

import os
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from itertools import pairwise
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from fleet.schedule.spec import HOUR_US, MINUTE_US, Calendar, Every, Once, Spec, Weekday, dump, load
from fleet.schedule.times import due_between, instant, local_time, next_after, upcoming

BERLIN = ZoneInfo("Europe/Berlin")
DAY_US = 24 * HOUR_US

#: A zone, and a day on which its clocks change: forward, back, by half an hour, at midnight, by a whole day, never.
CHANGES = (
    ("Europe/Berlin", "2026-03-29"),
    ("Europe/Berlin", "2026-10-25"),
    ("America/New_York", "2026-03-08"),
    ("America/New_York", "2026-11-01"),
    ("Australia/Lord_Howe", "2026-04-05"),
    ("Australia/Lord_Howe", "2026-10-04"),
    ("America/Sao_Paulo", "2018-11-04"),
    ("America/Sao_Paulo", "2018-02-18"),
    ("Pacific/Apia", "2011-12-30"),
    ("Africa/Casablanca", "2026-02-15"),
    ("Asia/Kathmandu", "2026-06-01"),
    ("UTC", "2026-12-31"),
)


def at(text: str, zone: ZoneInfo = BERLIN) -> int:
    return instant(datetime.fromisoformat(text), zone)


def shown(us: int, zone: ZoneInfo = BERLIN) -> str:
    return local_time(us, zone).strftime("%a %Y-%m-%d %H:%M %z")


def local_minutes(zone: ZoneInfo, from_us: int, upto_us: int) -> Iterator[tuple[int, datetime]]:
    """Each minute of elapsed time, with each local minute that it stands for: a gap's all stand at its end."""
    previous = local_time(from_us - MINUTE_US, zone)
    for us in range(from_us, upto_us, MINUTE_US):
        here = local_time(us, zone)
        wall = previous.replace(tzinfo=None) + timedelta(minutes=1)
        while wall < here.replace(tzinfo=None):
            yield us, wall
            wall += timedelta(minutes=1)
        if not here.fold:
            yield us, here.replace(tzinfo=None)
        previous = here


def oracle(spec: Calendar, zone: ZoneInfo, from_us: int, upto_us: int) -> list[int]:
    """Every due time in a range, by looking at each minute of it."""
    found: list[int] = []
    if not spec.hours:
        for us in range(from_us, upto_us, MINUTE_US):
            here = local_time(us, zone)
            if (not spec.minutes or here.minute in spec.minutes) and on_day(spec, here):
                found.append(us)
        return found
    for us, wall in local_minutes(zone, from_us, upto_us):
        fits = wall.hour in spec.hours and (not spec.minutes or wall.minute in spec.minutes)
        if fits and on_day(spec, wall) and us not in found[-1:]:
            found.append(us)
    return found


def on_day(spec: Calendar, wall: datetime) -> bool:
    named = [
        *([wall.day in spec.days] if spec.days else []),
        *([Weekday(wall.isoweekday()) in spec.weekdays] if spec.weekdays else []),
    ]
    chosen = (all(named) if spec.both else any(named)) if named else True
    return chosen and (not spec.months or wall.month in spec.months)


def some(low: int, high: int, most: int) -> st.SearchStrategy[tuple[int, ...]]:
    return st.lists(st.integers(low, high), unique=True, max_size=most).map(lambda found: tuple(sorted(found)))


calendars = st.builds(
    Calendar,
    minutes=some(0, 59, 3),
    hours=some(0, 23, 4) | st.just((0, 1, 2, 3)),
    days=some(1, 31, 4),
    months=st.just(()) | some(1, 12, 8),
    weekdays=st.lists(st.sampled_from(Weekday), unique=True, max_size=4).map(tuple),
    both=st.booleans(),
)
intervals = st.builds(Every, st.integers(MINUTE_US, DAY_US), st.integers(0, 2**50))


@settings(max_examples=1_000 if os.environ.get("AIRBOSS_CAMPAIGN") == "full" else 20, deadline=None)
@given(spec=calendars, change=st.sampled_from(CHANGES), offset=st.integers(0, 599))
def test_a_calendar_is_due_when_the_oracle_says_so(spec: Calendar, change: tuple[str, str], offset: int) -> None:
    zone = ZoneInfo(change[0])
    middle = instant(datetime.fromisoformat(change[1]), zone) // MINUTE_US * MINUTE_US
    start, end = middle - (600 - offset) * MINUTE_US, middle + 40 * HOUR_US
    expected = oracle(spec, zone, start, end)
    found: list[int] = []
    due = next_after(spec, zone, start - 1)
    while due is not None and due < end:
        found.append(due)
        due = next_after(spec, zone, due)
    assert found == expected
    assert due_between(spec, zone, start - 1, end - 1, 10_000) == len(expected)


@given(
    spec=calendars | intervals | st.builds(Once, st.integers(0, 2**52)),
    after=st.integers(0, 2**51),
    zone=st.sampled_from([name for name, _ in CHANGES]).map(ZoneInfo),
)
@settings(max_examples=50, deadline=None)
def test_what_comes_next_is_later_and_nothing_is_between(spec: Spec, after: int, zone: ZoneInfo) -> None:
    due = next_after(spec, zone, after)
    if due is not None:
        assert due > after
        assert next_after(spec, zone, due - 1) == due
        assert next_after(spec, zone, (after + due) // 2) == due
    assert load(dump(spec)) == spec


def test_a_time_in_the_gap_is_due_at_its_end_once() -> None:
    found = [shown(us) for us in upcoming(Calendar((0, 30), (2,)), BERLIN, at("2026-03-28T12:00"), 3)]
    assert found == ["Sun 2026-03-29 03:00 +0200", "Mon 2026-03-30 02:00 +0200", "Mon 2026-03-30 02:30 +0200"]


def test_a_time_that_comes_twice_is_due_at_the_first() -> None:
    found = [shown(us) for us in upcoming(Calendar((30,), (2,)), BERLIN, at("2026-10-24T12:00"), 2)]
    assert found == ["Sun 2026-10-25 02:30 +0200", "Mon 2026-10-26 02:30 +0100"]


def test_every_hour_is_elapsed_time_when_clocks_change() -> None:
    for spec in (Every(HOUR_US, at("2026-10-24T00:00")), Calendar((0,))):
        found = upcoming(spec, BERLIN, at("2026-10-25T00:30"), 6)
        assert [later - before for before, later in pairwise(found)] == [HOUR_US] * 5


def test_a_day_that_a_zone_left_out_is_due_at_the_next_one() -> None:
    apia = ZoneInfo("Pacific/Apia")
    found = upcoming(Calendar((0,), (9,), (30,)), apia, at("2011-12-01T00:00", apia), 1)
    assert shown(found[0], apia) == "Sat 2011-12-31 00:00 +1400"


def test_29_february_over_a_century_without_one() -> None:
    utc = ZoneInfo("UTC")
    found = next_after(Calendar((0,), (0,), (29,), (2,)), utc, at("2096-03-01T00:00", utc))
    assert found is not None
    assert shown(found, utc).startswith("Fri 2104-02-29")


def test_what_never_comes() -> None:
    assert next_after(Calendar((0,), (0,), (30,), (2,)), BERLIN, 0) is None
    assert next_after(Calendar((0,), (), (31,), (4,)), BERLIN, 0) is None
    assert next_after(Once(5), BERLIN, 5) is None


def test_counting_stops_where_it_is_told_to() -> None:
    minute = Every(MINUTE_US, 0)
    assert due_between(minute, BERLIN, 0, 60 * MINUTE_US, 1_000) == 60
    assert due_between(Calendar(), BERLIN, 0, 365 * DAY_US, 100) == 100
    assert due_between(minute, BERLIN, 60 * MINUTE_US, 0, 100) == 0


@pytest.mark.parametrize("zone", sorted({name for name, _ in CHANGES}))
def test_an_instant_is_its_local_time_where_that_exists(zone: str) -> None:
    here = ZoneInfo(zone)
    for hours in range(0, 24 * 400, 7):
        moment = datetime(2026, 1, 1, tzinfo=UTC) + timedelta(hours=hours)
        wall = moment.astimezone(here)
        if not wall.fold:
            assert instant(wall.replace(tzinfo=None), here) == int(moment.timestamp()) * 1_000_000
