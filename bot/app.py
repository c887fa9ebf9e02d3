"""The composition root: the only place that makes the parts and connects them.

``App.open(home)`` is a running controller: dispatcher, chats, control socket, under one leadership lease.
"""

from __future__ import annotations

import asyncio
import logging
import os
import secrets
import socket
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass, field
from functools import partial
from importlib.metadata import version
from pathlib import Path
from typing import Final

from bot import journal
from bot.backups import Backups
from bot.chats.console.adapter import ConsoleAdapter
from bot.chats.slack import chat as slack_chat
from bot.chats.telegram import chat as telegram_chat
from bot.commands import every_command
from bot.doctor.bypass import said
from bot.gatekeeping import gatekeeper_of
from bot.hands import Hands
from bot.health import ControllerHealth, StoreWatch
from bot.hearing.core import ChatCore
from bot.hearing.rates import ExceptConsole, PerPerson
from bot.home_lock import only_one
from bot.leading import RENEW_SECONDS, TTL_US, StandBy, lead
from bot.local.control import ControlServer
from bot.local.hook_forwards import HookForwards
from bot.metrics_server import MetricsServer
from bot.outbox.closed import closed
from bot.outbox.delivering import Deliverer
from bot.outbox.port import Adapter
from bot.outbox.posting import Outbox
from bot.registry import Context, Registry
from bot.reload import LiveConfig, LiveSecrets, digest_of
from bot.reloads import Reloads
from bot.running_fleet import RunningFleet
from bot.speech.transcript import transcribe
from bot.standing import Standing
from bot.telling import news, sounds
from bot.telling.alarms import Alarms, Causes
from bot.telling.asked_reviews import AskedReviews
from bot.telling.live import LiveStatus
from bot.telling.locked import StuckLocks
from bot.telling.log_card import LiveLogs
from bot.telling.newer import NewerAgents
from bot.telling.notify import Notifier
from bot.telling.reminders import Reminders
from bot.tending import tending
from bot.timed import timed
from fleet.clock import SystemClock, wall_clock
from fleet.config import Secrets, load_fleet
from fleet.config.home import FLEET_FILE
from fleet.errors import Misconfigured, StoreUnavailable
from fleet.events import ReceiptIssued, Refs, Source
from fleet.flight.dispatcher import Dispatcher
from fleet.flight.keeping import Keeper
from fleet.flight.services import Services
from fleet.git.repository import Repository
from fleet.git.workspace import Workspaces
from fleet.landing.base_branch import BaseBranch
from fleet.machines.executors import Executors
from fleet.machines.waking import Waker
from fleet.machines.watch import MachineSeen, MachineWatch
from fleet.model import AIRBOSS, Task
from fleet.redact import Redactor
from fleet.schedule.timer import Timer
from fleet.setup.environments import Environments
from fleet.store import controllers, leases, ledger
from fleet.store.controllers import Contender
from fleet.store.core import Store, Tx
from fleet.store.leases import Lease
from fleet.store.states import ControllerRole
from fleet.supervise import OnDeath, Supervisor, Work
from gates.leaks.search import Leaks
from gates.locks.guard import LockGuard
from gates.locks.keeping import LockKeeper
from gates.locks.service import LockService
from gates.receipts.issue import issue

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
            base = await _base(home, stack, standby)
            config, store, outbox = base.config, base.store, Outbox(base.store)
            supervisor, timer = Supervisor(SystemClock()), Timer(wall_clock())
            stack.push_async_callback(supervisor.close)
            away = StoreWatch(supervisor.clock)
            supervisor.run("leadership", lambda: base.renew(away, outbox), OnDeath.FATAL)
            registry = Registry(every_command())
            slack, telegram = (chat.from_secrets(base.env, home, registry) for chat in (slack_chat, telegram_chat))
            phones = [chat for chat in (slack, telegram) if chat is not None]
            contacts, direct_on = (
                {chat.name: chat.contact for chat in phones},
                frozenset(chat.name for chat in phones),
            )
            health = ControllerHealth(supervisor, away, config, store.redact, contacts)
            services = await base.services()
            dispatcher = Dispatcher(services, supervisor, version("airboss"))
            watch = _watch(base, services)
            standing = Standing(store, config, base.executors, base.repository, home)
            more = [lambda: standing.behind, lambda: said(home, config())]
            keeper, disks, pools = await tending(config, base.executors, services, timer, dispatcher.placer)
            control = RunningFleet(
                config,
                home,
                dispatcher,
                watch,
                base.repository,
                health,
                Leaks(store, base.env, home),
                more,
                standing,
                base.env,
                keeper,
                disks,
                pools,
                Hands(store, base.executors),
            )
            core = ChatCore(
                Context(store, config, registry, control, home, base.locks, wall_clock(), direct_on),
                outbox,
                supervisor,
                rate=ExceptConsole(PerPerson()),
                strangers=PerPerson(limit=1, seconds=_STRANGER_SECONDS),
                transcribe=partial(transcribe, env=base.env),
            )
            console = ConsoleAdapter()
            notifier = Notifier(outbox, config, supervisor, files=home / "files", direct=direct_on)
            adapters: list[Adapter] = [console, *phones]
            for chat in phones:
                core.fetches(chat.name, chat.fetch)
            deliverer = Deliverer(outbox, adapters, supervisor, contacts, partial(closed, config))
            causes = Causes(health, control.machines, services.clock, home, full=services.full_disks)
            live, hooks, backups = (
                LiveStatus(outbox, config, control, services.clock),
                HookForwards.of(services, core.context, outbox),
                Backups(config, home, services.clock),
            )

            admins = news.direct_chat(config(), direct_on)
            await store.write(lambda tx: news.begin(outbox.open(tx), admins))
            deliverer.start()
            stack.push_async_callback(deliverer.close)
            for adapter in adapters:
                await adapter.start(core.receive)
                stack.push_async_callback(adapter.close)
            await notifier.start()
            stack.push_async_callback(notifier.close)
            await core.start()
            stack.push_async_callback(core.close)
            server = ControlServer(
                home, core, console, notifier, deliverer, reset=standing.reset, more={"hook": hooks.door.serve}
            )
            await server.start()
            control.more.extend([lambda: server.trouble, lambda: pools.trouble, hooks.trouble, backups.trouble])
            stack.push_async_callback(server.close)
            components: dict[str, Work] = {
                **timed(timer, core.context, outbox, admins),
                "work that did not land": partial(standing.while_good, keeper.run),
                "machines": watch.run,
                "what machines offer": watch.probes.run,
                "waking": Waker(store, config, services.machines_seen, services.clock).run,
                "disks": disks.run,
                "pools": partial(standing.while_good, pools.run),
                "metrics": MetricsServer(core.context).run,
                "locks": base.locks.run,
                "lock renewal": LockKeeper(store, base.locks, config, services.clock).run,
                "traces": standing.run,
                "status": live.run,
                "logs": LiveLogs(outbox, config, services.clock, home).run,
                "voice messages": core.voices.run,
                "hooks on machines": hooks.run,
                "backups": backups.run,
                "alarms": Alarms(outbox, config, services.clock, causes, direct_on).run,
                "newer agents": NewerAgents(outbox, config, services.clock, control.machines, direct_on).run,
                "stuck locks": StuckLocks(outbox, config, services.clock).run,
                "reviews": AskedReviews(outbox, config, base.env, base.repository, base.executors).run,
                "reminders": Reminders(outbox, config, services.clock, home / "files", direct_on).run,
                "fleet.toml": Reloads(config, services, base.executors, dispatcher, standing, server.open).run,
                ".env": LiveSecrets(home, services.clock, base.env, store.redact).watch,
            }
            for name, work in components.items():
                supervisor.run(name, work)
            for chat in phones:
                supervisor.run(f"{chat.name} connection", chat.keep_up)
                supervisor.run(chat.name, chat.running, OnDeath.FATAL)
            dispatching = partial(standing.while_good, dispatcher.run)
            stack.push_async_callback(supervisor.run("dispatcher", dispatching, OnDeath.FATAL).end)
            off = [chat.OFF for chat, own in ((telegram_chat, telegram), (slack_chat, slack)) if own is None]
            yield cls(home, store, core, console, deliverer, supervisor, tuple(off))


