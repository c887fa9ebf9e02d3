"""Slack's rate limits, kept before Slack refuses: a budget for each key, and the waits that Slack asked for."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass


@dataclass(slots=True)
class _Budget:
    left: float
    at: float


class RateLimiter:
    """``burst`` calls at once for a key, then ``per_second``. Keys are channels, methods, or both."""

    def __init__(self, burst: float, per_second: float, now: Callable[[], float] = time.monotonic) -> None:
        self._burst, self._rate, self._now = burst, per_second, now
        self._budgets: dict[str, _Budget] = {}
        self._closed: dict[str, float] = {}

    def ask(self, key: str) -> float:
        """0 when the call may be made now (it is then counted), else how many seconds to wait."""
        now = self._now()
        if (closed := self._closed.get(key, 0.0) - now) > 0:
            return closed
        budget = self._budgets.setdefault(key, _Budget(self._burst, now))
        budget.left = min(self._burst, budget.left + (now - budget.at) * self._rate)
        budget.at = now
        if budget.left < 1:
            return (1 - budget.left) / self._rate
        budget.left -= 1
        return 0.0

    def close(self, key: str, seconds: float) -> None:
        """Slack asked to send nothing for this key for so many seconds."""
        self._closed[key] = max(self._closed.get(key, 0.0), self._now() + seconds)
