"""Implements ``fleet.ports.Locks``: where a task's locks are taken, and what follows when another task has them.

At the start, all that it declared or a place in line. At the edit, a brake: the agent is told who holds the file.
At the snapshot and at the landing, walls: what the controller's own diff says was changed is taken, all or nothing.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from datetime import UTC, datetime
from typing import Final

from fleet.agent_events import Allow, Asked, Deny, Ruling
from fleet.config import LocksConfig, RepoFile, parse_repo_file
from fleet.events import LocksRefused, Recorded, Refs, Source, TaskMoved
from fleet.git import merging
from fleet.git.repository import Repository
from fleet.globs import Glob
from fleet.locks import Blocked, Granted, Hold, HoldEnd, Lock, LockCause, LockRefusal, LocksWanted, Resource, Want
from fleet.model import AIRBOSS, ENDS, STOPPED_EARLY, Session, Task, TaskMode, TaskState
from fleet.store import boot, leases, ledger, locks, tasks
from fleet.store.core import Precondition, Store, Tx
from fleet.store.locks import LockFence
from gates.locks import book
from gates.locks.book import Request
from gates.locks.overlap import glob
from gates.locks.service import LockService, Waiter
from gates.rulings.permissions import inside
from gates.runs.definitions import REPO_FILE

TTL_US: Final = 120_000_000
"""How long a task's locks last without a controller that renews them."""