def _watch(base: _Base, services: Services) -> MachineWatch:
    """What the placer goes by, which looks again when that changes."""
    tell = services.slot_line.changed.set
    return MachineWatch(base.config, base.executors, services.clock, services.machines_seen, tell=tell)


@dataclass(frozen=True, slots=True)
class _Base:
    """What every other part uses: the home, the store that we lead, the machines and repositories."""

    home: Path
    config: LiveConfig
    env: Secrets
    store: Store
    executors: Executors
    lease: Lease
    me: Contender
    locks: LockService
    made: dict[tuple[str, str, str], Repository] = field(default_factory=dict)

    def repository(self, name: str) -> Repository:
        """The repository of that name in the current configuration. One object for each repository, since it
        locks."""
        found = self.config().repos.get(name)
        if found is None:
            raise Misconfigured(
                attempted="use a repository", on=name, cause=f"fleet.toml no longer names repository {name}"
            )
        key = (name, found.url, found.base)
        if key not in self.made:
            self.made[key] = Repository(*key, self.home / "repos" / f"{name}.git")
        return self.made[key]

    async def services(self) -> Services:
        """What the parts of the dispatcher share."""
        machines: dict[str, MachineSeen] = {}
        gatekeeper = gatekeeper_of(
            self.store, self.config, self.executors, self.repository, home=self.home, env=self.env, seen=machines
        )
        await gatekeeper.load()
        workspaces = Workspaces(lambda: self.config().limits)
        return Services(
            store=self.store,
            config=self.config,
            secrets=self.env,
            executors=self.executors,
            workspaces=workspaces,
            environments=Environments(self.store, workspaces),
            repositories=self.repository,
            base_branches=lambda name: BaseBranch(self.repository(name)),
            gatekeeper=gatekeeper,
            locks=LockGuard(self.store, self.locks, self.repository),
            issue_receipt=self.receipt,
            clock=wall_clock(),
            holder=self.lease.holder,
            not_quiet=self.not_quiet,
            zone=lambda tx, person: sounds.zone_of(tx, self.config(), person),
            machines_seen=machines,
        )

    async def not_quiet(self, person: str, us: int) -> int:
        """The first time from ``us`` on that is in none of the person's quiet hours."""
        return await self.store.read(lambda tx: sounds.first_loud(tx, self.config(), person, us))

    async def receipt(self, task: Task) -> None:
        """Issues a landed task's receipt. The ledger has it once, however often this is called."""
        issued = await issue(self.store, self.home, task.id)

        def work(tx: Tx) -> None:
            if ledger.read(tx, kinds=(ReceiptIssued.KIND,), task=task.id, limit=1):
                return
            event = ReceiptIssued(issued.commit, issued.sha256, str(issued.path))
            ledger.append(tx, event, actor=AIRBOSS, source=Source.CONTROLLER, refs=Refs(task=task.id))

        await self.store.write(work)

    async def renew(self, away: StoreWatch, outbox: Outbox) -> None:
        """Until cancelled. Notices when the store is unavailable. Raises ``LeadershipLost`` when another controller
        leads."""

        def work(tx: Tx) -> None:
            leases.renew(tx, self.lease, TTL_US)
            controllers.note(tx, self.me, ControllerRole.LEADS, self.config.in_force)
            away.report(outbox.open(tx))

        while True:
            await asyncio.sleep(RENEW_SECONDS)
            try:
                await self.store.write(work)
            except StoreUnavailable as error:
                away.failed(error)
            else:
                away.answered()


