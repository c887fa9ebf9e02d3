"""What the dispatcher's parts share. Built once, in ``bot/app.py``."""

from __future__ import annotations

import json
import secrets
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from typing import Protocol

from fleet.agents.registry import driver
from fleet.config import AgentConfig, FleetConfig, Secrets
from fleet.errors import Misconfigured
from fleet.git.repository import Repository
from fleet.git.workspace import Workspaces
from fleet.landing.attempt import Ground
from fleet.landing.base_branch import Landing
from fleet.landing.queue import LandingQueue
from fleet.model import Session, Task
from fleet.ports import AgentDriver, Clock, DriverState, Executor, Gatekeeper
from fleet.store.core import Store


class Logins(Protocol):
    """The ways to the logins of machines: ``fleet.machines.executors.Executors`` is one."""

    def agent(self, machine: str) -> Executor:
        """The agents' login. Raises ``Misconfigured`` for a machine that ``fleet.toml`` does not name."""

    def gate(self, machine: str) -> Executor:
        """The gates' login. Raises ``Misconfigured`` likewise."""


@dataclass(frozen=True, slots=True)
class Services:
    """Everything a task's flight needs. ``holder`` names this process in leases."""

    store: Store
    config: Callable[[], FleetConfig]
    secrets: Secrets
    executors: Logins
    workspaces: Workspaces
    repositories: Callable[[str], Repository]
    landings: Callable[[str], Landing]
    gatekeeper: Gatekeeper
    issue_receipt: Callable[[Task], Awaitable[None]]
    clock: Clock
    holder: str
    new_nonce: Callable[[], str] = field(default=lambda: secrets.token_hex(16))
    landing_queue: LandingQueue = field(default_factory=LandingQueue)

    def agent_of(self, session: Session) -> AgentConfig:
        """What ``fleet.toml`` says of the session's agent. Raises ``Misconfigured`` when it names it no longer."""
        agent = self.config().agents.get(session.agent)
        if agent is None:
            raise Misconfigured(
                attempted="use an agent",
                on=session.agent,
                cause=f"fleet.toml no longer names agent {session.agent}",
                hint="Put it back into fleet.toml, or stop the task.",
            )
        return agent

    def driver_of(self, session: Session) -> AgentDriver:
        """The translator for the session's agent. Raises ``Misconfigured``."""
        return driver(self.agent_of(session).driver)

    def landing_ground(self, repo: str) -> Ground:
        """What a landing in this repository needs. Raises ``Misconfigured``."""
        return Ground(
            store=self.store,
            repository=self.repositories(repo),
            base_branch=self.landings(repo),
            queue=self.landing_queue,
            clock=self.clock,
            holder=self.holder,
        )


def state_of(session: Session) -> DriverState:
    """The driver's memory as of the session's spool offset."""
    state: DriverState = json.loads(session.driver_state)
    return state
