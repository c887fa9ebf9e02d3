"""Pools that make no slots for a while, since one was not made."""

from __future__ import annotations

from collections.abc import Callable, Collection
from dataclasses import dataclass, field
from typing import Final

_WHY: Final = 300
PAUSES_US: Final = tuple(minutes * 60_000_000 for minutes in (1, 2, 5, 10, 30))


@dataclass(slots=True)
class _Pause:
    """``times``: how many in a row; ``until_us``: by the controller's clock."""

    times: int
    until_us: int


@dataclass(slots=True)
class Pauses:
    """``troubles`` has a line for each pool in a pause: a placement counts on none of them. ``tell`` is called when
    a task that waits may have another answer."""

    troubles: dict[str, str]
    tell: Callable[[], None]
    _pauses: dict[str, _Pause] = field(default_factory=dict)

    def begin(self, pool: str, why: str, now_us: int) -> None:
        """A slot was not made. Many that fail at once are one failure."""
        if pool not in self.troubles:
            times = self._pauses[pool].times + 1 if pool in self._pauses else 1
            self._pauses[pool] = _Pause(times, now_us + PAUSES_US[min(times, len(PAUSES_US)) - 1])
        self.troubles[pool] = f"pool {pool} makes no slots now: {why[:_WHY]}"
        self.tell()

    def end(self, now_us: int) -> None:
        """Those that are over: these pools are tried again."""
        for pool, pause in self._pauses.items():
            if now_us >= pause.until_us and self.troubles.pop(pool, ""):
                self.tell()

    def made(self, pool: str) -> None:
        """A slot was made: the next pause is a first one. One that was asked for before a pause does not end it."""
        if pool not in self.troubles:
            self._pauses.pop(pool, None)

    def forget(self, known: Collection[str]) -> None:
        """All but these pools."""
        for of in (self._pauses, self.troubles):
            for pool in of.keys() - set(known):
                del of[pool]
