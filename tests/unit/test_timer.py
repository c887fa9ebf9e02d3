"""Alarms ring when their time has come, when somebody rings them, and after the timer was started again."""

from __future__ import annotations

import asyncio
import os
import subprocess
import sys
from collections.abc import AsyncIterator

import pytest

from fleet.clock import SystemClock
from fleet.schedule.timer import Timer
from fleet.supervise import Supervisor

CLOCK = SystemClock()
SOON_US, FAR_US = 20_000, 10_000 * 366 * 86_400_000_000


@pytest.fixture
async def timer() -> AsyncIterator[Timer]:
    supervisor = Supervisor(CLOCK)
    made = Timer(CLOCK)
    component = supervisor.run("timer", made.run)
    await asyncio.sleep(0)
    await component.end()
    supervisor.run("timer", made.run)  # its second life
    async with asyncio.timeout(60):
        yield made
    await supervisor.close()


async def test_an_alarm_rings_at_its_time_and_not_before(timer: Timer) -> None:
    alarm, due = timer.alarm("one"), CLOCK.now_us() + SOON_US
    alarm.set(due)
    await alarm.rung()
    assert CLOCK.now_us() >= due


async def test_a_time_that_is_over_rings_at_once_and_a_far_one_can_be_replaced(timer: Timer) -> None:
    alarm, other = timer.alarm("one"), timer.alarm("other")
    other.set(FAR_US)
    alarm.set(FAR_US)
    alarm.set(1)
    await alarm.rung()
    other.ring()
    await other.rung()
    alarm.set(None)


async def test_an_alarm_that_is_set_before_the_timer_runs_rings() -> None:
    supervisor, timer = Supervisor(CLOCK), Timer(CLOCK)
    alarm = timer.alarm("early")
    alarm.set(1)
    supervisor.run("timer", timer.run)
    async with asyncio.timeout(60):
        await alarm.rung()
    await supervisor.close()


async def test_its_clock_sleeps_by_the_wall_clock(timer: Timer) -> None:
    clock = timer.clock("nap")
    before = clock.now_us()
    await clock.sleep(SOON_US / 1_000_000)
    assert clock.now_us() >= before + SOON_US


_SET_ONE = """
import asyncio
import os
import subprocess
import sys
from fleet.clock import SystemClock
from fleet.schedule.timer import Timer

async def main():
    Timer(SystemClock()).alarm("one").set(0)

asyncio.run(main())
"""


def test_an_alarm_needs_no_zone_of_the_environment() -> None:
    """``TZ`` may be a rule, or nonsense; times of the wall clock are in nobody's zone."""
    environment = {**os.environ, "TZ": "CET-1CEST,M3.5.0,M10.5.0/3"}
    ran = subprocess.run([sys.executable, "-c", _SET_ONE], env=environment, capture_output=True, check=False)
    assert ran.returncode == 0, ran.stderr
