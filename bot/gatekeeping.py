"""Wires the judge of changes: for a controller, and alone for ``airboss gate try``.

It is apart from ``bot.app``, which takes a second to import: a try needs no chats.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path

from fleet.config import FleetConfig, Secrets
from fleet.git.repository import Repository
from fleet.git.workspace import Workspaces
from fleet.machines.executors import Executors
from fleet.machines.watch import MachineSeen
from fleet.ports import Gatekeeper
from fleet.store.core import Store
from gates.leaks.search import Leaks
from gates.pipeline import Pipeline


@asynccontextmanager
async def gates_alone(
    config: FleetConfig, repository: Repository, directory: Path
) -> AsyncIterator[tuple[Store, Gatekeeper]]:
    """One repository's gates without a controller. ``directory`` is for this alone."""
    executors = Executors(config, directory)
    try:
        with Store.throwaway(directory / "try.db") as store:
            env = Secrets({})
            yield (
                store,
                gatekeeper_of(store, lambda: config, executors, lambda _: repository, home=directory, env=env),
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
) -> Pipeline:
    """The judge of a store's changes."""
    return Pipeline(
        store=store,
        config=config,
        executors=executors,
        workspaces=Workspaces(lambda: config().limits),
        repositories=repositories,
        home=home,
        leaks=Leaks(store, env, home),
        secrets=env,
        machines=seen,
    )
