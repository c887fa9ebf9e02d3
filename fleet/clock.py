"""The real clock behind the ``Clock`` port."""

from __future__ import annotations

import asyncio
import os
import time
from pathlib import Path


class SystemClock:
    """This machine's wall clock, and sleeping on the event loop."""

    def now_us(self) -> int:
        """Microseconds since the epoch."""
        return time.time_ns() // 1_000

    async def sleep(self, seconds: float) -> None:
        """Waits without blocking the loop."""
        await asyncio.sleep(seconds)


class MovedClock(SystemClock):
    """The wall clock as a test moves it: by the seconds that a file says now, while the controller runs."""

    def __init__(self, file: Path) -> None:
        self._file = file

    def now_us(self) -> int:
        """Microseconds since the epoch, moved."""
        return super().now_us() + int(self._file.read_text()) * 1_000_000


def wall_clock() -> SystemClock:
    """The clock of schedules: the machine's own, unless ``AIRBOSS_CLOCK`` names a file that moves it."""
    file = os.environ.get("AIRBOSS_CLOCK")
    return MovedClock(Path(file)) if file else SystemClock()
