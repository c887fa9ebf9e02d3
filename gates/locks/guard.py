"""Implements ``fleet.ports.Locks``: where a task's locks are taken, and what follows when another task has them.

At the start, all that it declared or a place in line. At the edit, a brake: the agent is told who holds the file.
At the snapshot and at the landing, walls: what the controller's own diff says was changed is taken, all or nothing.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from datetime import UTC, datetime
from typing import Final

from fleet.agent_events import Allow, Asked, Deny, Ruling
from fleet.config import LocksConfig
from fleet.events import LocksRefused, Recorded, Refs, Source, TaskMoved
from fleet.git.repository import Repository
from fleet.locks import Blocked, Granted, Hold, HoldEnd, Lock, LockCause, LockRefusal, LocksWanted, Want
from fleet.model import AIRBOSS, ENDS, STOPPED_EARLY, Session, Task, TaskMode, TaskState
from fleet.store import boot, leases, ledger, locks, takeovers, tasks
from fleet.store.core import Precondition, Store, Tx
from fleet.store.locks import LockFence
from gates.locks import book
from gates.locks.book import Request
from gates.locks.line import Waiter
from gates.locks.overlap import conflict, glob
from gates.locks.rules import BaseRules, printable, wants_of
from gates.locks.service import LockService
from gates.rulings.permissions import inside

TTL_US: Final = 120_000_000
"""How long a task's locks last without a controller that renews them."""

_NAMED: Final = 5


class LockGuard:
    """One for a controller. ``wake`` is told of a task that may have got what it waits for."""

    def __init__(
        self,
        store: Store,
        service: LockService,
        repositories: Callable[[str], Repository],
    ) -> None:
        self._store, self._service, self._repositories = store, service, repositories
        self._waiting: dict[str, Waiter] = {}
        self._wake: Callable[[str], None] = lambda task: None
        self._rules = BaseRules(repositories)
        store.observe(self._observe)
        store.hear(self._heard)

    def wakes(self, wake: Callable[[str], None]) -> None:
        """Sets who is told, on the event loop, that a task may go on."""
        self._wake = wake

    # --- fleet.ports.Locks ------------------------------------------------------------------------------

    def waits(self, task: Task) -> str:
        """What a task that stands in line for its locks waits for; empty: it is its turn, or it was never told to
        wait."""
        waiter = self._waiting.get(task.id)
        if waiter is None or waiter.answer.done() or waiter.request.wants != task.locks:
            return ""
        return f"waiting for a lock: {said(waiter.blocked or Blocked(()))}"

    async def claim(self, task: Task) -> str:
        """Takes all that a task declared, or keeps its place in line: why it waits then, else empty."""
        waiter = self._waiting.get(task.id)
        if waiter is not None and waiter.request.wants != task.locks:
            self._forget(task.id)  # a person said to run it anyway
            waiter = None
        if not task.locks:
            return ""
        if waiter is None:
            request = self._request(task, task.locks, LockCause.DECLARED)
            waiter = await self._service.line_up(request, lambda: self._wake(task.id))
            self._waiting[task.id] = waiter
        if waiting := self.waits(task):
            return waiting
        self._forget(task.id)
        return ""

    async def edit(self, session: Session, task: Task, asked: Asked) -> Ruling:
        """Takes what the agent is about to edit: ``Allow``, or ``Deny`` with the holder's name."""
        paths = [path for name in asked.paths if (path := inside(name, session.workspace))]
        if task.mode is TaskMode.ASK or not paths:
            return Allow()
        rules = await self._rules.of(task.repo, session.base)
        if rules.mode == "declared" and (undeclared := _undeclared(task, paths)):
            return Deny(f"{undeclared[0]} was not declared for {task.id}: edit {_declared(task)}")
        wants = wants_of(task.repo, paths, rules)
        remembered = self._service.remembered
        if not remembered.knows(task.id):
            await self._remember(task)
        if remembered.covers(task.id, wants):
            return Allow()  # at once: neither the store nor git was asked
        paths = await self._rules.without_unions(task.repo, session.base, paths)
        wants = wants_of(task.repo, paths, rules)
        if not wants:
            return Allow()
        answer = await self._take(session, task, wants, LockCause.TOUCHED)
        if isinstance(answer, Granted):
            return Allow()
        return Deny(f"{said(answer)}. Leave it as it is, and work on other files.")

    async def changed(self, session: Session, task: Task, commit: str) -> LockRefusal | None:
        """Takes what a snapshot changed beyond what is held, or says why it may not count then."""
        paths = await self._paths(task, session.base, commit)
        rules = await self._rules.of(task.repo, session.base)
        if rules.mode == "declared" and (undeclared := _undeclared(task, paths)):
            return LockRefusal(f"{_some(undeclared)} was not declared; {task.id} may change {_declared(task)}")
        paths = await self._rules.without_unions(task.repo, session.base, paths)
        if not paths:
            return None
        answer = await self._take(session, task, wants_of(task.repo, paths, rules), LockCause.CHANGED)
        if isinstance(answer, Granted):
            return None
        over = bool(answer.by) and all(held.hold.end is not HoldEnd.NONE for held in answer.by)
        if over:  # one that lost its own lock meanwhile does not come in by a merge
            since_us = session.knows_until_us
            over = not await self._store.read(lambda tx: locks.taken_away(tx, task.id, since_us))
        return LockRefusal(said(answer), over)

    async def landing(self, task: Task, base: str, commit: str) -> Sequence[Precondition]:
        """What the intent to land must be written under. Raises ``LocksWanted`` while another holds some of it."""
        paths = await self._rules.without_unions(task.repo, base, await self._paths(task, base, commit))
        if not paths:
            return ()
        wants = (*wants_of(task.repo, paths, LocksConfig()), *task.locks)
        answer = await self._service.acquire(self._request(task, wants, LockCause.CHANGED))
        if isinstance(answer, Blocked):
            raise LocksWanted(said(answer))
        return (LockFence.of(answer),)

    # --- parts ------------------------------------------------------------------------------------------

    async def _take(
        self, session: Session, task: Task, wants: Sequence[Want], cause: LockCause
    ) -> Granted | Blocked:
        request = self._request(task, wants, cause, since_us=session.knows_until_us)
        answer = await self._service.acquire(request)
        if isinstance(answer, Blocked):
            met = [want for want in wants if any(conflict(want, held.lock) is not None for held in answer.by)]
            event = LocksRefused(
                holder=request.holder,
                resources=tuple(str(want.resource)[:500] for want in (met or wants)[:_NAMED]),
                by=answer.by[0].hold.holder if answer.by else answer.ahead,
                held=str(answer.by[0].lock.resource)[:500] if answer.by else "",
                cause=str(cause),
            )
            refs = Refs(task=task.id, session=session.id, machine=session.machine)
            await self._store.write(
                lambda tx: ledger.append(tx, event, actor=AIRBOSS, source=Source.CONTROLLER, refs=refs)
            )
        return answer

    async def _remember(self, task: Task) -> None:
        ends, now_us = self._service.remembered.ends, boot.now().us
        found = await self._store.read(lambda tx: _held(tx, task))
        if found is not None:
            hold, held, left_us = found
            self._service.remembered.keep(hold, held, until_us=now_us + left_us, ends=ends)

    def _request(self, task: Task, wants: Sequence[Want], cause: LockCause, since_us: int = 0) -> Request:
        return Request(task.id, tuple(wants), TTL_US, cause, task=task.id, had_since_us=since_us)

    async def _paths(self, task: Task, base: str, commit: str) -> list[str]:
        changes = await self._repositories(task.repo).changed_paths(base, commit)
        return sorted({path for change in changes for path in (change.path, change.old_path) if path})

    def _observe(self, tx: Tx, recorded: Recorded) -> None:
        if isinstance(recorded.event, TaskMoved) and TaskState(recorded.event.new) in ENDS:
            hold = locks.of_task(tx, recorded.refs.task)
            if hold is not None:
                book.release(tx, hold, HoldEnd.DONE)
                self._service.serve(tx)
            tx.after_commit(lambda: self._forget(recorded.refs.task))

    def _heard(self, recorded: Recorded) -> None:
        if isinstance(recorded.event, TaskMoved) and TaskState(recorded.event.new) in ENDS:
            self._forget(recorded.refs.task)

    def _forget(self, task: str) -> None:
        waiter = self._waiting.pop(task, None)
        if waiter is not None:
            self._service.leave(waiter)