_NAMED: Final = 5
_RULES_KEPT: Final = 64


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
        self._merge_rules: dict[tuple[str, str], Mapping[str, bytes]] = {}
        self._wake: Callable[[str], None] = lambda task: None
        self._rules: dict[tuple[str, str], LocksConfig] = {}
        store.observe(self._observe)

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
        rules = await self._of_base(task, session)
        wants = _wants(task.repo, paths, rules)
        remembered = self._service.remembered
        if not remembered.knows(task.id):
            await self._remember(task)
        if remembered.covers(task.id, wants):
            return Allow()  # at once: neither the store nor git was asked
        paths = await self._without_unions(task, session.base, paths)
        wants = _wants(task.repo, paths, rules)
        if not wants:
            return Allow()
        if rules.mode == "declared" and (undeclared := _undeclared(task, paths)):
            return Deny(f"{undeclared[0]} was not declared for {task.id}: edit only {_declared(task)}")
        answer = await self._take(session, task, wants, LockCause.TOUCHED)
        if isinstance(answer, Granted):
            return Allow()
        return Deny(f"{said(answer)}. Leave it as it is, and work on other files.")

    async def changed(self, session: Session, task: Task, commit: str) -> LockRefusal | None:
        """Takes what a snapshot changed beyond what is held, or says why it may not count then."""
        paths = await self._paths(task, session.base, commit)
        rules = await self._of_base(task, session)
        if rules.mode == "declared" and (undeclared := _undeclared(task, paths)):
            return LockRefusal(f"{_some(undeclared)} was not declared; {task.id} may change only {_declared(task)}")
        paths = await self._without_unions(task, session.base, paths)
        if not paths:
            return None
        answer = await self._take(session, task, _wants(task.repo, paths, rules), LockCause.CHANGED)
        if isinstance(answer, Granted):
            return None
        over = bool(answer.by) and all(held.hold.end is not HoldEnd.NONE for held in answer.by)
        if over:  # one that lost its own lock meanwhile does not come in by a merge
            since_us = session.knows_until_us
            over = not await self._store.read(lambda tx: locks.taken_away(tx, task.id, since_us))
        return LockRefusal(said(answer), over)

    async def landing(self, task: Task, base: str, commit: str) -> Sequence[Precondition]:
        """What the intent to land must be written under. Raises ``LocksWanted`` while another holds some of it."""
        paths = await self._without_unions(task, base, await self._paths(task, base, commit))
        if not paths:
            return ()
        wants = (*_wants(task.repo, paths, LocksConfig()), *task.locks)
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
            event = LocksRefused(
                holder=request.holder,
                resources=tuple(str(want.resource)[:500] for want in wants[:_NAMED]),
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

    async def _without_unions(self, task: Task, base: str, paths: list[str]) -> list[str]:
        """The paths that need a lock: not those of which the base says that git keeps the lines of both sides."""
        repository = self._repositories(task.repo)
        key = (task.repo, base)
        if key not in self._merge_rules:
            if len(self._merge_rules) >= _RULES_KEPT:
                self._merge_rules.clear()
            self._merge_rules[key] = await merging.attributes(repository, base)
        unions = await merging.unions(repository, self._merge_rules[key], paths)
        return [path for path in paths if path not in unions]

    async def _of_base(self, task: Task, session: Session) -> LocksConfig:
        """The rules of the repository, as the commit has them that the session started from."""
        key = (task.repo, session.base)
        if key not in self._rules:
            found = await self._repositories(task.repo).show(session.base, REPO_FILE)
            if len(self._rules) >= _RULES_KEPT:
                self._rules.clear()
            self._rules[key] = _rules(found, f"{REPO_FILE} of {task.repo}")
        return self._rules[key]

    def _observe(self, tx: Tx, recorded: Recorded) -> None:
        if isinstance(recorded.event, TaskMoved) and TaskState(recorded.event.new) in ENDS:
            hold = locks.of_task(tx, recorded.refs.task)
            if hold is not None:
                book.release(tx, hold, HoldEnd.DONE)
                self._service.serve(tx)
            tx.after_commit(lambda: self._forget(recorded.refs.task))

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


def _rules(found: bytes | None, where: str) -> LocksConfig:
    return RepoFile().locks if found is None else parse_repo_file(found, where).locks


def _wants(repo: str, paths: Sequence[str], rules: LocksConfig) -> tuple[Want, ...]:
    """A lock for each path, and with it all of a group that the path belongs to."""
    wants = [Want(Resource(Glob.path(_printable(path)).text, repo)) for path in paths]
    for group in rules.groups.values():
        if any(glob(pattern).covers(_printable(path)) for pattern in group for path in paths):
            wants += [Want(Resource(pattern, repo)) for pattern in group]
    return tuple(dict.fromkeys(wants))


def _held(tx: Tx, task: Task) -> tuple[Hold, list[Lock], int] | None:
    """The task's hold, all of its locks, and how long they last; ``None`` when it holds nothing."""
    hold = locks.of_task(tx, task.id)
    left_us = leases.left_us(tx, hold.lease) if hold is not None else 0
    return (hold, locks.of_hold(tx, hold.id), left_us) if hold is not None and left_us else None


def _undeclared(task: Task, paths: Sequence[str]) -> list[str]:
    declared = [glob(want.resource.name) for want in task.locks if want.resource.repo]
    return [path for path in paths if not any(pattern.covers(_printable(path)) for pattern in declared)]


def _declared(task: Task) -> str:
    return ", ".join(want.resource.name for want in task.locks if want.resource.repo) or "nothing"


def _some(paths: Sequence[str]) -> str:
    return paths[0] if len(paths) == 1 else f"{paths[0]} (and {len(paths) - 1} more)"


def _printable(path: str) -> str:
    """A path whose bytes are no UTF-8, in letters: the store keeps text."""
    return path.encode("utf-8", "surrogateescape").decode("utf-8", "backslashreplace")


def _hour(us: int) -> str:
    return datetime.fromtimestamp(us / 1_000_000, UTC).astimezone().strftime("%H:%M")


def waits_since(tx: Tx, task: Task, session: Session | None) -> int:
    """Since when a task waits for a person or an unreachable machine, epoch microseconds; 0: it does not."""
    task = tasks.task(tx, task.id)
    if task.state in (TaskState.HELD, TaskState.ASKING, *STOPPED_EARLY):
        return task.updated_us
    if task.state is TaskState.RUNNING and session is not None and session.seen_us:
        return session.seen_us
    return 0
