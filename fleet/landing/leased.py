"""Moves a branch to what was judged: one landing of a repository at a time, under a lease.

Every attempt is an intent row before it touches the ref, and an interrupted attempt is settled by reading the ref.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
from collections.abc import AsyncIterator, Callable, Coroutine, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from typing import Any, Final, TypeVar

from fleet.errors import Refused, StoreUnavailable, Unavailable
from fleet.events import FencedBy, LandingDoneV2, LandingIntended, LandingMissed
from fleet.failpoints import failpoint
from fleet.landing.base_branch import BaseBranch, Moved
from fleet.landing.fence_hook import FenceToken
from fleet.landing.outcome import ChangeToLand, Doing, Interrupted, Interruptible, Landed, LandingContext
from fleet.landing.task_branch import TaskBranch
from fleet.one_controller import between_controllers
from fleet.ports import Candidate
from fleet.store import base_tips, landing_line, landings, leases, overrides, sessions, tasks, verdicts
from fleet.store.base_tips import BaseTip
from fleet.store.core import Precondition, Tx
from fleet.store.landings import Intent, IntentOutcome
from fleet.store.leases import Lease
from fleet.store.recording import record
from fleet.supervise import alongside, first

T = TypeVar("T")

_log = logging.getLogger(__name__)

_TTL_US: Final = 60_000_000
_RENEW_S: Final = 20.0
_RENEW_AGAIN_S: Final = 1.0
_PATIENCE_S: Final = 20.0


class LeasedLanding:
    """The part of one change's landing that nobody else in its repository may be in at the same time."""

    patience_s = _PATIENCE_S

    def __init__(self, context: LandingContext, change: ChangeToLand) -> None:
        self._context, self._store = context, context.store
        self._task, self._session, self._turn = change.task, change.session, change.turn
        self._own = TaskBranch(context.repository, change.task.id)
        self._given_back: Lease | None = None  # with the record of a landing that is done

    async def settle(self, interruptible: Interruptible) -> Landed | None:
        """After a crash between intent and record, finds out what became of the attempt, and completes it.

        Raises as :meth:`land` does.
        """
        mine = await self._store.read(lambda tx: landings.of_task(tx, self._task.id))
        if all(intent.outcome is IntentOutcome.MISSED for intent in mine):
            return None
        return await self._leased(self._settle_earlier_intents, interruptible)

    async def land(self, candidate: Candidate, interruptible: Interruptible) -> Landed | Interrupted | None:
        """Moves the branch from the candidate's base to its commit, which was judged. ``None``: the branch is not
        at that base. Until the intent is committed, waits run through ``interruptible``.

        Raises ``Unavailable`` and ``Refused`` as the branch does, ``LeaseLost`` when the lease passed to another
        holder, ``LocksWanted`` while another task holds some of what it changes.
        """

        async def work(lease: Lease) -> Landed | Interrupted | None:
            held = await self._context.locks.landing(self._task, candidate.base, candidate.commit)
            intent = await self._intend(lease, held, candidate)
            if intent is None:
                return Interrupted()
            failpoint("landing-intended")
            try:
                return Landed(intent.ref) if await self._swap(intent, lease) else None
            except Refused:
                await self._give_up(intent)
                raise

        return await self._leased(work, interruptible)

    @property
    def _ref(self) -> str:
        return self._own.ref if self._context.pushes_a_branch else self._context.repository.ref

    async def _leased(self, work: Callable[[Lease], Coroutine[Any, Any, T]], interruptible: Interruptible) -> T:
        async with AsyncExitStack() as stack:
            turn = stack.enter_context(self._context.queue.place(self._task.repo))
            await interruptible(turn.wait(), Doing.TURN)
            await stack.enter_async_context(between_controllers(self._store, f"land in {self._task.repo}"))
            lease = await stack.enter_async_context(self._lease())
            renewing = await stack.enter_async_context(alongside(self._renew(lease), f"renew {lease.name}"))
            landing = await stack.enter_async_context(alongside(work(lease), f"land {self._task.id}"))
            await first(landing, renewing)
            if not landing.done():
                await renewing  # it only ends by raising
            return await landing

    async def _intend(self, lease: Lease, held: Sequence[Precondition], candidate: Candidate) -> Intent | None:
        """Commits the intent: from here on the change may land, whatever a person does."""
        ref, old, new, tree = self._ref, candidate.base, candidate.commit, candidate.tree

        def work(tx: Tx) -> Intent | None:
            leases.check(tx, lease.fence)
            if tasks.stop_requested(tx, self._task.id) or sessions.words_wait(tx, self._task.id):
                return None
            overrides.demand_unexpired(tx, self._task)
            if not verdicts.lets_land(tx, self._task.id, commit=new, tree=tree, base=old):
                raise Refused(
                    attempted="land the change",
                    on=self._task.id,
                    cause=f"no verdict in the ledger lets {new[:12]} land on {old[:12]}",
                    hint=f"/judge {self._task.id} has it judged again.",
                )
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
        branch = self._branch(intent)
        async with alongside(branch.swap(intent.old, intent.new, token), f"move {intent.ref}") as swapping:
            while not (await asyncio.wait({swapping}, timeout=self.patience_s))[0]:
                await self._tell_of_silence(branch, intent)
            swapped = await swapping
        failpoint("landing-swapped")
        if isinstance(swapped, Moved):
            await self._missed(intent, swapped.found)
            if intent.ref == self._own.ref:
                raise self._own.taken(swapped.found)
            return False
        if intent.ref == self._own.ref:
            await self._done(intent, swapped.fenced_by, lease)
            return True
        noted = self._context.repository.landed(intent.old, intent.new)
        async with alongside(noted, "note the base in the mirror") as noting:
            await self._done(intent, swapped.fenced_by, lease)
            await noting
        return True

    async def _tell_of_silence(self, branch: BaseBranch | TaskBranch, intent: Intent) -> None:
        """A hook of the repository may take long, or for ever; one that runs after the landing is not cut off."""
        name, there = intent.ref.removeprefix("refs/heads/"), ""
        with contextlib.suppress(Refused, Unavailable):
            there = await branch.current()
        why = f"waiting for its repository: the push to {name} has not ended for {self.patience_s:.0f} s"
        if there == intent.new:
            why = f"waiting for its repository's hooks to end: it is on {name} already"
        await self._store.write(lambda tx: tasks.explain(tx, self._task.id, why))

    async def _give_up(self, intent: Intent) -> None:
        """The repository did not take what this controller has just sent, and said so: nothing of it is on its way,
        and the task can be stopped. For what an earlier one sent see :meth:`_settle_earlier_intents`."""
        with contextlib.suppress(Refused, Unavailable):
            found = await self._branch(intent).current()
            if found in ("", intent.old):
                await self._missed(intent, found, "the repository did not take it")

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
                await self._done(intent, FencedBy.BASE_SHA, lease)
                return Landed(intent.ref)
            if found in ("", intent.old):
                await self._context.locks.landing(self._task, intent.old, intent.new)
                if await self._swap(intent, lease):
                    return Landed(intent.ref)
                continue
            await self._missed(intent, found)
        return None

    async def _done(self, intent: Intent, fenced_by: FencedBy, lease: Lease) -> None:
        """Records the landing. Nothing follows it under the lease, which is given back with it."""

        def work(tx: Tx) -> None:
            leases.release(tx, lease)
            landings.finish(tx, intent.id, IntentOutcome.DONE)
            event = LandingDoneV2(intent.ref, intent.old, intent.new, intent.tree, intent.token, str(fenced_by))
            record(tx, event, self._session, turn=self._turn.id)
            landing_line.leave(tx, self._task.id)
            if intent.ref != self._own.ref:
                base_tips.seen(tx, BaseTip(intent.repo, intent.ref, intent.new))

        await self._store.write(work)
        self._given_back = lease
        failpoint("landing-done")
        self._context.queue.changed(self._task.repo)

    async def _missed(
        self, intent: Intent, found: str, why: str = "the branch is not at the expected commit"
    ) -> None:
        def work(tx: Tx) -> None:
            landings.finish(tx, intent.id, IntentOutcome.MISSED)
            event = LandingMissed(intent.ref, intent.old, found, why)
            record(tx, event, self._session, turn=self._turn.id)

        await self._store.write(work)

    @asynccontextmanager
    async def _lease(self) -> AsyncIterator[Lease]:
        """Holds the repository's landing lease for the block.

        Taking it is safe: this task's turn has come, here and among all controllers, and the token fences off an
        earlier controller, or a landing that could not release it.
        """
        name, holder = f"landing:{self._task.repo}", f"{self._context.holder}/{self._task.id}"
        lease = await self._store.write(lambda tx: leases.seize(tx, name, holder, _TTL_US))
        try:
            yield lease
        finally:
            try:
                if self._given_back != lease:
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
