"""Keeps the work of tasks that did not land, and frees the disk of worktrees whose work is safe.

A worktree is safe when the controller has all of it: a snapshot whose ref is in the controller's mirror, and whose
tree equals the worktree's tree now. What cannot be read, or has changed since, is not safe, and stays.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable
from functools import partial
from typing import Final

from fleet.config.values import duration_us
from fleet.errors import AirbossError, LeadershipLost, LeaseLost, Misused, Refused, StoreUnavailable, Unavailable
from fleet.events import TreeDecision
from fleet.failpoints import failpoint
from fleet.flight import attachments, installing, moving, own_login, snapshots, surroundings
from fleet.flight.moves import demand_login
from fleet.flight.services import Services
from fleet.git import kept
from fleet.machines.watch import MachineState
from fleet.model import AIRBOSS, Session, Task
from fleet.ports import Clock
from fleet.store import left_running, pool_slots, sessions, tasks, trees
from fleet.store.core import Tx
from fleet.store.left_running import LeftRunning
from fleet.store.states import TreeState
from fleet.store.trees import TreeRow, Unlanded
from fleet.supervise import first

_log = logging.getLogger(__name__)

_EVERY_S: Final = 3600.0
_LEFT_S: Final = 30.0
_OURS: Final = (StoreUnavailable, LeaseLost, LeadershipLost)


def ref_of(services: Services, session: Session) -> str:
    """The name of the ref that keeps a session's newest snapshot."""
    return session.outside(services.store.instance)


async def save(services: Services, task: Task, session: Session, *, anew: bool = False) -> None:
    """Takes a snapshot of what the last turn left, unless there is one. ``anew``: of the worktree as it is now.

    A move onto a newer base that was begun is completed first. Raises ``Refused`` or ``Unavailable`` when the
    worktree cannot be taken or read.
    """
    session = await moving.complete(services, task, session)
    found = await services.store.read(lambda tx: sessions.turns(tx, session.id))
    if not found or not session.workspace or (found[-1].snapshot and not anew):
        return
    turn = found[-1]
    snapshot = await snapshots.made(services, task, session, turn)

    def work(tx: Tx) -> None:
        row = trees.of(tx, session)
        if snapshot.empty and not snapshot.elsewhere:
            trees.put(tx, TreeRow(session.id, TreeState.EMPTY, AIRBOSS, row.kept_us))
        elif not snapshot.empty and snapshot.commit != turn.snapshot:
            snapshots.note(tx, session, turn, snapshot)

    await services.store.write(work)


async def restore(services: Services, task: Task, session: Session) -> None:
    """Makes a reclaimed worktree anew from its snapshot; does nothing for one that is there.

    Raises ``NoSlot`` while another task has its login.
    """
    row, saved = await services.store.read(
        lambda tx: (trees.of(tx, session), trees.newest(sessions.turns(tx, session.id)))
    )
    if row.state is not TreeState.RECLAIMED:
        return
    executor = services.executors.agent(session.machine, session.login)
    repository, name = services.repositories(task.repo), ref_of(services, session)
    if session.login:
        await services.store.read(lambda tx: demand_login(tx, session))
        await own_login.lay_out(services, session)
    await services.workspaces.discard(executor, session.workspace)
    work_of = saved.snapshot if saved else ""
    await services.workspaces.prepare(executor, repository, session.base, name, work_of=work_of)
    await installing.install(services, task, session)
    failpoint("tree-restored")
    back = TreeRow(session.id, TreeState.HERE, row.decided_by, row.kept_us)
    await services.store.write(lambda tx: trees.put(tx, back))


async def is_safe(services: Services, tree: Unlanded) -> bool:
    """Whether the controller has all that is in the worktree now. Raises when it cannot be read."""
    session, repository = tree.session, services.repositories(tree.task.repo)
    held = session.base
    if tree.saved is not None:
        held, name = tree.saved.snapshot, ref_of(services, session)
        if await kept.kept(repository, name) != held:
            if not await repository.has(held):
                return False
            await kept.keep(repository, name, held, tree.task.id)  # of a version that kept no refs
    executor = services.executors.agent(session.machine, session.login)
    without = await snapshots.exceptions(services, session, tree.task.repo)
    now = await services.workspaces.tree_now(executor, repository, session.base, session.workspace, without)
    return now == await repository.tree_of(held)


async def remove(services: Services, tree: Unlanded) -> None:
    """Removes what was decided. Safe to repeat after a crash at any point."""
    session, deleting = tree.session, tree.row.state is TreeState.DELETING
    if not await services.store.read(lambda tx: pool_slots.is_gone(tx, session.machine)):
        executor = services.executors.agent(session.machine, session.login)
        await services.workspaces.discard(executor, session.workspace)
        if deleting:
            await executor.remove_tree(surroundings.room_of(services.store, session))
            await executor.remove_tree(attachments.inbox_of(services.store, session))
    if deleting:
        await kept.release(services.repositories(tree.task.repo), ref_of(services, session))
    failpoint("tree-removed")
    await services.store.write(lambda tx: trees.settle(tx, tree))


async def reclaim_at_end(services: Services, session: Session) -> None:
    """A login's next task gets the login as if it were new: what is safe of this one's is reclaimed at its end."""
    tree = await services.store.read(lambda tx: trees.of_session(tx, session))
    if tree.row.state is TreeState.HERE and await is_safe(services, tree):
        await services.store.write(lambda tx: trees.reclaim(tx, tree))
        await remove(services, await services.store.read(lambda tx: trees.of_session(tx, session)))


