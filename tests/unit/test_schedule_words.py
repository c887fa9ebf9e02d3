"""What people type after /schedule: understood, or refused with the word that was not understood."""

from __future__ import annotations

import contextlib
from datetime import datetime
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bot.schedules import cron
from bot.schedules.words import Need, read
from fleet.errors import Misused
from fleet.schedule.model import Job, Overlap
from fleet.schedule.spec import Calendar, Weekday
from fleet.schedule.times import instant, local_time, upcoming
from fleet.zones import wrong_zone

UTC = ZoneInfo("UTC")
NOW = instant(datetime.fromisoformat("2026-11-28T18:30"), UTC)  # a Saturday


def times(text: str, count: int = 2) -> list[str]:
    request = read(text, NOW, "UTC")
    assert request.spec is not None
    zone = ZoneInfo(request.zone or "UTC")
    found = upcoming(request.spec, zone, NOW, count)
    return [local_time(us, zone).strftime("%a %d %b %H:%M %Z") for us in found]


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("every weekday 02:00 Europe/Berlin run x", ["Mon 30 Nov 02:00 CET", "Tue 01 Dec 02:00 CET"]),
        ("every weekday at 7 pm europe/berlin run x", ["Mon 30 Nov 19:00 CET", "Tue 01 Dec 19:00 CET"]),
        ("every hour run x", ["Sat 28 Nov 19:00 UTC", "Sat 28 Nov 20:00 UTC"]),
        ("hourly run x", ["Sat 28 Nov 19:00 UTC", "Sat 28 Nov 20:00 UTC"]),
        ("every minute run x", ["Sat 28 Nov 18:31 UTC", "Sat 28 Nov 18:32 UTC"]),
        ("every 15 min run x", ["Sat 28 Nov 18:45 UTC", "Sat 28 Nov 19:00 UTC"]),
        ("every 2h run x", ["Sat 28 Nov 20:00 UTC", "Sat 28 Nov 22:00 UTC"]),
        ("every monday,thursday 9:00 run x", ["Mon 30 Nov 09:00 UTC", "Thu 03 Dec 09:00 UTC"]),
        ("every Mon and Thu 9am run x", ["Mon 30 Nov 09:00 UTC", "Thu 03 Dec 09:00 UTC"]),
        ("every fri-mon 9:00 run x", ["Sun 29 Nov 09:00 UTC", "Mon 30 Nov 09:00 UTC"]),
        ("every day 9:00,17:00 run x", ["Sun 29 Nov 09:00 UTC", "Sun 29 Nov 17:00 UTC"]),
        ("daily noon run x", ["Sun 29 Nov 12:00 UTC", "Mon 30 Nov 12:00 UTC"]),
        ("every weekend 10:00 run x", ["Sun 29 Nov 10:00 UTC", "Sat 05 Dec 10:00 UTC"]),
        ("0 9 * * mon-fri ask x", ["Mon 30 Nov 09:00 UTC", "Tue 01 Dec 09:00 UTC"]),
        ("0 9 * * 1 ask x", ["Mon 30 Nov 09:00 UTC", "Mon 07 Dec 09:00 UTC"]),
        ("0 9 * * 0 ask x", ["Sun 29 Nov 09:00 UTC", "Sun 06 Dec 09:00 UTC"]),
        ("0 9 * * 7 ask x", ["Sun 29 Nov 09:00 UTC", "Sun 06 Dec 09:00 UTC"]),
        ("0 9 * * 1-5 ask x", ["Mon 30 Nov 09:00 UTC", "Tue 01 Dec 09:00 UTC"]),
        ("0 9 * * 5-7 ask x", ["Sun 29 Nov 09:00 UTC", "Fri 04 Dec 09:00 UTC"]),
        ("*/20 8-9 1,15 * * ask x", ["Tue 01 Dec 08:00 UTC", "Tue 01 Dec 08:20 UTC"]),
        ("0 0 13 * fri ask x", ["Fri 04 Dec 00:00 UTC", "Fri 11 Dec 00:00 UTC", "Sun 13 Dec 00:00 UTC"]),
        ("in 30 min run x", ["Sat 28 Nov 19:00 UTC"]),
        ("in an hour run x", ["Sat 28 Nov 19:30 UTC"]),
        ("in 2 days run x", ["Mon 30 Nov 18:30 UTC"]),
        ("tomorrow 7:00 run x", ["Sun 29 Nov 07:00 UTC"]),
        ("today 19:00 run x", ["Sat 28 Nov 19:00 UTC"]),
        ("saturday 9:00 run x", ["Sat 05 Dec 09:00 UTC"]),
        ("on monday at 9 run x", ["Mon 30 Nov 09:00 UTC"]),
        ("9:00 run x", ["Sun 29 Nov 09:00 UTC"]),
        ("9 am run x", ["Sun 29 Nov 09:00 UTC"]),
        ("2026-12-01 08:00 run x", ["Tue 01 Dec 08:00 UTC"]),
        ("2026-12-01T08:00 run x", ["Tue 01 Dec 08:00 UTC"]),
        ("at 9:00 tomorrow run x", ["Sun 29 Nov 09:00 UTC"]),
        ("7 pm every weekday run x", ["Mon 30 Nov 19:00 UTC"]),
        ("9:00 and 17:00 on mondays run x", ["Mon 30 Nov 09:00 UTC", "Mon 30 Nov 17:00 UTC"]),
        ("noon 2026-12-01 run x", ["Tue 01 Dec 12:00 UTC"]),
        ("9:00 on weekdays run x", ["Mon 30 Nov 09:00 UTC", "Tue 01 Dec 09:00 UTC"]),
        ("mondays 9:00 run x", ["Mon 30 Nov 09:00 UTC", "Mon 07 Dec 09:00 UTC"]),
        ("mon - fri 9:00 run x", ["Mon 30 Nov 09:00 UTC", "Tue 01 Dec 09:00 UTC"]),
        ("every mon to fri 9 run x", ["Mon 30 Nov 09:00 UTC", "Tue 01 Dec 09:00 UTC"]),
        ("next saturday 20:00 run x", ["Sat 05 Dec 20:00 UTC"]),
        ("next monday 9:00 run x", ["Mon 30 Nov 09:00 UTC"]),
        ("in 1 hour 30 min run x", ["Sat 28 Nov 20:00 UTC"]),
        ("in 1h30m run x", ["Sat 28 Nov 20:00 UTC"]),
        ("in half an hour run x", ["Sat 28 Nov 19:00 UTC"]),
        ("in 2 days and 1 hour run x", ["Mon 30 Nov 19:30 UTC"]),
        ("every day 9:00 (Europe / Berlin) then run x", ["Sun 29 Nov 09:00 CET"]),
        ("every day 9:00 in Europe/Berlin, please run: x", ["Sun 29 Nov 09:00 CET"]),
        ("tomorrow 9 p.m. run x", ["Sun 29 Nov 21:00 UTC"]),
        ("@daily 9:00 run x", ["Sun 29 Nov 09:00 UTC"]),
        ("@hourly run x", ["Sat 28 Nov 19:00 UTC"]),
        ("every day @ 9 run x", ["Sun 29 Nov 09:00 UTC"]),
        ("every day ９：00 run x", ["Sun 29 Nov 09:00 UTC"]),
        ("every half hour run x", ["Sat 28 Nov 19:00 UTC", "Sat 28 Nov 19:30 UTC"]),
        ("every 1h30m run x", ["Sat 28 Nov 19:30 UTC", "Sat 28 Nov 21:00 UTC"]),
        ("in an hour and a half run x", ["Sat 28 Nov 20:00 UTC"]),
        ("every day 9:00, 17:00 run x", ["Sun 29 Nov 09:00 UTC", "Sun 29 Nov 17:00 UTC"]),
        ("every day at 9 and at 17 run x", ["Sun 29 Nov 09:00 UTC", "Sun 29 Nov 17:00 UTC"]),
        ("every weekend and monday 9:00 run x", ["Sun 29 Nov 09:00 UTC", "Mon 30 Nov 09:00 UTC"]),
        ("2026/12/01 08:00:00 run x", ["Tue 01 Dec 08:00 UTC"]),
        ("once at 9:00. run x", ["Sun 29 Nov 09:00 UTC"]),
        ("every day 9:00: run x", ["Sun 29 Nov 09:00 UTC"]),
        ("every day 9:00 — run x", ["Sun 29 Nov 09:00 UTC"]),
        ("`0 9 * * mon` run x", ["Mon 30 Nov 09:00 UTC"]),
        ("0 9 1 1 mon ask x", ["Fri 01 Jan 09:00 UTC", "Mon 04 Jan 09:00 UTC"]),
    ],
)  # fmt: skip
def test_what_is_understood(text: str, expected: list[str]) -> None:
    assert times(text, len(expected)) == expected


