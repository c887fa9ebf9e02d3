"""What the dispatcher's parts share. Built once, in ``bot/app.py``."""

from __future__ import annotations

import json
import secrets
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from typing import TypeVar

from fleet.agents.registry import driver
from fleet.config import FleetConfig, Secrets
from fleet.errors import Misused
from fleet.events import Event, Refs, Source
from fleet.git.repository import Repository
from fleet.git.workspace import Workspaces
from fleet.landing.base_branch import Landing
from fleet.machines.executors import Executors
from fleet.model import Session, Task
from fleet.ports import AgentDriver, Clock, DriverState, Gatekeeper
from fleet.store import ledger
from fleet.store.core import Store, Tx

T = TypeVar("T")

#: The ledger's actor for what the controller does by itself.
AIRBOSS = "airboss"


@dataclass(frozen=True, slots=True)
class Services:
    """Everything a task's flight needs. ``holder`` names this process in leases."""

    store: Store
    config: Callable[[], FleetConfig]
    secrets: Secrets
    executors: Executors
    workspaces: Workspaces
    repositories: Callable[[str], Repository]
    landings: Callable[[str], Landing]
    gatekeeper: Gatekeeper
    issue_receipt: Callable[[Task], Awaitable[None]]
    clock: Clock
    holder: str
    new_nonce: Callable[[], str] = field(default=lambda: secrets.token_hex(16))

    def driver_of(self, session: Session) -> AgentDriver:
        """The translator for the session's agent."""
        agent = self.config().agents.get(session.agent)
        if agent is None:
            raise Misused(attempted="drive the agent", on=session.agent, hint="Put it back into fleet.toml.")
        return driver(agent.driver)


def state_of(session: Session) -> DriverState:
    """The driver's memory as of the session's spool offset."""
    state: DriverState = json.loads(session.driver_state)
    return state


def record(
    tx: Tx,
    event: Event,
    session: Session,
    *,
    turn: str = "",
    source: Source = Source.CONTROLLER,
    actor: str = "",
) -> None:
    """Appends an event about a session. ``actor`` did it: by default the agent for its own words, else us."""
    actor = actor or (AIRBOSS if source is not Source.AGENT else f"agent:{session.agent}")
    refs = Refs(task=session.task, session=session.id, turn=turn, machine=session.machine)
    ledger.append(tx, event, actor=actor, source=source, refs=refs)
