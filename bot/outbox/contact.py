"""Whether a chat's platform answers, as its adapter and the deliverer notice."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable
from enum import StrEnum

from fleet.errors import AirbossError


class Way(StrEnum):
    """What of a platform may fail by itself. Each is tried again until it works, so an old failure never stays."""

    RECEIVE = "receive"
    SEND = "send"


class Contact:
    """Since when a platform does not answer, and why. ``now``: seconds that only grow."""

    def __init__(self, now: Callable[[], float] = time.monotonic) -> None:
        self._now = now
        self._lost: dict[Way, tuple[float, str]] = {}
        self._ended = asyncio.Event()
        self._why_ended: AirbossError | None = None

    def lost(self, way: Way, why: str) -> None:
        """It did not answer; the first of several failures counts."""
        since, _ = self._lost.get(way, (self._now(), ""))
        self._lost[way] = since, why

    def found(self, way: Way) -> None:
        """It answered."""
        self._lost.pop(way, None)

    @property
    def away_seconds(self) -> float:
        """For how long it has not answered; 0 while it does."""
        return self._now() - min(since for since, _ in self._lost.values()) if self._lost else 0.0

    @property
    def why(self) -> str:
        """What was said last; empty while it answers."""
        return next((why for _, why in self._lost.values()), "")

    def ends(self, error: AirbossError) -> None:
        """It is impossible to go on: a token that is not accepted any more, a second program that polls."""
        self._why_ended = self._why_ended or error
        self._ended.set()

    async def running(self) -> None:
        """Never returns. Raises what makes it impossible to go on."""
        await self._ended.wait()
        assert self._why_ended is not None
        raise self._why_ended
