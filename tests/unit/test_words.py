"""How times are said: short enough for a phone, and never ambiguous."""

from __future__ import annotations

from datetime import UTC, datetime

from bot import words


def us(text: str) -> int:
    return int(datetime.fromisoformat(text).replace(tzinfo=UTC).timestamp()) * 1_000_000


def test_a_span_within_a_day_names_the_day_once() -> None:
    assert words.span(us("2026-11-22T08:05"), us("2026-11-22T17:40")) == "2026-11-22 08:05 to 17:40 UTC"


def test_a_span_over_days_names_both() -> None:
    said = words.span(us("2026-11-21T23:59"), us("2026-11-22T00:01"))
    assert said == "2026-11-21 23:59 to 2026-11-22 00:01 UTC"