@pytest.mark.parametrize(
    ("text", "word"),
    [
        ("every fortnight run x", "fortnight"),
        ("every day 25:00 run x", "25:00"),
        ("every day 9:61 run x", "9:61"),
        ("every day 0 am run x", "0am"),
        ("every day 9:00 Europe/Berlim run x", "Did you mean Europe/Berlin"),
        ("every day 9:00 fix the tests", "fix"),
        ("2026-13-01 8:00 run x", "2026-13-01"),
        ("0 9 * * run x", "five fields"),
        ("61 9 * * * run x", "61"),
        ("0 9 * * 8 run x", "8"),
        ("0 9 * foo * run x", "foo"),
        ("0 9 5-2 * * run x", "5 comes after 2"),
        ("*/0 9 * * * run x", "*/0"),
        ("every 2 days run x", "2 days"),
        ("every 0 min run x", "0"),
        ("every day at run x", "at"),
        ("every day 9:00,17:30 run x", "same minutes"),
        ("soon run x", "soon"),
        ("in a while run x", "a while"),
        ("now run x", "now"),
        ("every 2nd tuesday 9:00 run x", "“2nd”"),
        ("every day 9:00 Berlin run x", "Did you mean Europe/Berlin"),
        ("every day 9:00 CET run x", "A time zone is written Europe/Berlin"),
        ("every day 9:00 UTC+2 run x", "A time zone is written Europe/Berlin"),
        ("0 9 * * * * run x", "not 6"),
        ("in 300 days 300 days run x", "too long"),
        ("9:00 25:00 every day run x", "25:00"),
        ("24 dec 18:00 run x", "2026-12-24"),
        ("1.12.2026 8:00 run x", "2026-12-24"),
        ("12/24 18:00 run x", "2026-12-24"),
        ("9 o'clock run x", "Write 9:00"),
        ("tonight run x", "Write today 22:00"),
        ("monthly 9:00 run x", "0 9 1 * *"),
        ("@midnight run x", "“@midnight”"),
        ("every 15 min on weekdays run x", "*/15 9-17 * * mon-fri"),
        ("9:00 New York run x", "Did you mean America/New_York"),
        ("9:00 America/New York run x", "Did you mean America/New_York"),
        ("every day 9:00 update docs and run x", "Write run or ask right before"),
    ],
)
def test_what_is_not_understood_is_named_with_an_example(text: str, word: str) -> None:
    with pytest.raises(Misused) as refused:
        read(text, NOW, "UTC")
    assert word in str(refused.value)
    assert (
        "/schedule every" in refused.value.hint
        or "0 9 * * mon-fri" in refused.value.hint
        or "30 9" in refused.value.hint
    )


