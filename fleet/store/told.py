"""Tells callers on their event loops what became of their writes: in order, and some at a time.

Whoever is told goes on at once, and the loop does nothing else before all of those have. 200 agents that stream
share a commit; told together, they held the loop for 5 to 18 ms.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Callable, Sequence
from contextlib import suppress
from typing import Final, Generic, Protocol, TypeVar
from weakref import WeakKeyDictionary

AT_ONCE: Final = 16


class AwaitedWrite(Protocol):
    """Something whose caller waits on ``loop``."""

    @property
    def loop(self) -> asyncio.AbstractEventLoop: ...


W = TypeVar("W", bound=AwaitedWrite)


class OnTheirLoops(Generic[W]):
    """``tell`` is called for a few of them in each turn of their loop."""

    def __init__(self, tell: Callable[[list[W]], None]) -> None:
        self._tell = tell
        self._left: WeakKeyDictionary[asyncio.AbstractEventLoop, deque[W]] = WeakKeyDictionary()

    def put(self, writes: Sequence[W]) -> None:
        """From any thread."""
        for loop in {write.loop: None for write in writes}:
            with suppress(RuntimeError):  # a closed loop has no callers left
                loop.call_soon_threadsafe(self._take, loop, [write for write in writes if write.loop is loop])

    def _take(self, loop: asyncio.AbstractEventLoop, writes: Sequence[W]) -> None:
        left = self._left.setdefault(loop, deque())
        idle = not left
        left.extend(writes)
        if idle:  # else it goes on with these after those before them
            self._tell_some(loop, left)

    def _tell_some(self, loop: asyncio.AbstractEventLoop, left: deque[W]) -> None:
        try:
            self._tell([left.popleft() for _ in range(min(len(left), AT_ONCE))])
        finally:  # whatever went wrong for these, the others wait
            if left:
                loop.call_soon(self._tell_some, loop, left)
