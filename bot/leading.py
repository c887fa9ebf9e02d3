"""One controller a home, one leader a store."""

from __future__ import annotations

import asyncio
from typing import Final

from fleet.errors import Unavailable
from fleet.store import leases
from fleet.store.core import Store, Tx
from fleet.store.leases import Lease

TTL_US: Final = 15_000_000


async def lead(store: Store, place: str, holder: str) -> Lease:
    """Leadership over the store. A predecessor at this place is dead, since its home's lock is ours; any other
    is waited for until its lease has run out."""

    def work(tx: Tx) -> Lease | None:
        held = leases.look(tx, leases.LEADERSHIP)
        if held is not None and held.holder.startswith(f"{place}:"):
            return leases.seize(tx, leases.LEADERSHIP, holder, TTL_US)
        return leases.acquire(tx, leases.LEADERSHIP, holder, TTL_US)

    for _ in range(TTL_US // 1_000_000 + 5):
        lease = await store.write(work)
        if lease is not None:
            return lease
        await asyncio.sleep(1)
    raise Unavailable(
        attempted="lead this fleet",
        on=store.url,
        cause="another controller holds the store and keeps renewing its lease",
        hint="Stop that controller first.",
    )
