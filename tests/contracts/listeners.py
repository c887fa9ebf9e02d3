"""A controller's ear: notices that are heard until the end of a block."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable, Collection
from contextlib import asynccontextmanager

from fleet.clock import SystemClock
from fleet.store.core import Store
from fleet.store.notices import Notices, Topic
from fleet.supervise import Supervisor


@asynccontextmanager
async def listening(store: Store, heard: Collection[str]) -> AsyncIterator[Notices]:
    """A controller's notices, heard until the end of the block."""
    supervisor, notices = Supervisor(SystemClock()), Notices(store, heard)
    ready = asyncio.Event()
    notices.hear(Topic.LEADS, lambda key, origin: ready.set())
    component = supervisor.run("other controllers", notices.run)
    await ready.wait()  # it looks once it listens
    try:
        yield notices
    finally:
        await component.end()
        await notices.close()
        await supervisor.close()


async def until(true: Callable[[], object]) -> None:
    """Waits until something is so."""
    async with asyncio.timeout(60):
        while not true():
            await asyncio.sleep(0.02)
