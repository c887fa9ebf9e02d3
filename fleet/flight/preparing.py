"""What comes before a session's first process: its base is checked, then its login, its worktree and what setups
install are made."""

from __future__ import annotations

from dataclasses import replace

from fleet.errors import Refused
from fleet.failpoints import failpoint
from fleet.flight import installing, own_login
from fleet.flight.services import Services
from fleet.flight.waits import Waits
from fleet.git import kept, submodules
from fleet.landing.outcome import Doing
from fleet.model import LandingMode, Session, Task, TaskMode


async def checked_base(services: Services, task: Task) -> str:
    """The base commit to work from, after checking that a change to it can be judged and landed, or that its files
    can be given to the agent."""
    repository = services.repositories(task.repo)
    base = await repository.fetch()
    if task.forked:
        base = task.forked.base
    if task.mode is TaskMode.CHANGE:
        if services.config().repo(task.repo).mode is LandingMode.MERGE:
            await services.base_branches(task.repo).check_landable()
        await services.gatekeeper.preflight(task.repo, base)
    else:
        await submodules.bring(repository, base)
    return base


async def prepared(services: Services, waits: Waits, task: Task, session: Session) -> Session:
    """The session with its workspace. May be repeated. A person's stop interrupts it; raises ``SetupFailed``."""
    executor = services.executors.agent(session.machine, session.login)
    if session.login:
        await waits.unless_stopped(own_login.lay_out(services, session), Doing.LOGIN)
    await _keep_fork(services, task, session)
    worktree = services.workspaces.prepare(
        executor,
        services.repositories(task.repo),
        session.base,
        session.outside(services.store.instance),
        work_of=task.forked.snapshot if task.forked else "",
    )
    session = replace(session, workspace=await waits.unless_stopped(worktree, Doing.WORKTREE))
    failpoint("workspace-prepared")
    await waits.unless_stopped(installing.install(services, task, session), Doing.INSTALL)
    return session


async def _keep_fork(services: Services, task: Task, session: Session) -> None:
    """Keeps what a fork begins with, until it has a snapshot of its own. Raises ``Refused`` when it is gone."""
    if task.forked is None:
        return
    repository, snapshot = services.repositories(task.repo), task.forked.snapshot
    if not await repository.has(snapshot):
        raise Refused(
            attempted=f"begin with the work of {task.forked.session}",
            cause=f"its snapshot {snapshot[:12]} is gone: somebody deleted that work",
        )
    await kept.keep(repository, session.outside(services.store.instance), snapshot, task.id)
