"""Lands a passed snapshot on the base branch: merge, judge the merge, compare and swap.

One change at a time lands in a repository (a lease). Every attempt is an intent row before it touches the ref, and
an interrupted attempt is settled by reading the ref.
"""

from __future__ import annotations

import logging
from collections.abc import AsyncIterator, Awaitable, Callable, Coroutine, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass
from typing import Any, Final, Protocol, TypeVar

from fleet.errors import Refused, StoreUnavailable, Unavailable
from fleet.events import FencedBy, LandingDoneV2, LandingIntended, LandingMissed
from fleet.failpoints import failpoint
from fleet.git import merging
from fleet.git.merging import MergeResult
from fleet.git.repository import Repository
from fleet.landing import messages
from fleet.landing.base_branch import BaseBranch, Moved
from fleet.landing.fence_hook import FenceToken
from fleet.landing.queue import LandingQueue
from fleet.landing.rewritten import conflict, hold, is_rewritten
from fleet.landing.task_branch import TaskBranch
from fleet.model import LandingMode, Session, Task, Turn
from fleet.ports import Candidate, Clock, Locks
from fleet.store import landings, leases, overrides, sessions, tasks
from fleet.store.core import Precondition, Store, Tx
from fleet.store.landings import Intent, IntentOutcome
from fleet.store.leases import Lease
from fleet.store.recording import record
from fleet.supervise import alongside, first
from fleet.verdict import Verdict

T = TypeVar("T")

_log = logging.getLogger(__name__)

_TTL_US: Final = 60_000_000
_RENEW_S: Final = 20.0
_RENEW_AGAIN_S: Final = 1.0
_TRIES: Final = 8

Judge = Callable[[Candidate], Awaitable[Verdict]]
Stands = Callable[[Candidate], Awaitable[bool]]


class Interruptible(Protocol):
    """Runs work that a person's stop may interrupt; the exception it then raises is not caught here."""

    def __call__(self, work: Coroutine[Any, Any, T], what: str, /) -> Coroutine[Any, Any, T]: ...


@dataclass(frozen=True, slots=True)
class Landed:
    """A branch contains the change, and the ledger says so. ``ref``: the base branch, or the task's own."""

    ref: str


@dataclass(frozen=True, slots=True)
class NewerBase:
    """A commit of the base branch that the session has not seen. ``looked_us``: when it was looked up."""

    commit: str
    looked_us: int


@dataclass(frozen=True, slots=True)
class Judged:
    """The merge was judged and did not pass.

    ``onto`` is what the change was merged with; ``None``: its own base, or a branch that was rewritten.
    """

    verdict: Verdict
    onto: NewerBase | None


@dataclass(frozen=True, slots=True)
class Conflicting:
    """The change does not merge with ``onto``: these files differ on both sides."""

    onto: NewerBase
    paths: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Interrupted:
    """A person stopped the task or sent a message before the base branch was touched."""


LandingOutcome = Landed | Judged | Conflicting | Interrupted


@dataclass(frozen=True, slots=True)
class ChangeToLand:
    """The change to land: the snapshot of ``turn``."""

    task: Task
    session: Session
    turn: Turn


@dataclass(frozen=True, slots=True)
class LandingContext:
    """Where it lands, and what the landing needs. ``holder`` names this controller in leases; ``stands``: whether a
    verdict is still one by the gates that are required."""

    store: Store
    repository: Repository
    base_branch: BaseBranch
    queue: LandingQueue
    clock: Clock
    locks: Locks
    holder: str
    stands: Stands
    mode: LandingMode = LandingMode.MERGE


