"""Completes the move of a session onto a newer base: recorded before, so it can be done again at any point."""

from __future__ import annotations

from fleet.events import SnapshotMadeV2
from fleet.failpoints import failpoint
from fleet.flight import snapshots
from fleet.flight.services import Services
from fleet.git import kept
from fleet.git.moving import Move
from fleet.model import Session, Task
from fleet.store import merges, sessions
from fleet.store.core import Tx
from fleet.store.recording import record
from fleet.store.states import MergeState


async def complete(services: Services, task: Task, session: Session) -> Session:
    """The session, on its newer base if a move was recorded. Raises ``Unavailable`` when it cannot be done now."""
    merge = await services.store.read(lambda tx: merges.pending(tx, session.id))
    if merge is None or merge.state is not MergeState.RECORDED:
        return session
    repository = services.repositories(task.repo)
    without = await snapshots.exceptions(services, session, task.repo)
    move = Move(merge.snapshot, merge.commit, merge.base, without.kept_out)
    executor = services.executors.agent(session.machine, session.login)
    await services.workspaces.move(executor, repository, session.workspace, move)
    failpoint("worktree-moved")
    await kept.keep(repository, session.outside(services.store.instance), merge.commit, task.id)
    stat = await repository.shortstat(merge.base, merge.commit)

    def work(tx: Tx) -> Session:
        turn = sessions.turns(tx, session.id)[-1]
        moved = merges.moved(tx, merge, turn)
        sizes = (stat.files, stat.insertions, stat.deletions)
        record(tx, SnapshotMadeV2(merge.commit, merge.tree, merge.base, *sizes, ()), moved, turn=turn.id)
        return moved

    session = await services.store.write(work)
    failpoint("merge-settled")
    return session