def _left_running(tx: Tx) -> list[tuple[LeftRunning, Session, bool]]:
    """What closed sessions left running, and whether it needs no end: its agent goes on in the process itself, or
    its machine was a slot of a pool that is no more."""
    return [
        (left, session, left_running.goes_on(left, session) or pool_slots.is_gone(tx, session.machine))
        for left, session in left_running.every(tx)
    ]


class Keeper:
    """Reclaims worktrees after ``workspace_retention``, and does what people decided about unlanded work."""

    def __init__(self, services: Services, clock: Clock) -> None:
        self._services, self._clock = services, clock
        self._woken = asyncio.Event()
        self._one = asyncio.Lock()

    def wake(self) -> None:
        """A person decided something. Called on the event loop, after the commit."""
        self._woken.set()

    async def run(self) -> None:
        """Until cancelled."""
        due = 0
        while True:
            self._woken.clear()
            now = self._clock.now_us()
            await self.finish()
            await self.end_left()
            if now >= due:
                await self.look()
                due = now + int(_EVERY_S * 1_000_000)
            await first(self._woken.wait(), self._clock.sleep(min((due - now) / 1_000_000, _LEFT_S)))

    async def look(self) -> None:
        """Saves what has no snapshot yet, and reclaims what ended long enough ago."""
        services = self._services
        age_us = duration_us(services.config().limits.workspace_retention)
        async with self._one:
            before = self._clock.now_us()
            found = await services.store.read(lambda tx: trees.closed_worktrees(tx, before))
            await self._each(found, self._save)
            old = await services.store.read(lambda tx: trees.closed_worktrees(tx, before - age_us))
            await self._each(old, self._reclaim)
        await self._forget_spools()

    async def _forget_spools(self) -> None:
        """Removes what processes wrote that ended long ago; a machine that is away is cleaned when it is back."""
        services, config = self._services, self._services.config()
        older_than_us = config.limits.spool_retention_days * 86_400_000_000
        for name, machine in config.machines.items():
            keep = await services.store.read(partial(trees.needed_pipes, machine=name))
            logins = [services.executors.agent(name, login) for login in machine.agent_logins]
            if machine.runs_gates(config.isolation):
                logins += [services.executors.gate(name, login) for login in machine.gates_alone]
            for login in logins:
                try:
                    await login.forget(older_than_us, keep)
                except (Misused, Refused, Unavailable) as error:
                    _log.info("old output stays on %s: %s", name, error)

    async def reclaim_all(self, machine: str) -> None:
        """The disk of a machine is almost full: reclaims every worktree there whose work is safe."""
        async with self._one:
            found = await self._services.store.read(lambda tx: trees.closed_worktrees(tx, tx.now_us(), machine))
            await self._each(found, self._save)
            await self._each(found, self._reclaim)

    async def save_now(self, task_id: str) -> None:
        """Saves a task's work as it is now. Raises ``Refused`` and ``Unavailable``."""
        tree = await self._services.store.read(lambda tx: trees.of_task(tx, tasks.task(tx, task_id)))
        if tree.in_worktree and tree.session.ended_us:
            await save(self._services, tree.task, tree.session, anew=True)

    async def end_left(self) -> None:
        """Ends what closed sessions left running on machines that were away and answer again."""
        services = self._services
        async with self._one:
            for left, session, needs_none in await services.store.read(_left_running):
                if needs_none:
                    await services.store.write(partial(left_running.forget, left=left))
                elif not self._away(session.machine):
                    await self._end(left, session)
                elif left.ending:
                    await services.store.write(partial(left_running.put_off, left=left))

    async def _end(self, left: LeftRunning, session: Session) -> None:
        services = self._services
        if not await services.store.write(partial(left_running.begin, left=left)):
            return  # a person has just opened its session again
        try:
            await services.executors.agent(session.machine, session.login).stop(left.pipe)
        except _OURS:
            raise
        except AirbossError as error:
            _log.info("the %s of %s may still run: %s", left.kind, session.id, error)
            await services.store.write(partial(left_running.put_off, left=left))
        else:
            await services.store.write(partial(left_running.ended, left=left))

    def _away(self, machine: str) -> bool:
        seen = self._services.machines_seen.get(machine)
        return seen is not None and seen.state in (MachineState.AWAY, MachineState.UNUSABLE)

    async def finish(self) -> None:
        """Does the removals that are decided. What cannot be done now is tried again in the next round."""
        async with self._one:
            going = await self._services.store.read(trees.going)
            await self._each(going, lambda tree: remove(self._services, tree))

    async def _each(self, found: list[Unlanded], work: Callable[[Unlanded], Awaitable[None]]) -> None:
        away: set[str] = set()
        for tree in found:
            if tree.session.machine in away:
                continue
            try:
                await work(tree)
            except _OURS:
                raise
            except Unavailable as error:
                away.add(tree.session.machine)
                _log.info("the work of %s stays as it is: %s", tree.task.id, error)
            except AirbossError as error:
                _log.info("the work of %s stays as it is: %s", tree.task.id, error)

    async def _save(self, tree: Unlanded) -> None:
        if tree.row.state is TreeState.HERE:
            await save(self._services, tree.task, tree.session)
            if tree.saved is not None:  # by a version that shared no commits
                repository = self._services.repositories(tree.task.repo)
                await repository.share(tree.saved.snapshot, tree.task.id)

    async def _reclaim(self, tree: Unlanded) -> None:
        services, session = self._services, tree.session
        tree = await services.store.read(lambda tx: trees.of_session(tx, session))
        if tree.in_worktree and await is_safe(services, tree):
            await services.store.write(lambda tx: trees.decide(tx, tree, TreeDecision.RECLAIM, AIRBOSS))
            failpoint("tree-decided")
            await remove(services, await services.store.read(lambda tx: trees.of_session(tx, session)))
