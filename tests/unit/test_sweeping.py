"""How long the end of a run may take: ten seconds after a stop nothing is left, or its record says what is."""

from __future__ import annotations

import inspect

import pytest

from fleet.machines.login import LoginExecutor
from fleet.machines.runner.sweeping import GONE_SECONDS, LEAST_SECONDS, Deadline
from fleet.ports import PipeSpec

STOPPED = 100.0


def deadline(grace: float, ended: float) -> Deadline:
    """Of a run that was stopped, and whose command ended then."""
    made = Deadline()
    made.begin(STOPPED, grace)
    made.begin(STOPPED + 1, grace)  # a second stop
    made.extend(STOPPED + ended)
    return made


def test_ten_seconds_after_a_stop_it_is_over_whatever_is_left() -> None:
    grace = inspect.signature(LoginExecutor.stop).parameters["grace"].default
    assert grace * 1_000_000 == PipeSpec.__dataclass_fields__["grace_us"].default
    made = deadline(grace, grace)
    assert GONE_SECONDS == 10.0
    assert not made.passed(STOPPED + GONE_SECONDS)
    assert made.passed(STOPPED + GONE_SECONDS + 0.01)


@pytest.mark.parametrize(("now", "left"), [(5.0, 5.0), (9.0, LEAST_SECONDS), (60.0, LEAST_SECONDS)])
def test_a_login_of_the_run_is_cleared_in_what_is_left_of_it(now: float, left: float) -> None:
    assert deadline(5.0, 5.0).left(STOPPED + now) == left


@pytest.mark.parametrize(("grace", "ended", "over"), [(0.0, 8.0, 11.0), (30.0, 30.0, 33.0)])
def test_what_ends_late_still_gets_a_little_time(grace: float, ended: float, over: float) -> None:
    made = deadline(grace, ended)
    assert not made.passed(STOPPED + over)
    assert made.passed(STOPPED + over + 0.01)


def test_a_run_that_was_not_stopped_has_no_deadline() -> None:
    assert not Deadline().passed(1e9)
