"""A controller that takes part: it leads the tasks that the coordinator gives it, and stands by for the rest."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine
from contextlib import AsyncExitStack
from functools import partial
from importlib.metadata import version
from pathlib import Path
from typing import Any, Final

from bot.base import Base, based, store_of
from bot.health import ControllerHealth, StoreWatch
from bot.reload import LiveSecrets
from fleet.clock import SystemClock
from fleet.config import Secrets
from fleet.errors import Misused
from fleet.flight.dispatcher import Dispatcher
from fleet.flight.services import Services
from fleet.flight.sharing import SharedFleet
from fleet.store import controllers, leads, leases
from fleet.store.controllers import Contender
from fleet.store.core import Tx
from fleet.store.leases import Lease
from fleet.store.states import ControllerRole
from fleet.supervise import OnDeath, Supervisor, Work, alongside, first
from gates import fleet_keys

_BEAT_SECONDS: Final = 2.0

DispatcherOf = Callable[[Services, Supervisor, str], Dispatcher]


async def take_part(
    home: Path, me: Contender, leading: Coroutine[Any, Any, Lease], dispatcher_of: DispatcherOf
) -> Lease:
    """Leads tasks until this controller leads the fleet: then its flights end here, to be begun again from the
    store as after a restart. Raises ``LeadershipLost`` once it was put out, ``Misused`` where a store cannot be
    shared."""
    async with AsyncExitStack() as stack:
        waiting = await stack.enter_async_context(alongside(leading, "wait for the leadership"))
        env = Secrets.load(home)
        store = stack.enter_context(store_of(home, env))  # of its own: what follows the events ends with this
        if not store.can_be_shared:
            raise Misused(
                attempted="share the store with other controllers",
                on=store.url,
                cause="only PostgreSQL can be shared",
                hint="Set AIRBOSS_STORE=postgresql+psycopg://… in .env, or start it without --join.",
            )
        keys = fleet_keys.wait(store, home, SystemClock())
        known = await stack.enter_async_context(alongside(keys, "wait for the fleet's keys"))
        await first(waiting, known)
        if waiting.done():
            return await waiting
        await known
        member = await store.write(lambda tx: leads.join(tx, me.instance))
        stack.push_async_callback(store.write, lambda tx: leads.leave(tx, member))
        base = await based(stack, store, env, member, me)
        supervisor = Supervisor(SystemClock())
        stack.push_async_callback(supervisor.close)
        await _begin(base, supervisor, stack, dispatcher_of)
        await first(waiting, supervisor.failed)
        if supervisor.failed.done():
            await supervisor.failed
        return await waiting


async def _begin(base: Base, supervisor: Supervisor, stack: AsyncExitStack, dispatcher_of: DispatcherOf) -> None:
    services = await base.services(coordinates=False)
    sharing = services.sharing
    if sharing is None:
        raise RuntimeError("a store that can be shared has others to hear of")
    stack.push_async_callback(sharing.notices.close)
    stack.push_async_callback(supervisor.run("other controllers", sharing.notices.run).end)
    dispatcher = dispatcher_of(services, supervisor, version("airboss"))
    watch = base.watch(services)

    health = ControllerHealth(supervisor, StoreWatch(supervisor.clock), base.config, base.store.redact)

    async def reconfigured() -> None:
        base.executors.reconfigure(base.config())
        dispatcher.woken()

    components: dict[str, Work] = {
        "membership": partial(_renew, base, sharing, dispatcher, health),
        "machines": watch.run,
        "what machines offer": watch.probes.run,
        "locks": base.locks.run,
        "fleet.toml": partial(base.config.watch, reconfigured),
        ".env": LiveSecrets(base.home, services.clock, base.env, base.store.redact).watch,
    }
    for name, work in components.items():
        supervisor.run(name, work)
    keys = partial(fleet_keys.watch, base.store, base.home, services.clock, coordinates=False)
    supervisor.run("keys", keys, OnDeath.FATAL)
    stack.push_async_callback(supervisor.run("dispatcher", dispatcher.run, OnDeath.FATAL).end)


async def _renew(base: Base, sharing: SharedFleet, dispatcher: Dispatcher, health: ControllerHealth) -> None:
    """Until cancelled. Gives the tasks back while ``fleet.toml`` or ``.env`` differs from that of the one that
    leads. Says what is not well here."""

    def work(tx: Tx) -> tuple[bool, bool]:
        leases.renew(tx, base.lease, leads.TTL_US)
        runs_on = base.runs_on()
        controllers.note(tx, base.me, ControllerRole.SHARES, runs_on, health.own())
        leader = controllers.last_leader(tx)
        differs = leader is not None and bool(runs_on.differs(leader.runs_on))
        return differs, bool(leads.counts(tx).get(base.me.instance))

    while True:
        differs, leads_some = await base.store.write(work)
        # By what it leads: a commit may have failed, or a task came by an edit that did not count here yet.
        if differs and (leads_some or not sharing.paused):
            sharing.paused = True
            await dispatcher.let_go()
            await base.store.write(sharing.give_back)
        elif not differs and sharing.paused:
            sharing.paused = False
            dispatcher.woken()
        await asyncio.sleep(_BEAT_SECONDS)
