"""Wires the judge of changes: for a controller, and alone for ``airboss gate try``.

It is apart from ``bot.app``, which takes a second to import. What only a controller needs is imported where that is
wired: a try has no chats and no database (ADR 101).
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

from fleet.config import FleetConfig, Secrets
from fleet.git.repository import Repository
from fleet.git.workspace import Workspaces
from fleet.ports import Gatekeeper
from gates.leaks.search import Leaks
from gates.pipeline import Pipeline
from gates.remembered import NobodyReviews, NothingGranted, RememberedRecords
from gates.runs.given_up import GivenUp
from gates.runs.place import GateLogins

if TYPE_CHECKING:
    from fleet.machines.executors import Executors
    from fleet.machines.watch import MachineSeen
    from fleet.store.core import Store


def gates_alone(config: FleetConfig, repository: Repository, logins: GateLogins, directory: Path) -> Gatekeeper:
    """One repository's gates for one judgement, without a controller. ``directory`` is for this alone."""
    records = RememberedRecords()
    return Pipeline(
        records=records,
        reviews=NobodyReviews(),
        granted=NothingGranted(),
        config=lambda: config,
        executors=logins,
        workspaces=Workspaces(lambda: config.limits),
        repositories=lambda _: repository,
        home=directory,
        leaks=Leaks(records, Secrets({}), directory),
        given_up=GivenUp(),
    )


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