def said(blocked: Blocked) -> str:
    """Who is in the way, for agents and people: what, by whom, since when, until when."""
    if not blocked.by:
        return f"{blocked.ahead or 'another task'} has waited longer for the same"
    first = blocked.by[0]
    more = f" (and {len(blocked.by) - 1} more)" if len(blocked.by) > 1 else ""
    since = _hour(first.lock.since_us)
    if first.hold.end is not HoldEnd.NONE:
        return f"{first.path} was changed by {first.hold.holder} after this task started{more}"
    return (
        f"{first.path} is locked by {first.hold.holder} ({first.lock.resource.name}) "
        f"since {since}, until {_hour(first.hold.expires_us)} unless renewed{more}"
    )


def _held(tx: Tx, task: Task) -> tuple[Hold, list[Lock], int] | None:
    """The task's hold, all of its locks, and how long they last; ``None`` when it holds nothing."""
    hold = locks.of_task(tx, task.id)
    left_us = leases.left_us(tx, hold.lease) if hold is not None else 0
    return (hold, locks.of_hold(tx, hold.id), left_us) if hold is not None and left_us else None


def _undeclared(task: Task, paths: Sequence[str]) -> list[str]:
    declared = [glob(want.resource.name) for want in task.locks if want.resource.repo == task.repo]
    return [path for path in paths if not any(pattern.covers(printable(path)) for pattern in declared)]


def _declared(task: Task) -> str:
    named = ", ".join(want.resource.name for want in task.locks if want.resource.repo == task.repo)
    return f"only {named}" if named else "nothing"


def _some(paths: Sequence[str]) -> str:
    return paths[0] if len(paths) == 1 else f"{paths[0]} (and {len(paths) - 1} more)"


def _hour(us: int) -> str:
    return datetime.fromtimestamp(us / 1_000_000, UTC).astimezone().strftime("%H:%M %Z")


def waits_since(tx: Tx, task: Task, session: Session | None) -> int:
    """Since when a task waits for a person or an unreachable machine, epoch microseconds; 0: it does not."""
    task = tasks.task(tx, task.id)
    if task.state in (TaskState.HELD, TaskState.ASKING, *STOPPED_EARLY):
        return task.updated_us if takeovers.current(tx, task.id) is None else 0  # somebody works on it by hand
    if task.state is TaskState.RUNNING and session is not None and session.seen_us:
        return session.seen_us
    return 0
