"""What every part of a controller uses: its home, the store that it leads or shares, machines and repositories."""

from __future__ import annotations

import asyncio
import logging
import os
import secrets
import socket
from collections.abc import AsyncIterator, Awaitable, Callable, Coroutine
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass, field
from functools import partial
from importlib.metadata import version
from pathlib import Path
from typing import Any, Final

from bot import journal
from bot.controller_view import Elsewhere
from bot.gatekeeping import gatekeeper_of
from bot.health import ControllerHealth, StoreWatch
from bot.home_lock import only_one
from bot.leading import RENEW_SECONDS, TTL_US, StandBy, SureLead, lead
from bot.outbox.posting import Outbox
from bot.reload import LiveConfig, LiveSecrets
from bot.same_env import RunsHere
from bot.telling import sounds
from fleet.clock import SystemClock, wall_clock
from fleet.config import Secrets, load_fleet
from fleet.config.home import FLEET_FILE
from fleet.errors import LeadershipLost, Misused, StoreUnavailable
from fleet.events import (
    ConfigReloaded,
    LocksReleased,
    PermissionAsked,
    PermissionGranted,
    ReceiptIssued,
    Refs,
    ScheduleMoved,
    ScheduleSet,
    SessionEnded,
    Source,
    TaskMoved,
)
from fleet.flight.keeping import Keeper
from fleet.flight.services import Services
from fleet.flight.sharing import SharedFleet
from fleet.git.repository import Repository
from fleet.git.shared import shared_repository
from fleet.git.workspace import Workspaces
from fleet.landing.base_branch import BaseBranch
from fleet.machines.executors import Executors
from fleet.machines.watch import MachineSeen, MachineWatch
from fleet.model import AIRBOSS, Task
from fleet.redact import Redactor
from fleet.setup.environments import Environments
from fleet.setup.stored import SetupsInStore
from fleet.shared_commits import StoredPacks
from fleet.store import controllers, leases, ledger
from fleet.store.boot import uptime_us
from fleet.store.controllers import Contender, ControllerSeen, RunsOn
from fleet.store.core import Store, Tx
from fleet.store.leases import Lease
from fleet.store.notices import Notices
from fleet.store.states import ControllerRole
from gates import fleet_keys
from gates.leaks.rules import SEARCHES
from gates.locks.guard import LockGuard
from gates.locks.service import LockService
from gates.receipts.issue import issue

Join = Callable[[Path, Contender, Coroutine[Any, Any, Lease]], Awaitable[Lease]]

_log = logging.getLogger(__name__)

HEARD: Final = tuple(
    each.KIND
    for each in (
        *(TaskMoved, SessionEnded, PermissionAsked, PermissionGranted, LocksReleased),
        *(ScheduleSet, ScheduleMoved, ConfigReloaded),
    )
)
"""What observers in other controllers must hear of."""


@dataclass(frozen=True, slots=True)
class Base:
    """What every other part uses: the home, the store that we lead, the machines and repositories."""

    home: Path
    config: LiveConfig
    env: Secrets
    store: Store
    executors: Executors
    lease: Lease
    me: Contender
    locks: LockService
    term: SureLead
    runs_on: Callable[[], RunsOn]
    made: dict[tuple[str, str, str], Repository] = field(default_factory=dict)

    def repository(self, name: str) -> Repository:
        """The repository of that name in the current configuration. One object for each repository, since it
        locks."""
        found = self.config().repo(name)
        key = (name, found.url, found.base)
        if key not in self.made:
            mirror = self.home / "repos" / f"{name}.git"
            shared, packs = self.store.can_be_shared, StoredPacks(self.store)
            self.made[key] = shared_repository(*key, mirror, packs) if shared else Repository(*key, mirror)
        return self.made[key]

    async def services(self, *, coordinates: bool = True) -> Services:
        """What the parts of the dispatcher share. ``coordinates``: this controller leads the fleet."""
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
            environments=Environments(SetupsInStore(self.store), workspaces),
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
            sharing=self._sharing(coordinates),
        )

    def _sharing(self, coordinates: bool) -> SharedFleet | None:
        if not self.store.can_be_shared:
            return None
        notices = Notices(self.store, HEARD)
        return SharedFleet(notices, self.me.instance, self.runs_on, coordinates)

    def watch(self, services: Services) -> MachineWatch:
        """What the placer goes by, which looks again when that changes."""
        tell = services.slot_line.changed.set
        return MachineWatch(self.config, self.executors, services.clock, services.machines_seen, tell=tell)

    async def not_quiet(self, person: str, us: int) -> int:
        """The first time from ``us`` on that is in none of the person's quiet hours."""
        return await self.store.read(lambda tx: sounds.wish_of(tx, self.config(), person).first_loud(us))

    async def receipt(self, task: Task) -> None:
        """Issues a landed task's receipt. The ledger has it once, however often this is called."""
        issued = await issue(self.store, self.home, task.id)

        def work(tx: Tx) -> None:
            if ledger.read(tx, kinds=(ReceiptIssued.KIND,), task=task.id, limit=1):
                return
            event = ReceiptIssued(issued.commit, issued.sha256, str(issued.path))
            ledger.append(tx, event, actor=AIRBOSS, source=Source.CONTROLLER, refs=Refs(task=task.id))

        await self.store.write(work)

    async def renew(self, away: StoreWatch, outbox: Outbox, health: ControllerHealth) -> None:
        """Until cancelled. Notices when the store is unavailable, and what other controllers say of themselves.
        Raises ``LeadershipLost`` when another controller leads."""

        elsewhere = Elsewhere(self.me)

        def work(tx: Tx) -> list[ControllerSeen]:
            leases.renew(tx, self.lease, TTL_US)
            controllers.note(tx, self.me, ControllerRole.LEADS, self.runs_on(), health.own())
            away.report(outbox.open(tx))
            return controllers.seen(tx)

        while True:
            await asyncio.sleep(RENEW_SECONDS)
            began_us = uptime_us()
            try:
                seen = await away.answer_of(self.store.write(work))
            except StoreUnavailable as error:
                away.failed(error)
            else:
                health.elsewhere = elsewhere.troubles(seen, uptime_us())
                self.term.renewed(began_us)
                away.answered()


