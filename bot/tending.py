"""What tends the machines: their disks, the work that did not land, and the slots of pools."""

from __future__ import annotations

from collections.abc import Awaitable, Callable

from bot.reload import LiveConfig
from fleet.flight.keeping import Keeper
from fleet.flight.placer import Placer
from fleet.flight.services import Services
from fleet.flight.starting import wanted_of_pools
from fleet.machines.disks import Disks
from fleet.machines.executors import Executors
from fleet.machines.pools.keeper import PoolKeeper, PoolNeeds
from fleet.machines.pools.providers import provider
from fleet.schedule.timer import Timer


async def tending(
    config: LiveConfig,
    executors: Executors,
    services: Services,
    timer: Timer,
    placer: Placer,
    *,
    sure: Callable[[], Awaitable[None]],
) -> tuple[Keeper, Disks, PoolKeeper]:
    """What keeps work that did not land, and the disks from being full, and makes slots for the tasks that wait.

    From here on the configuration has the slots that pools have. Raises ``StoreUnavailable``.
    """
    keeper = Keeper(services, timer.clock("work that did not land"))
    disks = Disks(config, executors, services.clock, keeper.reclaim_all)
    disks.full = services.full_disks
    needs = PoolNeeds(
        wanted=lambda tx: wanted_of_pools(tx, placer.known()),
        save=keeper.reclaim_all,
        provider=lambda name, pool: provider(name, pool, services.secrets),
        seen=services.machines_seen,
        troubles=services.pool_troubles,
        tell=services.slot_line.changed.set,
        sure=sure,
    )
    pools = PoolKeeper(services.store, config, executors, services.clock, needs)
    await pools.load()
    return keeper, disks, pools
