"""Wires the judge of changes: for a controller, and alone for ``airboss gate try``.

It is apart from ``bot.app``, which takes a second to import. What only a controller needs is imported where that is
wired: a try has no chats and no database (ADR 101).
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager, suppress
from pathlib import Path
from typing import TYPE_CHECKING

from fleet.config import FleetConfig, Secrets
from fleet.errors import AirbossError
from fleet.git.repository import Repository
from fleet.git.workspace import Workspaces
from fleet.machines.executors import Executors
from fleet.ports import Gatekeeper
from fleet.supervise import alongside
from gates.leaks.search import Leaks
from gates.pipeline import Pipeline
from gates.remembered import NobodyReviews, NothingGranted, RememberedRecords
from gates.runs.given_up import GivenUp

if TYPE_CHECKING:
    from fleet.machines.watch import MachineSeen
    from fleet.store.core import Store


@asynccontextmanager
async def gates_alone(config: FleetConfig, repository: Repository, directory: Path) -> AsyncIterator[Gatekeeper]:
    """One repository's gates for one judgement, without a controller. ``directory`` is for this alone."""
    executors, records = Executors(config, directory), RememberedRecords()

    async def meet() -> None:
        """Opens the links and learns the facts while the change is read. An error is the gate's to tell."""
        for machine in config.machines:
            with suppress(AirbossError):
                await executors.gate(machine).facts()

    try:
        async with alongside(meet(), "meet the machines"):
            yield Pipeline(
                records=records,
                reviews=NobodyReviews(),
                granted=NothingGranted(),
                config=lambda: config,
                executors=executors,
                workspaces=Workspaces(lambda: config.limits),
                repositories=lambda _: repository,
                home=directory,
                leaks=Leaks(records, Secrets({}), directory),
                given_up=GivenUp(),
            )
    finally:
        await executors.close()


def gatekeeper_of(
    store: Store,
    config: Callable[[], FleetConfig],
    executors: Executors,
    repositories: Callable[[str], Repository],
    *,
    home: Path,
    env: Secrets,
    seen: dict[str, MachineSeen] | None = None,
    patience: float = 600.0,
) -> Pipeline:
    """The judge of a store's changes. ``patience``: as the pipeline has it."""
    from gates.leaks.stored import foreseen
    from gates.review.agent import AgentReviewers
    from gates.review.service import Reviews
    from gates.rulings.grants import Grants
    from gates.stored import StoredRecords
    from gates.witness.opening import Openings

    workspaces, given_up = Workspaces(lambda: config().limits), GivenUp()
    openings = Openings.of(store, config, home)
    records = StoredRecords(store, openings)
    store.observe(foreseen)
    agents = AgentReviewers(config, executors, workspaces, env)
    return Pipeline(
        records=records,
        reviews=Reviews(store, config, env, home, given_up.why, openings, agents),
        granted=Grants(store),
        config=config,
        executors=executors,
        workspaces=workspaces,
        repositories=repositories,
        home=home,
        leaks=Leaks(records, env, home),
        given_up=given_up,
        patience=patience,
        machines=seen,
    )
