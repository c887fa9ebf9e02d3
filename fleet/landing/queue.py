"""The landing order in a repository: one at a time, first come, first served."""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Iterator
from contextlib import contextmanager


class LandingQueue:
    """This controller's tasks that want to land, one queue for each repository. Kept in memory only."""

    def __init__(self) -> None:
        self._lines: dict[str, deque[asyncio.Event]] = {}

    def line(self, repo: str) -> tuple[asyncio.Event, ...]:
        """A repository's queue, first in line first."""
        return tuple(self._lines.get(repo, ()))

    @contextmanager
    def place(self, repo: str) -> Iterator[asyncio.Event]:
        """Joins the queue for the block, which may leave at any time. The event is set when its turn has come."""
        line = self._lines.setdefault(repo, deque())
        turn = asyncio.Event()
        line.append(turn)
        line[0].set()
        try:
            yield turn
        finally:
            line.remove(turn)
            if line:
                line[0].set()
            else:
                del self._lines[repo]
