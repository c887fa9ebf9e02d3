"""The running fleet, as commands and cards see it: what ``bot.registry.FleetControl`` promises."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import partial
from importlib.metadata import version
from pathlib import Path

from bot.doctor.findings import Finding
from bot.doctor.quick import examine_quickly
from bot.hands import Hands
from bot.health import ControllerHealth, Serving, Troubles
from bot.repositories import RepoSeen, at_root, look_at
from bot.standing import Standing
from fleet.clock import SystemClock
from fleet.config import FleetConfig, Secrets
from fleet.flight.dispatcher import Dispatcher
from fleet.flight.keeping import Keeper
from fleet.flight.services import Services
from fleet.flight.starting import FleetSeen
from fleet.git.repository import Repository
from fleet.machines.disks import Disks
from fleet.machines.hand_terminal import HandTerminal
from fleet.machines.pools.keeper import PoolKeeper
from fleet.machines.waking import Waker
from fleet.machines.watch import MachineSeen, MachineWatch
from fleet.supervise import Work
from gates.leaks.search import Leaks
from gates.people import Right


@dataclass(frozen=True, slots=True)
class RunningFleet:
    """What commands can ask of the running fleet."""

    config: Callable[[], FleetConfig]
    home: Path
    dispatcher: Dispatcher
    watch: MachineWatch
    repositories: Callable[[str], Repository]
    health: ControllerHealth
    leaks: Leaks
    more: list[Callable[[], str]]
    standing: Standing
    env: Secrets
    keeper: Keeper
    disks: Disks
    pools: PoolKeeper
    hands: Hands
    since: Serving = field(default_factory=lambda: Serving(version("airboss"), SystemClock().now_us()))

    def components(self, services: Services) -> dict[str, Work]:
        """What runs for it, by name; nothing that ends work or slots while the store lacks something."""
        return {
            "work that did not land": partial(self.standing.while_good, self.keeper.run),
            "machines": self.watch.run,
            "what machines offer": self.watch.probes.run,
            "waking": Waker(services.store, self.config, services.machines_seen, services.clock).run,
            "disks": self.disks.run,
            "pools": partial(self.standing.while_good, self.pools.run),
            "traces": self.standing.run,
        }

    def wake(self, task_id: str) -> None:
        self.dispatcher.wake(task_id)

    def placing(self) -> FleetSeen:
        return self.dispatcher.placer.known()

    def machines(self) -> Mapping[str, MachineSeen]:
        return {name: replace(seen, disk=self.disks.seen.get(name)) for name, seen in self.watch.seen.items()}

    def troubles(self) -> Troubles:
        troubles = self.health.troubles()
        more = tuple(filter(None, (trouble() for trouble in self.more)))
        return Troubles(troubles.store, (*more, *troubles.others)) if more else troubles

    def serving(self) -> Serving:
        return replace(self.since, secrets=tuple(sorted(self.env)))

    async def demand(self, right: Right, attempted: str) -> None:
        await self.standing.demand(right, attempted)

    def ledger_grows(self) -> bool:
        return self.standing.good

    async def save_work(self, task_id: str) -> None:
        await self.keeper.save_now(task_id)

    def pool_notes(self) -> Sequence[str]:
        return self.pools.notes

    def tend_work(self) -> None:
        self.keeper.wake()

    async def repository(self, name: str) -> RepoSeen:
        return await look_at(self.repositories(name), self.config().repos[name])

    async def at_root(self, repo: str, names: Sequence[str]) -> Sequence[str]:
        return await at_root(self.repositories(repo), names)

    async def examine(self) -> list[Finding]:
        troubles = self.troubles().lines
        return await examine_quickly(self.config(), self.home, self.repositories, self.watch.seen, troubles)

    async def terminal(self, task_id: str) -> HandTerminal:
        return await self.hands.terminal(task_id)

    async def diff(self, repo: str, base: str, commit: str, limit: int) -> str:
        patch = await self.repositories(repo).diff(base, commit, limit)
        return await self.leaks.masked(patch.decode("utf-8", "replace"))
