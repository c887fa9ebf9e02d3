"""What the parts of the dispatcher share. Built once, in ``bot/app.py``."""

from __future__ import annotations

import json
import secrets
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field, replace
from typing import Protocol

from fleet.agents.registry import driver
from fleet.config import AgentConfig, FleetConfig, MachineConfig, Secrets
from fleet.flight.budgeting import ZoneOf, controllers_zone
from fleet.flight.sharing import SharedFleet
from fleet.flight.slot_line import SlotLine
from fleet.git.repository import Repository
from fleet.git.workspace import Workspaces
from fleet.landing.base_branch import BaseBranch
from fleet.landing.outcome import LandingContext
from fleet.landing.queue import LandingQueue
from fleet.machines.watch import MachineSeen
from fleet.model import Session, Task
from fleet.ports import AgentDriver, Clock, DriverState, Executor, Gatekeeper, Locks
from fleet.setup.environments import Environments
from fleet.store.core import Store
from fleet.store.leads import Lead


class MachineLogins(Protocol):
    """Connections to the machines' logins; implemented by ``fleet.machines.executors.Executors``."""

    def agent(self, machine: str, login: str = "") -> Executor:
        """The agents' login: the first one, or the one named. Raises ``Misconfigured`` for an unknown machine."""

    def gate(self, machine: str, login: str = "") -> Executor:
        """The gates' login: the first one, or the one named. Raises ``Misconfigured`` for an unknown machine."""


async def never_quiet(person: str, us: int) -> int:
    """Nobody has quiet hours."""
    return us


@dataclass(frozen=True, slots=True)
class Services:
    """Everything a flight needs. ``holder`` names this process in leases."""

    store: Store
    config: Callable[[], FleetConfig]
    secrets: Secrets
    executors: MachineLogins
    workspaces: Workspaces
    repositories: Callable[[str], Repository]
    base_branches: Callable[[str], BaseBranch]
    gatekeeper: Gatekeeper
    locks: Locks
    environments: Environments
    issue_receipt: Callable[[Task], Awaitable[None]]
    clock: Clock
    holder: str
    new_nonce: Callable[[], str] = field(default=lambda: secrets.token_hex(16))
    landing_queue: LandingQueue = field(default_factory=LandingQueue)
    slot_line: SlotLine = field(default_factory=SlotLine)
    not_quiet: Callable[[str, int], Awaitable[int]] = never_quiet  # a person, a time: the first one from it on
    machines_seen: dict[str, MachineSeen] = field(default_factory=dict)  # the last answer of each
    zone: ZoneOf = controllers_zone
    pool_troubles: dict[str, str] = field(default_factory=dict)  # why pools make no slots now
    full_disks: dict[str, int] = field(default_factory=dict)  # free bytes of machines where nothing new starts
    sharing: SharedFleet | None = None  # where other controllers may lead tasks too

    def under(self, lead: Lead | None) -> Services:
        """For the flight of a task that this controller leads: each of its writes depends on that."""
        return self if lead is None else replace(self, store=self.store.under(lead))

    def agent_of(self, session: Session) -> AgentConfig:
        """The configuration of the session's agent. Raises ``Misconfigured``."""
        return self.config().agent(session.agent)

    def machine_of(self, session: Session) -> MachineConfig:
        """What ``fleet.toml`` says of the session's machine. Raises ``Misconfigured``."""
        return self.config().machine(session.machine)

    def driver_of(self, session: Session) -> AgentDriver:
        """The driver of the session's agent. Raises ``Misconfigured``."""
        return driver(self.agent_of(session).driver)

    def landing_context(self, repo: str) -> LandingContext:
        """What a landing in this repository needs. Raises ``Misconfigured``."""
        config = self.config().repo(repo)
        return LandingContext(
            store=self.store,
            repository=self.repositories(repo),
            base_branch=self.base_branches(repo),
            queue=self.landing_queue,
            locks=self.locks,
            clock=self.clock,
            holder=self.holder,
            stands=self.gatekeeper.stands,
            withdraw=self.gatekeeper.withdraw,
            together=config.land_together,
            foreign_push=config.foreign_push,
            mode=config.mode,
        )


def state_of(session: Session) -> DriverState:
    """The driver's state at the session's spool offset."""
    state: DriverState = json.loads(session.driver_state)
    return state
