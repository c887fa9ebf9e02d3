"""The clock behind schedules: alarms that ring at a time of the wall clock. APScheduler times them, rows decide.

An alarm says only that it is time to look; what is due stands in the store. So nothing is lost when an alarm rings
late, and nothing happens twice when it rings twice.
"""

from __future__ import annotations

import asyncio
import logging
from datetime import UTC, datetime, timedelta
from typing import Final

from apscheduler.executors.debug import DebugExecutor
from apscheduler.schedulers.asyncio import AsyncIOScheduler
from apscheduler.triggers.date import DateTrigger

from fleet.ports import Clock

_LOOK_SECONDS: Final = 2.0
"""How often the clock is read again: APScheduler waits by elapsed time, and a wall clock may jump meanwhile."""

_EPOCH: Final = datetime(1970, 1, 1, tzinfo=UTC)
_LATEST_US: Final = 2_000 * 366 * 86_400_000_000


class Alarm:
    """Rings when its time has come, or when somebody rings it. Made by :meth:`Timer.alarm`."""

    def __init__(self, scheduler: AsyncIOScheduler, name: str) -> None:
        self._scheduler, self._name = scheduler, name
        self._bell = asyncio.Event()
        self._at_us: int | None = None

    def set(self, at_us: int | None) -> None:
        """Rings at this time, and no longer at the one set before; ``None``: at none."""
        self._at_us = at_us
        if self._scheduler.get_job(self._name) is not None:
            self._scheduler.remove_job(self._name)
        if at_us is not None:
            when = _EPOCH + timedelta(microseconds=min(at_us, _LATEST_US))
            # The zone is named: APScheduler would look for ours, and take no TZ that is a rule, as CET-1CEST.
            trigger = DateTrigger(when, timezone=UTC)
            self._scheduler.add_job(self.ring, trigger, id=self._name, misfire_grace_time=None)

    def look(self, now_us: int) -> None:
        """Rings when its time is over."""
        if self._at_us is not None and self._at_us <= now_us:
            self._at_us = None
            self.ring()

    def ring(self) -> None:
        """Rings now. Called on the event loop."""
        self._bell.set()

    async def rung(self) -> None:
        """Waits until it rings; a ring that nobody has waited for yet is answered at once."""
        await self._bell.wait()
        self._bell.clear()


class AlarmClock:
    """The ``Clock`` port by an alarm: it sleeps until a time of the wall clock, not for a span of elapsed time."""

    def __init__(self, clock: Clock, alarm: Alarm) -> None:
        self._clock, self._alarm = clock, alarm

    def now_us(self) -> int:
        """Microseconds since the epoch."""
        return self._clock.now_us()

    async def sleep(self, seconds: float) -> None:
        """Waits; a machine that was asleep meanwhile does not wait longer for it."""
        self._alarm.set(self.now_us() + round(seconds * 1_000_000))
        await self._alarm.rung()


class Timer:
    """All alarms of a controller."""

    def __init__(self, clock: Clock) -> None:
        logging.getLogger("apscheduler").setLevel(logging.WARNING)  # it logs each job that it runs
        self._clock = clock
        self._alarms: list[Alarm] = []
        self._scheduler = AsyncIOScheduler(timezone=UTC, executors={"default": DebugExecutor()})

    def alarm(self, name: str) -> Alarm:
        """A new alarm; one may be set before the timer runs."""
        made = Alarm(self._scheduler, name)
        self._alarms.append(made)
        return made

    def clock(self, name: str) -> AlarmClock:
        """A clock for a loop that waits by the wall clock."""
        return AlarmClock(self._clock, self.alarm(name))

    async def run(self) -> None:
        """Until cancelled. Started again, it rings what was due meanwhile."""
        if self._scheduler.running:
            self._scheduler.resume()
        else:
            self._scheduler.start()
        try:
            while True:
                await self._clock.sleep(_LOOK_SECONDS)
                for alarm in self._alarms:
                    alarm.look(self._clock.now_us())
        finally:
            self._scheduler.pause()