@pytest.mark.parametrize("text", ["2020-01-01 8:00 run x", "today 7:00 run x", "0 0 30 2 * run x"])
def test_a_time_that_is_over_or_never_comes_is_refused(text: str) -> None:
    with pytest.raises(Misused, match="never comes, or is over"):
        read(text, NOW, "UTC")


def test_what_is_over_says_what_time_it_is_and_once_has_one_time() -> None:
    with pytest.raises(Misused) as over:
        read("today 18:00 run x", NOW, "Europe/Berlin")
    assert over.value.hint == "It is Sat 19:30 in Europe/Berlin."
    for text in ("tomorrow 9:00 and 17:00 run x", "9:00, 17:00 run x", "2026-12-01 9:00 and 10:00 run x"):
        with pytest.raises(Misused, match="one time"):
            read(text, NOW, "UTC")


def test_the_words_are_kept_letter_for_letter() -> None:
    request = read("every day 9:00 queue /Run fix  it\nand run — “that”", NOW, "UTC")
    assert request.words == "fix  it\nand run — “that”"
    assert (request.job, request.overlap, request.need) == (Job.RUN, Overlap.QUEUE, Need.NOTHING)


def test_a_keyboard_with_its_own_mind_is_understood() -> None:
    assert times("Every Mon–Fri, 9:00 run x", 1) == ["Mon 30 Nov 09:00 UTC"]


