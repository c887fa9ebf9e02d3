"""The real clock behind the ``Clock`` port."""

from __future__ import annotations

import asyncio
import time


class SystemClock:
    """This machine's wall clock, and sleeping on the event loop."""

    def now_us(self) -> int:
        """Microseconds since the epoch."""
        return time.time_ns() // 1_000

    async def sleep(self, seconds: float) -> None:
        """Waits without blocking the loop."""
        await asyncio.sleep(seconds)
