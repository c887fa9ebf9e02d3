"""What only one controller at a time may do, where several share a store: a lease for each such thing.

Within one controller an ``asyncio.Lock`` keeps the turns; alone, that is all.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import secrets
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Final

from fleet.errors import LeaseLost, StoreUnavailable
from fleet.store import leases
from fleet.store.core import Store
from fleet.store.leases import Lease
from fleet.supervise import alongside

_log = logging.getLogger(__name__)

_TTL_US: Final = 30_000_000
_RENEW_S: Final = 8.0
_LOOK_S: Final = 0.5


@asynccontextmanager
async def between_controllers(store: Store, name: str) -> AsyncIterator[None]:
    """Holds ``name`` against the other controllers for the block; waits for it.

    A controller that is put out holds nothing from then on. Raises ``StoreUnavailable`` before the block.
    """
    if not store.shared_as:
        yield
        return
    lease = await _taken(store, f"turn:{name}", f"{store.shared_as}/{secrets.token_hex(4)}")
    try:
        async with alongside(_renew(store, lease), f"renew {name}"):
            yield
    finally:
        try:
            await store.write(lambda tx: leases.release(tx, lease))
        except StoreUnavailable as error:
            _log.warning("%s was not released, and runs out: %s", name, error)


async def _taken(store: Store, name: str, holder: str) -> Lease:
    while True:
        lease = await store.write(lambda tx: leases.acquire(tx, name, holder, _TTL_US))
        if lease is not None:
            return lease
        await asyncio.sleep(_LOOK_S)


async def _renew(store: Store, lease: Lease) -> None:
    """Until cancelled, or until it has passed to another: whoever works under it is fenced by its own writes."""
    while True:
        await asyncio.sleep(_RENEW_S)
        with contextlib.suppress(StoreUnavailable):
            try:
                await store.write(lambda tx: leases.renew(tx, lease, _TTL_US))
            except LeaseLost as error:
                _log.warning("%s", error)
                return
