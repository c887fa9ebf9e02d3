"""Logins of which each gate run has one to itself while it lasts; their number bounds how many run at once."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator, Callable, Collection, Sequence
from dataclasses import dataclass, field
from typing import Final

_LOOK_SECONDS: Final = 1.0


@dataclass(slots=True)
class LoginPool:
    """Who has which login is kept in memory: a run that a new controller takes over leases its login again, and a
    run clears its login before it starts, whoever had it before."""

    _busy: dict[str, set[str]] = field(default_factory=dict)
    _released: asyncio.Event = field(default_factory=asyncio.Event)

    @contextlib.asynccontextmanager
    async def lease(
        self, machine: str, logins: Sequence[str], given_up: Callable[[], bool], avoid: Collection[str] = ()
    ) -> AsyncIterator[str]:
        """A login that nobody else has until the end of the block; waits for one. Empty once ``given_up``.

        ``avoid``: logins to take only when there is no other, because a run of an earlier controller may use them.
        """
        busy = self._busy.setdefault(machine, set())
        while not (free := [login for login in logins if login not in busy]):
            if given_up():
                yield ""
                return
            released = self._released
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(_LOOK_SECONDS):
                    await released.wait()
        login = min(free, key=lambda name: name in avoid)
        busy.add(login)
        try:
            yield login
        finally:
            busy.discard(login)
            self._released.set()
            self._released = asyncio.Event()
