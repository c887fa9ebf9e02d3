"""What setups make for a session: kept for the agents' login behind walls, or installed in the workspace.

A session with walls sees it through a layer of its own, at its place in the workspace, and the workspace also at
the path where it was built. Without walls the workspace has its own, made at its own path.
"""

from __future__ import annotations

import posixpath
from collections.abc import Sequence
from typing import Final

from fleet.events import Refs
from fleet.flight import given_files
from fleet.flight.services import Services
from fleet.flight.surroundings import walls_of_sessions
from fleet.git.trees import entries
from fleet.model import Session, Task, TaskMode
from fleet.ports import LoginFacts
from fleet.setup.definitions import SetupDefinition, load
from fleet.setup.site import SetupCaller, SetupSite, SetupUse, WantedSetup

#: Where version managers and installers put programs in a home, and what those programs read.
_IN_HOME: Final = (
    *(".local/bin", ".local/share/uv", ".local/share/mise", ".nvm/versions", ".asdf", ".volta", ".pyenv", ".rbenv"),
    *(".cargo/bin", ".rustup", ".bun/bin", ".deno/bin", "go/bin"),
)
_BREW: Final = "/home/linuxbrew/.linuxbrew"


async def setups_of(services: Services, session: Session, repo: str) -> tuple[SetupDefinition, ...]:
    """The setups of the session's base. Raises ``Refused`` or ``Misused`` for one that cannot be used."""
    return await load(services.repositories(repo), session.base, services.config().repo(repo))


async def install(services: Services, task: Task, session: Session) -> None:
    """Makes it, before the agent's first process, and what the gates of its base need. Raises ``SetupFailed``."""
    await given_files.put(services, session, task.repo)
    setups = await setups_of(services, session, task.repo)
    if not setups:
        return
    facts = await services.executors.agent(session.machine, session.login).facts()
    site, caller = _site(services, session, facts), SetupCaller(Refs(task=task.id, session=session.id))
    for wanted in await _wanted(services, task.repo, session, setups):
        if walls_of_sessions(services.machine_of(session), facts):
            await services.environments.kept(site, wanted, caller)
        else:
            await services.environments.in_workspace(site, wanted, session.workspace, caller)
    if task.mode is TaskMode.CHANGE:
        await services.gatekeeper.set_up(task, session)


async def mounts(
    services: Services, task: Task, session: Session, facts: LoginFacts
) -> tuple[tuple[str, str], ...]:
    """For a session with walls: what it sees, and where. Empty for others. Raises ``SetupFailed``."""
    if not walls_of_sessions(services.machine_of(session), facts):
        return ()
    setups = await setups_of(services, session, task.repo)
    site, caller = _site(services, session, facts), SetupCaller(Refs(task=task.id, session=session.id))
    made = [
        directory
        for wanted in await _wanted(services, task.repo, session, setups)
        for directory in await services.environments.kept(site, wanted, caller)
    ]
    return tuple((each.source, f"{session.workspace}/{each.path}") for each in made)


def _site(services: Services, session: Session, facts: LoginFacts) -> SetupSite:
    executor, machine = services.executors.agent(session.machine, session.login), services.machine_of(session)
    read = (*machine.path, *machine.agent_read, *(posixpath.join(facts.home, name) for name in _IN_HOME), _BREW)
    return SetupSite(executor, facts, "", read, machine.run_limits(), SetupUse.AGENTS)


async def _wanted(
    services: Services, repo: str, session: Session, setups: Sequence[SetupDefinition]
) -> tuple[WantedSetup, ...]:
    if not setups:
        return ()
    repository = services.repositories(repo)
    tree = await entries(repository, session.base)
    return tuple(WantedSetup(setup, repository, session.base, setup.digest(tree)) for setup in setups)
