"""How many messages a person may send."""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Callable

from fleet.model import PersonId
from gates.people import CONSOLE

RateLimit = Callable[[PersonId], bool]
"""Whether this person may get an answer now; called once for each message."""


def unlimited(person: PersonId) -> bool:
    """No limit."""
    return True


def except_console(limit: RateLimit) -> RateLimit:
    """A limit for everybody but the owner of the console, which only that person can open."""
    return lambda person: person.platform == CONSOLE or limit(person)


class PerPerson:
    """At most ``limit`` messages in ``seconds`` from one person; messages over the limit are not counted."""

    def __init__(self, limit: int = 30, seconds: float = 60.0, now: Callable[[], float] = time.monotonic) -> None:
        self._limit, self._seconds, self._now = limit, seconds, now
        self._times: dict[PersonId, deque[float]] = {}

    def __call__(self, person: PersonId) -> bool:
        now = self._now()
        times = self._times.setdefault(person, deque())
        while times and times[0] <= now - self._seconds:
            times.popleft()
        if len(times) >= self._limit:
            return False
        times.append(now)
        if len(self._times) > 10_000:
            self._times = {
                who: when for who, when in self._times.items() if when and when[-1] > now - self._seconds
            }
        return True
