"""A turn's work as a commit that the controller makes."""

from __future__ import annotations

from fleet.events import SnapshotMadeV2
from fleet.flight import installing, prompts
from fleet.flight.services import Services
from fleet.flight.waits import Waits
from fleet.git import kept
from fleet.git.taking import Exceptions
from fleet.git.workspace import Snapshot
from fleet.landing.outcome import Doing
from fleet.model import Session, Task, Turn
from fleet.store import sessions
from fleet.store.core import Tx
from fleet.store.recording import record


async def take(services: Services, waits: Waits, task: Task, session: Session, turn: Turn) -> Snapshot:
    """As :func:`made`; a person's stop interrupts it."""
    return await waits.unless_stopped(made(services, task, session, turn), Doing.SNAPSHOT)


async def made(services: Services, task: Task, session: Session, turn: Turn) -> Snapshot:
    """Commits the current content of the worktree. A ref of ours keeps the commit until the work lands or a person
    deletes it. Raises ``Refused`` when a limit or rule forbids it."""
    repository, instance = services.repositories(task.repo), services.store.instance
    snapshot = await services.workspaces.snapshot(
        services.executors.agent(session.machine, session.login),
        repository,
        session.base,
        session.workspace,
        prompts.commit_message(task, session, turn, instance),
        (turn.ended_us or turn.started_us) // 1_000_000,
        await exceptions(services, session, task.repo),
    )
    if not snapshot.empty:
        await kept.keep(repository, session.outside(instance), snapshot.commit, task.id)
    return snapshot


async def words_for(services: Services, session: Session, snapshot: Snapshot) -> str:
    """What its agent should read of this snapshot before anything comes of it; empty: nothing.

    It is told once what it did to submodules, and once that its work is not in its worktree."""
    if not snapshot.told and not snapshot.elsewhere:
        return ""
    found = await services.store.read(lambda tx: [turn.prompt for turn in sessions.turns(tx, session.id)])
    if snapshot.told and not any(map(prompts.is_about_submodules, found)):
        return prompts.submodules(snapshot.told)
    if snapshot.elsewhere and not any(map(prompts.is_about_elsewhere, found)):
        return prompts.elsewhere(snapshot.elsewhere)
    return ""


async def exceptions(services: Services, session: Session, repo: str) -> Exceptions:
    """What ``fleet.toml`` wants otherwise for this repository, and what setups made."""
    config = services.config().repos.get(repo)
    if config is None:
        return Exceptions()
    setups = await installing.setups_of(services, session, repo)
    made_by_setups = tuple(path for setup in setups for path in setup.provides)
    return Exceptions(kept_out=tuple(config.files), raw_filters=tuple(config.raw_filters), made=made_by_setups)


def note(tx: Tx, session: Session, turn: Turn, snapshot: Snapshot) -> None:
    """Part of the transaction that acts on the snapshot."""
    sessions.update_turn(tx, turn.id, snapshot=snapshot.commit, tree=snapshot.tree)
    made = SnapshotMadeV2(
        snapshot.commit,
        snapshot.tree,
        session.base,
        snapshot.files,
        snapshot.insertions,
        snapshot.deletions,
        snapshot.left_out,
    )
    record(tx, made, session, turn=turn.id)
