"""The running fleet, as commands and cards see it: what ``bot.registry.FleetControl`` promises."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import partial
from importlib.metadata import version
from pathlib import Path

from bot.doctor.findings import Finding
from bot.doctor.quick import examine_quickly
from bot.health import ControllerHealth, Serving, Troubles
from bot.repositories import RepoSeen, at_root, look_at
from bot.standing import Standing
from fleet.clock import SystemClock
from fleet.config import FleetConfig, Secrets
from fleet.errors import Refused
from fleet.flight.dispatcher import Dispatcher
from fleet.flight.keeping import Keeper
from fleet.flight.services import MachineLogins, Services
from fleet.flight.starting import FleetSeen
from fleet.git.patches import Patch
from fleet.git.repository import Repository
from fleet.machines.disks import Disks
from fleet.machines.hand_terminal import HandTerminal
from fleet.machines.pools.keeper import PoolKeeper
from fleet.machines.waking import Waker
from fleet.machines.watch import MachineSeen, MachineWatch
from fleet.model import Session
from fleet.store import sessions, takeovers
from fleet.store.core import Store, Tx
from fleet.store.takeovers import Takeover
from fleet.supervise import Work
from gates.leaks.search import Leaks
from gates.people import Right


class Hands:
    """One terminal for each task: it knows how much was typed and shown."""

    def __init__(self, store: Store, executors: MachineLogins) -> None:
        self._store, self._executors = store, executors
        self._known: dict[str, tuple[str, HandTerminal]] = {}

    async def terminal(self, task_id: str) -> HandTerminal:
        """That of the person who has the task in hand. Raises ``Refused`` when nobody has."""

        def read(tx: Tx) -> tuple[Takeover, Session] | None:
            found = takeovers.current(tx, task_id)
            return None if found is None or not found.pipe else (found, sessions.session(tx, found.session))

        found = await self._store.read(read)
        if found is None:
            raise Refused(attempted="attach", on=task_id, cause="the work by hand is over")
        takeover, session = found
        pipe, known = self._known.get(task_id, ("", None))
        if known is None or pipe != takeover.pipe:
            executor = self._executors.agent(session.machine, session.login)
            known = HandTerminal(executor, takeover.pipe, takeover.nonce)
            self._known[task_id] = takeover.pipe, known
        return known


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

    async def diff(self, repo: str, base: str, commit: str, limit: int) -> Patch:
        patch = await self.repositories(repo).diff(base, commit, limit)
        return Patch(await self.leaks.masked(patch.decode("utf-8", "replace")), len(patch) >= limit)
