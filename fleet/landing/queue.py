"""Who moves a base branch: one landing of a repository at a time. And news of its landing queue."""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Callable, Iterator
from contextlib import contextmanager


class LandingQueue:
    """This controller's tasks that are about to move a branch, one line for each repository. Kept in memory only:
    the order in which changes land is in the store."""

    def __init__(self) -> None:
        self._lines: dict[str, deque[asyncio.Event]] = {}
        self._news: dict[str, asyncio.Event] = {}
        self._tell: Callable[[str], None] = lambda repo: None

    def tells(self, tell: Callable[[str], None]) -> None:
        """``tell`` is called with the repository after each change of its queue here."""
        self._tell = tell

    def news(self, repo: str) -> asyncio.Event:
        """Is set at the next change of the repository's queue. Ask for it before reading the queue."""
        return self._news.setdefault(repo, asyncio.Event())

    def changed(self, repo: str) -> None:
        """The repository's queue in the store may have changed."""
        self.heard(repo)
        self._tell(repo)

    def heard(self, repo: str) -> None:
        """The same, as another controller told."""
        if (news := self._news.pop(repo, None)) is not None:
            news.set()

    def line(self, repo: str) -> tuple[asyncio.Event, ...]:
        """Those that are about to move a repository's branch, first in line first."""
        return tuple(self._lines.get(repo, ()))

    @contextmanager
    def place(self, repo: str) -> Iterator[asyncio.Event]:
        """Joins the line for the block, which may leave at any time. The event is set when its turn has come."""
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