class LandingAttempt:
    """The landing of one snapshot. ``judge`` gives the verdict on a merge."""

    def __init__(self, context: LandingContext, change: ChangeToLand, judge: Judge) -> None:
        self._context, self._change, self._judge = context, change, judge
        self._store, self._repository = context.store, context.repository
        self._task, self._session, self._turn = change.task, change.session, change.turn
        self._own = TaskBranch(self._repository, self._task.id)

    async def land(self, interruptible: Interruptible) -> LandingOutcome:
        """Waits for its turn, then lands. Until the intent is committed, waits run through ``interruptible``.

        Raises ``Refused`` on a conflict with a rewritten branch, ``Unavailable`` when the branch keeps moving,
        ``LeaseLost`` when the lease passed to another holder, ``LocksWanted`` while another task holds some of what
        it changes.
        """
        async with AsyncExitStack() as stack:
            turn = stack.enter_context(self._context.queue.place(self._task.repo))
            await interruptible(turn.wait(), "wait for its turn to land")
            lease = await stack.enter_async_context(self._lease())
            renewing = await stack.enter_async_context(alongside(self._renew(lease), f"renew {lease.name}"))
            landing = await stack.enter_async_context(
                alongside(self._land(lease, interruptible), f"land {self._task.id}")
            )
            await first(landing, renewing)
            if not landing.done():
                await renewing  # it only ends by raising
            return await landing

    async def _land(self, lease: Lease, interruptible: Interruptible) -> LandingOutcome:
        if (settled := await self._settle_earlier_intents(lease)) is not None:
            return settled
        for round_ in range(2, 2 + _TRIES):
            looked_us = await self._store.read(lambda tx: tx.now_us())
            current = await interruptible(self._repository.fetch(), "fetch the base")
            moved = await is_rewritten(self._repository, self._session.base, current)
            onto = None if moved or current == self._session.base else NewerBase(current, looked_us)
            own = self._context.mode is LandingMode.BRANCH
            base = self._session.base if own and not moved else current
            merging_ = self._carried(current) if moved else self._merged(base)
            merged = await interruptible(merging_, "merge onto the base")
            if isinstance(merged, MergeResult):
                return await self._conflict(merged, current, onto)
            commit, tree = merged
            ref = self._own.ref if own else self._repository.ref
            as_judged = commit == self._turn.snapshot
            candidate = Candidate(
                self._task, self._session, self._turn, commit, tree, base, 1 if as_judged else round_
            )
            if not as_judged or not await self._context.stands(candidate):
                verdict = await self._judge(candidate)
                if moved:
                    verdict = await hold(self._store, self._repository, self._session, current, verdict)
                if not verdict.outcome.opens:
                    return Judged(verdict, onto)
            held = await self._context.locks.landing(self._task, base, commit)
            intent = await self._intend(lease, held, (ref, base, commit, tree))
            if intent is None:
                return Interrupted()
            failpoint("landing-intended")
            if await self._swap(intent, lease):
                return Landed(intent.ref)
        raise Unavailable(
            attempted="land the change",
            on=f"{self._repository.base} of {self._task.repo}",
            cause=f"the branch moved {_TRIES} times while the merge was judged",
            hint="/retry when fewer changes land.",
        )

    async def _merged(self, current: str) -> tuple[str, str] | MergeResult:
        """The commit to land on ``current``, and its tree: the snapshot itself if the branch did not move."""
        snapshot = self._turn.snapshot
        if current == self._session.base:
            return snapshot, self._turn.tree
        merged = await merging.merge(self._repository, current, snapshot)
        if merged.conflicts:
            return merged
        tree = merged.tree
        message = messages.merge_message(self._task, self._repository.base, snapshot)
        when = self._turn.ended_us // 1_000_000
        return await merging.merge_commit(self._repository, tree, current, snapshot, message, when), tree

    async def _carried(self, current: str) -> tuple[str, str] | MergeResult:
        """The change alone as a commit on a rewritten branch, with nothing of the recorded base's history."""
        snapshot, base = self._turn.snapshot, self._session.base
        merged = await merging.carry(self._repository, base, current, snapshot)
        if merged.conflicts:
            return merged
        message = await merging.message_of(self._repository, snapshot)
        when = self._turn.ended_us // 1_000_000
        return await self._repository.commit_tree(merged.tree, (current,), message, when), merged.tree

    async def _conflict(self, merged: MergeResult, current: str, onto: NewerBase | None) -> Conflicting:
        """For its agent, but not on a rewritten branch: the worktree has the history that was removed."""
        if onto is None:
            cause = await conflict(self._repository, self._session.base, current, merged.conflicts)
            raise Refused(attempted="land the change", on=self._task.id, cause=cause)
        return Conflicting(onto, merged.conflicts)

    async def _intend(
        self, lease: Lease, held: Sequence[Precondition], planned: tuple[str, str, str, str]
    ) -> Intent | None:
        """Commits the intent: from here on the change may land, whatever a person does. ``planned``: the ref, from
        which commit to which, with which tree."""
        ref, old, new, tree = planned

        def work(tx: Tx) -> Intent | None:
            leases.check(tx, lease.fence)
            if tasks.stop_requested(tx, self._task.id) or sessions.words_wait(tx, self._task.id):
                return None
            overrides.demand_unexpired(tx, self._task)
            event = LandingIntended(ref, old, new, tree, lease.token)
            record(tx, event, self._session, turn=self._turn.id)
            return landings.intend(
                tx,
                lease.fence,
                repo=self._task.repo,
                ref=ref,
                old=old,
                new=new,
                tree=tree,
                task=self._task.id,
            )

        return await self._store.write(work, under=held)

    async def _swap(self, intent: Intent, lease: Lease) -> bool:
        token = FenceToken(self._store.instance, intent.repo, lease.token)
        swapped = await self._branch(intent).swap(intent.old, intent.new, token)
        failpoint("landing-swapped")
        if isinstance(swapped, Moved):
            await self._missed(intent, swapped.found)
            if intent.ref == self._own.ref:
                raise self._own.taken(swapped.found)
            return False
        await self._done(intent, swapped.fenced_by)
        return True

    def _branch(self, intent: Intent) -> BaseBranch | TaskBranch:
        """The branch that an intent is about, whatever the mode is by now."""
        return self._own if intent.ref == self._own.ref else self._context.base_branch

    async def _settle_earlier_intents(self, lease: Lease) -> Landed | None:
        """After a crash between intent and record, reads from the ref whether the swap happened.

        Where the branch has not moved, the swap may still be on its way: nothing takes back a push that a frozen or
        killed controller began. So it is done, not given up, and comes out the same whoever is first.
        """
        mine = await self._store.read(lambda tx: landings.of_task(tx, self._task.id))
        for intent in mine:
            if intent.outcome is IntentOutcome.DONE:
                return Landed(intent.ref)
            if intent.outcome is not IntentOutcome.OPEN:
                continue
            branch = self._branch(intent)
            found = await branch.current()
            if await branch.follows(intent.new, found):
                await self._done(intent, FencedBy.BASE_SHA)
                return Landed(intent.ref)
            if found in ("", intent.old):
                await self._context.locks.landing(self._task, intent.old, intent.new)
                if await self._swap(intent, lease):
                    return Landed(intent.ref)
                continue
            await self._missed(intent, found)
        return None

    async def _done(self, intent: Intent, fenced_by: FencedBy) -> None:
        def work(tx: Tx) -> None:
            landings.finish(tx, intent.id, IntentOutcome.DONE)
            event = LandingDoneV2(intent.ref, intent.old, intent.new, intent.tree, intent.token, str(fenced_by))
            record(tx, event, self._session, turn=self._turn.id)

        await self._store.write(work)
        failpoint("landing-done")

    async def _missed(self, intent: Intent, found: str) -> None:
        def work(tx: Tx) -> None:
            landings.finish(tx, intent.id, IntentOutcome.MISSED)
            event = LandingMissed(intent.ref, intent.old, found, "the branch is not at the expected commit")
            record(tx, event, self._session, turn=self._turn.id)

        await self._store.write(work)

    @asynccontextmanager
    async def _lease(self) -> AsyncIterator[Lease]:
        """Holds the repository's landing lease for the block.

        Taking it is safe: this task's turn has come in this controller, and the token fences off an earlier
        controller, or a landing that could not release it.
        """
        name, holder = f"landing:{self._task.repo}", f"{self._context.holder}/{self._task.id}"
        lease = await self._store.write(lambda tx: leases.seize(tx, name, holder, _TTL_US))
        try:
            yield lease
        finally:
            try:
                await self._store.write(lambda tx: leases.release(tx, lease))
            except StoreUnavailable as error:
                _log.warning("%s was not released; the next landing seizes it: %s", name, error)

    async def _renew(self, lease: Lease) -> None:
        """Renews until cancelled, waiting while the store is unavailable. Raises ``LeaseLost``."""
        pause = _RENEW_S
        while True:
            await self._context.clock.sleep(pause)
            try:
                await self._store.write(lambda tx: leases.renew(tx, lease, _TTL_US))
                pause = _RENEW_S
            except StoreUnavailable as error:
                _log.warning("%s was not renewed: %s", lease.name, error)
                pause = _RENEW_AGAIN_S