@asynccontextmanager
async def leading(home: Path) -> AsyncIterator[Store]:
    """The store of a home, led for the block. Raises ``Unavailable`` when a controller runs on the home."""
    async with AsyncExitStack() as stack:
        store, _, me = await _open_store(home, stack)
        lease = await _led(store, me, stack)
        yield store.under(lease.fence)


@asynccontextmanager
async def tending_alone(home: Path) -> AsyncIterator[tuple[Store, Executors, Keeper]]:
    """The store of a home, led for the block; its machines, and what keeps the work there. Raises ``Unavailable``
    when a controller runs on the home."""
    async with AsyncExitStack() as stack:
        base = await _base(home, stack, None)
        yield base.store, base.executors, Keeper(await base.services(), wall_clock())


async def _base(home: Path, stack: AsyncExitStack, standby: StandBy | None) -> _Base:
    store, env, me = await _open_store(home, stack)
    stack.push_async_callback(store.write, lambda tx: controllers.forget(tx, me))
    if standby is not None:
        load_fleet(home / FLEET_FILE)  # what is wrong in it is said now, not when it is needed
    lease = await _led(store, me, stack, standby)
    store = store.under(lease.fence)
    config = LiveConfig(home, SystemClock())
    await store.write(lambda tx: controllers.note(tx, me, ControllerRole.LEADS, config.in_force))
    executors = Executors(config(), home)
    stack.push_async_callback(executors.close)
    locks = LockService(store, SystemClock())
    stack.push_async_callback(locks.close)
    journal.keep(store)
    stack.callback(_log.info, "airboss %s stopped", version("airboss"))
    return _Base(home, config, env, store, executors, lease, me, locks)


async def _open_store(home: Path, stack: AsyncExitStack) -> tuple[Store, Secrets, Contender]:
    await asyncio.to_thread(home.mkdir, mode=0o700, parents=True, exist_ok=True)
    stack.enter_context(only_one(home))
    env = Secrets.load(home)
    url = env.get("AIRBOSS_STORE") or f"sqlite:///{home / 'airboss.db'}"
    store = stack.enter_context(Store.open(url, redact=Redactor(env.values())))
    host = socket.gethostname()
    instance = f"{host}:{home}:{os.getpid()}:{secrets.token_hex(4)}"
    return store, env, Contender(instance, host, str(home), version("airboss"))


async def _led(store: Store, me: Contender, stack: AsyncExitStack, standby: StandBy | None = None) -> Lease:
    if standby is None:
        lease = await lead(store, me)
    else:
        lease = await standby.lead(store, me, lambda: digest_of(Path(me.home) / FLEET_FILE))
    stack.push_async_callback(store.write, lambda tx: leases.release(tx, lease))
    return lease