@pytest.mark.parametrize(
    ("text", "need", "head"),
    [
        ("", Need.WHEN, ""),
        ("run x", Need.WHEN, ""),
        ("every weekday run x", Need.TIME, "every weekday"),
        ("tomorrow ask x", Need.TIME, "tomorrow"),
        ("Europe/Berlin run x", Need.WHEN, ""),
        ("daily run x", Need.TIME, "daily"),
    ],
)
def test_what_is_left_open_is_asked_for(text: str, need: Need, head: str) -> None:
    request = read(text, NOW, "UTC")
    assert (request.spec, request.need, request.head) == (None, need, head)


def test_midnight_of_the_persons_zone_begins_an_interval() -> None:
    request = read("every 90 min run x", NOW, "Asia/Kathmandu")
    assert request.spec is not None
    zone = ZoneInfo("Asia/Kathmandu")
    assert local_time(upcoming(request.spec, zone, NOW, 1)[0], zone).strftime("%H:%M") == "01:30"


@pytest.mark.parametrize("number", range(8))
def test_crons_weekday_numbers_are_the_names(number: int) -> None:
    name = ("sun", "mon", "tue", "wed", "thu", "fri", "sat", "sun")[number]
    assert cron.read(["0", "9", "*", "*", str(number)]) == cron.read(["0", "9", "*", "*", name])
    assert cron.read(["0", "9", "*", "*", name]).weekdays == (Weekday(number or 7),)


def test_all_values_are_any_value() -> None:
    assert cron.read(["0-59", "0-23", "1-31", "1-12", "0-6"]) == cron.read(["*"] * 5) == Calendar()


@given(st.text(max_size=60))
def test_reading_anything_never_fails_otherwise(text: str) -> None:
    with contextlib.suppress(Misused):
        read(text, NOW, "Europe/Berlin")


_WORDS = st.sampled_from(
    [
        "every",
        "in",
        "at",
        "on",
        "next",
        "and",
        "9",
        "9:00",
        "25:99",
        "am",
        "pm",
        "*",
        "*/5",
        "0",
        "1-5",
        "mon",
        "monday,thu",
        "day",
        "weekday",
        "min",
        "hour",
        "30",
        "tomorrow",
        "today",
        "2026-12-01",
        "2026-02-30",
        "2026-12-01T9:00",
        "Europe/Berlin",
        "queue",
        "skip",
        "yes",
        "run",
        "ask",
        "daily",
        "noon",
        "99999",
        "0/0",
        "-",
        ",",
        "é",
    ]
)


@given(st.lists(_WORDS, max_size=8).map(" ".join))
def test_reading_any_of_its_own_words_never_fails_otherwise(text: str) -> None:
    with contextlib.suppress(Misused):
        read(text, NOW, "Europe/Berlin")


@pytest.mark.parametrize(
    ("told", "said"), [("Europe/Berln", "perhaps Europe/Berlin is meant"), ("Europe/Berlin", "")]
)
def test_a_wrong_zone_of_the_controller_is_said(monkeypatch: pytest.MonkeyPatch, told: str, said: str) -> None:
    monkeypatch.setenv("TZ", told)
    assert said in wrong_zone() and bool(said) == bool(wrong_zone())
