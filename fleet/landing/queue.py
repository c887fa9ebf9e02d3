"""Whose turn it is to land in a repository: one at a time, first come, first served."""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Iterator
from contextlib import contextmanager


class LandingQueue:
    """The tasks of this controller that want to land, a line for each repository. Nothing here is stored."""

    def __init__(self) -> None:
        self._lines: dict[str, deque[asyncio.Event]] = {}

    def line(self, repo: str) -> tuple[asyncio.Event, ...]:
        """Those in a repository's line, whose turn it is first."""
        return tuple(self._lines.get(repo, ()))

    @contextmanager
    def place(self, repo: str) -> Iterator[asyncio.Event]:
        """Stands in line for the block, which may leave at any time. The event is set when the turn has come."""
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