@asynccontextmanager
async def leading(home: Path) -> AsyncIterator[Store]:
    """The store of a home, led for the block. Raises ``Unavailable`` when a controller runs on the home."""
    async with AsyncExitStack() as stack:
        store, _, me = await open_store(home, stack)
        lease = await _led(store, me, stack)
        yield store.under(lease.fence)


@asynccontextmanager
async def tending_alone(home: Path) -> AsyncIterator[tuple[Store, Executors, Keeper]]:
    """The store of a home, led for the block; its machines, and what keeps the work there. Raises ``Unavailable``
    when a controller runs on the home."""
    async with AsyncExitStack() as stack:
        base = await base_of(home, stack)
        yield base.store, base.executors, Keeper(await base.services(), wall_clock())


async def base_of(
    home: Path, stack: AsyncExitStack, standby: StandBy | None = None, join: Join | None = None
) -> Base:
    """The base of the controller that leads; waits for that with ``standby``. ``join``: what one that takes part
    does until then."""
    store, env, me = await open_store(home, stack)
    stack.push_async_exit(partial(_leave, store, me))
    if standby is not None and store.can_be_shared:
        await fleet_keys.check(store, home)
    if standby is not None:
        load_fleet(home / FLEET_FILE)  # what is wrong in it is said now, not when it is needed
    if standby is not None and standby.takes_part and join is not None:
        lease = await join(home, me, _led(store, me, stack, standby))
    else:
        lease = await _led(store, me, stack, standby)
    if standby is not None:
        await LiveSecrets(home, SystemClock(), env, store.redact).take()  # it may have waited for weeks
    made = await based(stack, store, env, lease, me)
    if store.can_be_shared:
        await fleet_keys.settle(made.store, home)
    await made.store.write(lambda tx: controllers.note(tx, me, ControllerRole.LEADS, made.runs_on()))
    return made


async def _leave(
    store: Store, me: Contender, kind: type[BaseException] | None, error: BaseException | None, _: object
) -> None:
    """This controller ends: nothing is left of it to see, or why it ended. One that was put out has been told."""
    if isinstance(error, Exception) and not isinstance(error, LeadershipLost | Misused):
        redact = store.redact or str
        why = redact(f"ended: {type(error).__name__}: {error}".splitlines()[0])
        await store.write(lambda tx: controllers.last_words(tx, me, why))
    else:
        await store.write(lambda tx: controllers.forget(tx, me))


async def based(stack: AsyncExitStack, store: Store, env: Secrets, lease: Lease, me: Contender) -> Base:
    """The base of a controller that writes under this lease."""
    store, home = store.under(lease.fence), Path(me.home)
    config = LiveConfig(home, SystemClock())
    store.seal_contents(lambda: config().telemetry.contents == "hashed")
    executors = Executors(config(), home)
    stack.push_async_callback(executors.close)
    stack.push_async_callback(SEARCHES.close)
    locks = LockService(store, SystemClock())
    stack.push_async_callback(locks.close)
    journal.keep(store)
    stack.callback(_log.info, "airboss %s stopped", version("airboss"))
    if store.can_be_shared:
        store.share(me.instance)
    runs_on = RunsHere(home, lambda: config.in_force, env)
    term = SureLead(store, lease, SystemClock())
    return Base(home, config, env, store, executors, lease, me, locks, term, runs_on)


async def open_store(home: Path, stack: AsyncExitStack) -> tuple[Store, Secrets, Contender]:
    """The store of a home that no other process uses, and this process's name in it."""
    await asyncio.to_thread(home.mkdir, mode=0o700, parents=True, exist_ok=True)
    stack.enter_context(only_one(home))
    env = Secrets.load(home)
    store = stack.enter_context(store_of(home, env))
    host = socket.gethostname()
    instance = f"{host}:{home}:{os.getpid()}:{secrets.token_hex(4)}"
    return store, env, Contender(instance, host, str(home), version("airboss"))


def store_of(home: Path, env: Secrets) -> Store:
    """Opens the store that a home names."""
    return Store.open(env.store_of(home), redact=Redactor(env.values()))


async def _led(store: Store, me: Contender, stack: AsyncExitStack, standby: StandBy | None = None) -> Lease:
    if standby is None:
        lease = await lead(store, me)
    else:
        lease = await standby.lead(store, me, RunsHere(Path(me.home)))
    stack.push_async_callback(store.write, lambda tx: leases.release(tx, lease))
    return lease
