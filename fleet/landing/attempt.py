"""Takes a passed snapshot to the base branch: merge, judge what the merge made, compare and swap.

One change at a time lands in a repository (a lease), every attempt is an intent row before it touches the ref,
and an interrupted attempt is settled by reading the ref.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Awaitable, Callable

from fleet.errors import LeaseLost, Refused, Unavailable
from fleet.events import LandingDone, LandingIntended, LandingMissed
from fleet.failpoints import failpoint
from fleet.flight import prompts
from fleet.flight.services import Services, record
from fleet.landing.base_branch import Moved
from fleet.model import Session, Task, Turn
from fleet.ports import Candidate
from fleet.store import landings, leases, sessions, tasks
from fleet.store.core import Tx
from fleet.store.landings import Intent
from fleet.store.leases import Lease
from fleet.verdict import Outcome, Verdict

_TTL_US = 60_000_000
_TRIES = 8


Judge = Callable[[Candidate], Awaitable[Verdict]]


class Interrupted:
    """A person stopped the task, or said more, before anything was done to the base branch."""


class MergeQueue:
    """The landing of one snapshot. ``judge`` gives the verdict on what a merge made."""

    def __init__(self, services: Services, task: Task, session: Session, turn: Turn, judge: Judge) -> None:
        self._services, self._task, self._session, self._turn = services, task, session, turn
        self._judge = judge
        self._repository = services.repositories(task.repo)
        self._landing = services.landings(task.repo)
        self._ref = f"refs/heads/{self._repository.base}"

    async def land(self) -> Verdict | Interrupted | None:
        """None once the base branch holds the change; a verdict when the merged tree did not pass.

        Raises ``Refused`` on a conflict, ``Unavailable`` when the branch keeps moving.
        """
        lease = await self._lease()
        renewing = asyncio.create_task(self._renew(lease), name=f"renew {lease.name}")
        try:
            return await self._land(lease)
        finally:
            renewing.cancel()
            await self._services.store.write(lambda tx: leases.release(tx, lease))

    async def _land(self, lease: Lease) -> Verdict | Interrupted | None:
        if await self._settle_earlier_intents():
            return None
        for round_ in range(2, 2 + _TRIES):
            current = await self._repository.fetch()
            new, tree, verdict = await self._candidate(current, round_)
            if verdict is not None and verdict.outcome is not Outcome.PASSED:
                return verdict
            intent = await self._intend(lease, current, new, tree)
            if intent is None:
                return Interrupted()
            failpoint("landing-intended")
            if await self._swap(intent):
                return None
        raise Unavailable(
            attempted="land the change",
            on=f"{self._repository.base} of {self._task.repo}",
            cause=f"the branch moved {_TRIES} times while the merge was judged",
            hint="/retry when it is quieter.",
        )

    async def _candidate(self, current: str, round_: int) -> tuple[str, str, Verdict | None]:
        """The commit that would land on ``current``, and the verdict on it if it had to be judged again."""
        snapshot, base = self._turn.snapshot, self._session.base
        if current == base:
            return snapshot, self._turn.tree, None
        merged = await self._repository.merge(current, snapshot)
        if merged.conflicts:
            raise Refused(
                attempted="land the change",
                on=self._task.id,
                cause=prompts.conflict(merged.conflicts, self._repository.base),
            )
        message = prompts.merge_message(self._task, self._repository.base, snapshot)
        commit = await self._repository.merge_commit(
            merged.tree, current, snapshot, message, self._turn.ended_us // 1_000_000
        )
        candidate = Candidate(self._task, self._session, self._turn, commit, merged.tree, current, round_)
        return commit, merged.tree, await self._judge(candidate)

    async def _intend(self, lease: Lease, old: str, new: str, tree: str) -> Intent | None:
        """Once this is committed, nobody is promised any more that the change will not land."""

        def work(tx: Tx) -> Intent | None:
            leases.check(tx, lease.fence)
            if tasks.stop_requested(tx, self._task.id) or sessions.words_wait(tx, self._task.id):
                return None
            event = LandingIntended(self._ref, old, new, tree, lease.token)
            record(tx, event, self._session, turn=self._turn.id)
            return landings.intend(
                tx,
                lease.fence,
                repo=self._task.repo,
                ref=self._ref,
                old=old,
                new=new,
                tree=tree,
                task=self._task.id,
            )

        return await self._services.store.write(work)

    async def _swap(self, intent: Intent) -> bool:
        swapped = await self._landing.swap(intent.old, intent.new)
        failpoint("landing-swapped")
        if isinstance(swapped, Moved):
            await self._missed(intent, swapped.found)
            return False
        await self._done(intent)
        return True

    async def _settle_earlier_intents(self) -> bool:
        """After a crash between intent and record: the ref itself says whether the swap happened."""
        mine = await self._services.store.read(lambda tx: landings.of_task(tx, self._task.id))
        for intent in mine:
            if intent.outcome == "done":
                return True
            if intent.outcome:
                continue
            found = await self._landing.current()
            await self._repository.fetch()
            if found == intent.new or await self._repository.is_ancestor(intent.new, found):
                await self._done(intent)
                return True
            await self._missed(intent, found)
        return False

    async def _done(self, intent: Intent) -> None:
        def work(tx: Tx) -> None:
            landings.finish(tx, intent.id, "done")
            event = LandingDone(intent.ref, intent.old, intent.new, intent.tree, intent.token)
            record(tx, event, self._session, turn=self._turn.id)

        await self._services.store.write(work)
        failpoint("landing-done")

    async def _missed(self, intent: Intent, found: str) -> None:
        def work(tx: Tx) -> None:
            landings.finish(tx, intent.id, "missed")
            event = LandingMissed(intent.ref, intent.old, found, "the branch is not where the intent expected it")
            record(tx, event, self._session, turn=self._turn.id)

        await self._services.store.write(work)

    async def _lease(self) -> Lease:
        name, ours = f"landing:{self._task.repo}", f"{self._services.holder}/"
        holder = f"{ours}{self._task.id}"

        def work(tx: Tx) -> Lease | None:
            held = leases.look(tx, name)
            if held is not None and not held.holder.startswith(ours):
                # We lead, and this transaction checks it: whoever held it under an earlier leader is fenced off.
                return leases.seize(tx, name, holder, _TTL_US)
            return leases.acquire(tx, name, holder, _TTL_US)

        while True:
            lease = await self._services.store.write(work)
            if lease is not None:
                return lease
            await self._services.clock.sleep(0.5)

    async def _renew(self, lease: Lease) -> None:
        with contextlib.suppress(LeaseLost):  # the next intent or record finds that out and says so
            while True:
                await self._services.clock.sleep(_TTL_US / 3_000_000)
                await self._services.store.write(lambda tx: leases.renew(tx, lease, _TTL_US))
