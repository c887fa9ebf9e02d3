"""The documented rates: 1 message a second in a chat, 20 a minute in a group, 30 a second overall; edits count."""

from __future__ import annotations

import math
from collections import deque
from dataclasses import dataclass, field

from tests.far_end import bot_api_refusals as refusals


@dataclass(frozen=True)
class Rates:
    """How many requests that show something are served; 0: no limit."""

    chat_per_second: int = 1
    group_per_minute: int = 20
    overall_per_second: int = 30


UNLIMITED = Rates(0, 0, 0)


@dataclass
class Meter:
    """Counts what was served. ``forced``: chats that get 429 whatever they did, and until when."""

    rates: Rates
    forced: dict[int, float] = field(default_factory=dict)
    _windows: dict[tuple[str, int], deque[float]] = field(default_factory=dict)

    def take(self, chat: int, now: float, *, group: bool) -> None:
        """Serves one request at ``now`` seconds, or raises the 429 that Telegram answers with."""
        if (until := self.forced.get(chat, 0)) > now:
            raise refusals.too_many_requests(math.ceil(until - now))
        windows = [
            (self._window("chat", chat), self.rates.chat_per_second, 1.0),
            (self._window("all", 0), self.rates.overall_per_second, 1.0),
        ]
        if group:
            windows.append((self._window("group", chat), self.rates.group_per_minute, 60.0))
        wait = max((_wait(times, most, seconds, now) for times, most, seconds in windows), default=0.0)
        if wait > 0:
            raise refusals.too_many_requests(max(1, math.ceil(wait)))
        for times, _, _ in windows:
            times.append(now)

    def _window(self, kind: str, chat: int) -> deque[float]:
        return self._windows.setdefault((kind, chat), deque())


def _wait(times: deque[float], most: int, seconds: float, now: float) -> float:
    while times and times[0] <= now - seconds:
        times.popleft()
    return times[0] + seconds - now if most and len(times) >= most else 0.0
