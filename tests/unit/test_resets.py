"""When a usage limit ends, in the words of vendors; and what is tried again without a person."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

import pytest

from fleet.agent_events import TurnOutcome
from fleet.agents.resets import resets_us
from fleet.flight.retrying import overloaded, pause_us
from fleet.model import Turn, TurnCause

NOW = datetime(2026, 11, 28, 14, 30, tzinfo=UTC)
NOW_US = int(NOW.timestamp() * 1_000_000)


def turn(outcome: TurnOutcome, error: str) -> Turn:
    values: dict[str, Any] = {
        "id": "t1.1.1",
        "session": "t1.1",
        "number": 1,
        "cause": TurnCause.REQUEST,
        "prompt": "",
    }
    values |= {"claim": "", "snapshot": "", "tree": "", "started_us": 0}
    return Turn(**values, ended_us=NOW_US, outcome=outcome, error=error)


@pytest.mark.parametrize(
    ("words", "at"),
    [
        ("You've hit your session limit · resets 5:10pm (Europe/Paris)", "2026-11-28T16:10"),
        ("You've hit your session limit · resets 3am (America/New_York)", "2026-11-29T08:00"),
        ("5-hour limit reached ∙ resets 2pm (UTC)", "2026-11-29T14:00"),
        ("You've hit your weekly limit · resets Dec 2, 5pm (Europe/Paris)", "2026-12-02T16:00"),
        ("weekly limit · resets Jan 2 at 9:30am (UTC)", "2027-01-02T09:30"),
        ("Claude AI usage limit reached|1795888800", "2026-11-28T18:00"),
        ("limit reached · resets at 1795888800", "2026-11-28T18:00"),
        ("You've hit your usage limit. Upgrade to Pro or try again in 2 hours 3 minutes.", "2026-11-28T16:33"),
        ("usage limit, try again in 1d 4h 5m", "2026-11-29T18:35"),
        ("rate limited, please retry after 90s", "2026-11-28T14:31"),
        ("session limit, try again in 3s", "2026-11-28T14:30:03"),
        ("limit; resets at 2026-11-28T20:15:00Z", "2026-11-28T20:15"),
        ("limit reached, resets 2:25pm (UTC)", "2026-11-28T14:31"),  # just over: soon, not tomorrow
        ("limit; resets at 2026-11-28T14:29:59Z", "2026-11-28T14:31"),
        ("limit reached, resets 2:15pm (UTC)", "2026-11-29T14:15"),
        ("limit; try again at 2026-11-28T20:15:00+01:00", "2026-11-28T19:15"),
    ],
)
def test_the_reset_hour_is_read(words: str, at: str) -> None:
    found = datetime.fromtimestamp(resets_us(words, NOW_US) / 1_000_000, UTC)
    assert found.isoformat().startswith(at)


@pytest.mark.parametrize(
    "words",
    ["You've hit your session limit", "529 Overloaded", "resets 99:99pm", "resets Feb 31, 5pm", "",
     "resets" + " " * 1_000_000 + "x",
     "try again later", "resets at 9999999999", "resets at 1000000000", "retry after a coffee", "resets 5"],
)  # fmt: skip
def test_without_an_hour_there_is_none(words: str) -> None:
    assert resets_us(words, NOW_US) == 0


@pytest.mark.parametrize(
    ("outcome", "words", "again"),
    [
        (TurnOutcome.OVERLOADED, "529", True),
        (TurnOutcome.LIMITED, "429 Too Many Requests", True),
        (TurnOutcome.LIMITED, "API Error: Request rejected (429) · rate limit", True),
        (TurnOutcome.LIMITED, "API Error: Request rejected (429)", True),
        (TurnOutcome.LIMITED, "Number of requests has exceeded your rate limit", True),
        (TurnOutcome.LIMITED, "Number of tokens has exceeded your per-minute rate limit", True),
        (TurnOutcome.LIMITED, "Number of tokens has exceeded your daily rate limit", False),
        (TurnOutcome.LIMITED, "You've hit your session limit", False),
        (TurnOutcome.LIMITED, "rate limit · resets 5:10pm (UTC)", False),
        (TurnOutcome.LIMITED, "Credit balance is too low", False),
        (TurnOutcome.FAILED, "rate limit", False),
        (TurnOutcome.NOT_LOGGED_IN, "401", False),
    ],
)
def test_what_passes_soon_is_tried_again(outcome: TurnOutcome, words: str, again: bool) -> None:
    assert overloaded(turn(outcome, words)) is again


def test_pauses_grow_and_end_at_five_minutes() -> None:
    pauses = [pause_us(turn(TurnOutcome.OVERLOADED, ""), tries) / 1_000_000 for tries in range(1, 9)]
    assert pauses == sorted(pauses)
    assert 2 <= pauses[0] < 2.5
    assert 300 <= pauses[-1] < 375
