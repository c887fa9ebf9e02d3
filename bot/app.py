"""The composition root: the only place that makes the parts and connects them.

``App.open(home)`` is a running controller: dispatcher, chats, control socket, under one leadership lease.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass
from functools import partial
from importlib.metadata import version
from pathlib import Path
from typing import Final

from bot.backups import Backups
from bot.base import Base, base_of
from bot.chats.console.adapter import ConsoleAdapter
from bot.commands import every_command
from bot.doctor.bypass import said
from bot.health import ControllerHealth, StoreWatch
from bot.hearing.core import ChatCore
from bot.hearing.rates import PerPerson, except_console
from bot.hearing.shared import fetched
from bot.joined import take_part
from bot.leading import StandBy
from bot.local.control import ControlServer
from bot.local.hook_forwards import HookForwards
from bot.metrics_server import MetricsServer
from bot.outbox.closed import closed
from bot.outbox.delivering import Deliverer
from bot.outbox.files import brought
from bot.outbox.port import Adapter
from bot.outbox.posting import Outbox
from bot.phones import Phones
from bot.registry import Context, Registry
from bot.reload import LiveSecrets
from bot.reporting import reporting
from bot.retention import Retention
from bot.running_fleet import Hands, RunningFleet
from bot.schedules.beats import Beats
from bot.speech.transcript import transcribe
from bot.standing import Standing
from bot.telling import news
from bot.telling.notify import Notifier
from fleet.clock import SystemClock, wall_clock
from fleet.events import ConfigReloaded, Source
from fleet.flight.dispatcher import Dispatcher
from fleet.flight.keeping import Keeper
from fleet.flight.services import Services
from fleet.flight.starting import wanted_of_pools
from fleet.machines.disks import Disks
from fleet.machines.pools.keeper import PoolKeeper, PoolNeeds
from fleet.machines.pools.providers import provider
from fleet.model import AIRBOSS, ChatRef
from fleet.schedule.timer import Timer
from fleet.store import ledger
from fleet.store.core import Store
from fleet.store.notices import Topic
from fleet.supervise import OnDeath, Supervisor, Work
from gates import fleet_keys
from gates.leaks.search import Leaks
from gates.leaks.stored import SecretsInStore
from gates.locks.keeping import LockKeeper
from gates.witness.opening import Openings

_log = logging.getLogger(__name__)

_STRANGER_SECONDS: Final = 600.0


@dataclass(slots=True)
class App:
    """A running controller. ``off`` has a line for each chat without a token."""

    home: Path
    store: Store
    core: ChatCore
    console: ConsoleAdapter
    deliverer: Deliverer
    supervisor: Supervisor
    off: tuple[str, ...] = ()

    @property
    def failed(self) -> asyncio.Future[None]:
        """Fails with the error that ends the controller."""
        return self.supervisor.failed

    @classmethod
    @asynccontextmanager
    async def open(cls, home: Path, standby: StandBy | None = None) -> AsyncIterator[App]:
        """Runs a controller while the context is open. With ``standby``, it first waits until nobody else leads.

        Raises ``Unavailable`` when another controller runs on this home, ``Misused`` for a wrong configuration, and
        ``StoreUnavailable`` when the store cannot be used.
        """
        async with AsyncExitStack() as stack:
            base = await base_of(home, stack, standby, partial(take_part, dispatcher_of=Dispatcher))
            config, store, outbox = base.config, base.store, Outbox(base.store)
            supervisor, timer = Supervisor(SystemClock()), Timer(wall_clock())
            stack.push_async_callback(supervisor.close)
            away, registry = StoreWatch(supervisor.clock), Registry(every_command())
            phones = Phones.from_secrets(base.env, home, registry, base.term.sure)
            health = ControllerHealth(supervisor, away, config, store.redact, phones.contacts)
            supervisor.run("leadership", lambda: base.renew(away, outbox, health), OnDeath.FATAL)
            services = await base.services()
            dispatcher = Dispatcher(services, supervisor, version("airboss"))
            control = await _fleet(base, services, dispatcher, health, timer)
            standing = control.standing
            core = ChatCore(
                Context(store, config, registry, control, home, base.locks, wall_clock(), phones.direct),
                outbox,
                supervisor,
                rate=except_console(PerPerson()),
                strangers=PerPerson(limit=1, seconds=_STRANGER_SECONDS),
                transcribe=partial(transcribe, env=base.env),
            )
            notifier = Notifier(outbox, config, supervisor, files=home / "files", direct=phones.direct)
            adapters: list[Adapter] = [console := ConsoleAdapter(), *phones.chats]
            for chat in phones.chats:
                core.fetches(chat.name, partial(fetched, store, chat.fetch))
            _hear(home, services, notifier, supervisor, stack)
            deliverer = Deliverer(
                outbox,
                adapters,
                supervisor,
                phones.contacts,
                partial(closed, config),
                sure=base.term.sure,
                files=partial(brought, store, home / "files"),
            )
            hooks, backups = HookForwards.of(services, core.context, outbox), Backups(config, home, services.clock)
            secrets = LiveSecrets(home, services.clock, base.env, store.redact)

            admins = news.direct_chat(config(), phones.direct)
            await store.write(lambda tx: news.begin(outbox.open(tx), admins))
            deliverer.start()
            stack.push_async_callback(deliverer.close)
            for adapter in adapters:
                stack.push_async_callback(adapter.close)  # also of what only half of it began
                await adapter.start(core.receive)
            await notifier.start()
            stack.push_async_callback(notifier.close)
            await core.start()
            stack.push_async_callback(core.close)
            server = ControlServer(
                home, core, console, notifier, deliverer, reset=standing.reset, more={"hook": hooks.door.serve}
            )
            await server.start()
            control.more.extend([lambda: server.trouble, lambda: secrets.trouble, hooks.trouble, backups.trouble])
            stack.push_async_callback(server.close)
            components: dict[str, Work] = {
                **_timed(timer, core.context, outbox, admins),
                **control.components(services),
                **reporting(base, services, outbox, control, health, direct=phones.direct),
                "metrics": MetricsServer(core.context).run,
                "locks": base.locks.run,
                "lock renewal": LockKeeper(store, base.locks, config, services.clock).run,
                "voice messages": core.voices.run,
                "control socket": lambda: server.listening.keep(lambda: config().console.group),
                "hooks on machines": hooks.run,
                "backups": backups.run,
                "fleet.toml": partial(config.watch, partial(_reloaded, base, dispatcher, standing, server)),
                ".env": secrets.watch,
            }
            for name, work in components.items():
                supervisor.run(name, work)
            phones.run(supervisor)
            dispatching = partial(standing.while_good, dispatcher.run)
            stack.push_async_callback(supervisor.run("dispatcher", dispatching, OnDeath.FATAL).end)
            yield cls(home, store, core, console, deliverer, supervisor, phones.off)


async def _fleet(
    base: Base, services: Services, dispatcher: Dispatcher, health: ControllerHealth, timer: Timer
) -> RunningFleet:
    """The fleet as commands see it, with what tends its machines: their disks, the work that did not land, and the
    slots of pools, which the configuration has from here on. Raises ``StoreUnavailable``."""
    store, config, home = base.store, base.config, base.home
    standing = Standing(store, config, base.executors, base.repository, home)
    keeper = Keeper(services, timer.clock("work that did not land"))
    disks = Disks(config, base.executors, services.clock, keeper.reclaim_all)
    disks.full = services.full_disks
    needs = PoolNeeds(
        wanted=lambda tx: wanted_of_pools(tx, dispatcher.placer.known()),
        save=keeper.reclaim_all,
        provider=lambda name, pool: provider(name, pool, services.secrets),
        seen=services.machines_seen,
        troubles=services.pool_troubles,
        tell=services.slot_line.changed.set,
        sure=base.term.sure,
    )
    pools = PoolKeeper(store, config, base.executors, services.clock, needs)
    await pools.load()
    return RunningFleet(
        config,
        home,
        dispatcher,
        base.watch(services),
        base.repository,
        health,
        Leaks(SecretsInStore(store), base.env, home),
        [lambda: standing.behind, lambda: said(home, config()), lambda: pools.trouble],
        standing,
        base.env,
        keeper,
        disks,
        pools,
        Hands(store, base.executors),
    )


def _hear(
    home: Path, services: Services, notifier: Notifier, supervisor: Supervisor, stack: AsyncExitStack
) -> None:
    """From now on it is heard what other controllers of the store do, and looked whether all have the same keys."""
    if services.sharing is not None:
        keys = partial(fleet_keys.watch, services.store, home, services.clock, coordinates=True)
        supervisor.run("keys", keys, OnDeath.FATAL)
        notices = services.sharing.notices
        stack.push_async_callback(notices.close)
        notices.hear(Topic.LEDGER, lambda key, origin: notifier.look_now())
        stack.push_async_callback(supervisor.run("other controllers", notices.run).end)


def _timed(timer: Timer, context: Context, outbox: Outbox, admins: ChatRef | None) -> dict[str, Work]:
    """The timer, and what it wakes."""
    config, checkpoints = context.config, timer.clock("checkpoints")
    openings = Openings.of(context.store, config, context.home)
    return {
        "timer": timer.run,
        "schedules": Beats(context, outbox, timer.alarm("schedules"), admins).run,
        "retention": Retention(context.store, config, timer.clock("retention"), context.home).run,
        "checkpoints": lambda: openings.hourly(checkpoints),
    }


async def _reloaded(base: Base, dispatcher: Dispatcher, standing: Standing, server: ControlServer) -> None:
    """Applies an edit of ``fleet.toml``, and records that it was made."""
    base.executors.reconfigure(base.config())
    server.open()
    if standing.behind:
        return  # a store that was restored gets no entry before its reset
    event = ConfigReloaded(base.config.sha256)
    await base.store.write(lambda tx: ledger.append(tx, event, actor=AIRBOSS, source=Source.CONTROLLER))
    dispatcher.wake()
