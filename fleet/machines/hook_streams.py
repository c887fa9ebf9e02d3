"""The two directions of a hook's request, whatever it comes through."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Protocol


class HookReader(Protocol):
    """What a client on that machine says."""

    async def readline(self) -> bytes:
        """A line; empty at the end."""

    async def readexactly(self, n: int) -> bytes:
        """So many bytes. Raises ``asyncio.IncompleteReadError``."""


class HookWriter(Protocol):
    """The way to answer it."""

    def write(self, data: bytes) -> None:
        """Sends bytes."""

    async def drain(self) -> None:
        """Waits until it has room."""


Answering = Callable[[HookReader, HookWriter], Awaitable[None]]
