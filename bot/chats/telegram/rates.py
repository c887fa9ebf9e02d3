"""Keeps Telegram's rate limits, so that it does not refuse: pings first, edits with what is left.

The Bots FAQ allows one message a second in a chat (short bursts pass), twenty a minute in a group and thirty a
second overall; edits count. A refusal closes only the chat that it named.
"""

from __future__ import annotations

import time
from collections import OrderedDict
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Final

#: Shares of a bucket that edits, and messages that do not ping, leave free.
_KEPT_FROM_EDITS: Final = 0.5
_KEPT_FOR_PINGS: Final = 0.15
_REMEMBERED: Final = 5_000


@dataclass(frozen=True, slots=True)
class Pace:
    """Messages a second, and how many may come at once after a pause."""

    per_second: float
    burst: int


CHAT: Final = Pace(1.0, 4)
GROUP: Final = Pace(20 / 60, 18)
OVERALL: Final = Pace(28.0, 28)


@dataclass(slots=True)
class _Bucket:
    pace: Pace
    left: float
    at: float

    def wait(self, now: float, keep: float) -> float:
        """Seconds until one more may be sent with the share ``keep`` of the room left."""
        self.left = min(float(self.pace.burst), self.left + (now - self.at) * self.pace.per_second)
        self.at = now
        needed = min(float(self.pace.burst), 1 + keep * self.pace.burst)
        return max(0.0, (needed - self.left) / self.pace.per_second)


@dataclass(slots=True)
class Budget:
    """What may be sent now. ``take`` returns 0 and counts one message, or returns how many seconds to wait."""

    now: Callable[[], float] = time.monotonic
    chat_pace: Pace = CHAT
    group_pace: Pace = GROUP
    overall_pace: Pace = OVERALL
    _chats: OrderedDict[str, tuple[_Bucket, ...]] = field(default_factory=OrderedDict)
    _overall: _Bucket | None = None
    _closed: dict[str, float] = field(default_factory=dict)

    def take(self, chat: str, *, ping: bool = False, edit: bool = False) -> float:
        """One message or edit for ``chat``; a group's id is negative."""
        now = self.now()
        if (until := self._closed.get(chat, 0.0)) > now:
            return until - now
        self._closed.pop(chat, None)
        if self._overall is None:
            self._overall = _Bucket(self.overall_pace, self.overall_pace.burst, now)
        buckets = (*self._buckets(chat, now), self._overall)
        keep = 0.0 if ping else _KEPT_FROM_EDITS if edit else _KEPT_FOR_PINGS
        wait = max(bucket.wait(now, keep) for bucket in buckets)
        if wait <= 0:
            for bucket in buckets:
                bucket.left -= 1
        return wait

    def close(self, chat: str, seconds: float) -> None:
        """Telegram asked us to wait in this chat."""
        self._closed[chat] = self.now() + seconds

    def _buckets(self, chat: str, now: float) -> tuple[_Bucket, ...]:
        found = self._chats.get(chat)
        if found is None:
            paces = (self.chat_pace, self.group_pace) if chat.startswith("-") else (self.chat_pace,)
            found = self._chats[chat] = tuple(_Bucket(pace, pace.burst, now) for pace in paces)
            while len(self._chats) > _REMEMBERED:
                self._chats.popitem(last=False)
        self._chats.move_to_end(chat)
        return found
