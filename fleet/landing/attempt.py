"""Lands a passed snapshot on the base branch: merge, judge the merge, compare and swap.

Changes of a repository stand in a queue. Each is merged with what is before it, and judged as that while the
others are; it lands once it is first and the branch is at exactly the base that it was judged on. Otherwise it is
merged and judged anew.
"""

from __future__ import annotations

from dataclasses import replace
from typing import Final

from fleet.errors import (
    AirbossError,
    DiskFull,
    LeadershipLost,
    LeaseLost,
    MachineFaulty,
    Misconfigured,
    OriginAway,
    Refused,
    RepositoryUnusable,
    StoreUnavailable,
    Unavailable,
    Unreachable,
)
from fleet.failpoints import failpoint
from fleet.git import merging
from fleet.git.merging import MergeResult
from fleet.landing import foreign, messages
from fleet.landing.leased import LeasedLanding
from fleet.landing.line import After, Next, Tip, Wait, plan
from fleet.landing.merges import Merges
from fleet.landing.outcome import (
    ChangeToLand,
    Conflicting,
    Doing,
    Interrupted,
    Interruptible,
    Judge,
    Judged,
    LandingContext,
    LandingOutcome,
    NewerBase,
)
from fleet.landing.rewritten import conflict, hold, is_rewritten
from fleet.locks import LocksWanted
from fleet.ports import Candidate
from fleet.store import landing_line, tasks
from fleet.store.core import Tx
from fleet.store.landing_line import LandingPlace
from fleet.store.states import PlaceState
from fleet.supervise import alongside, first
from fleet.verdict import Verdict

_TRIES: Final = 8

#: What passes by itself, for all in the queue alike: the change keeps its place.
_KEEPS_ITS_PLACE = (
    *(StoreUnavailable, LeadershipLost, LeaseLost, Unreachable, MachineFaulty, DiskFull),
    *(Misconfigured, RepositoryUnusable, OriginAway),
)


def covers(verdict: Verdict, candidate: Candidate) -> bool:
    """Whether a verdict lets exactly this land."""
    return verdict.outcome.opens and _is_about(verdict, candidate)


def _is_about(verdict: Verdict, candidate: Candidate) -> bool:
    judged = (verdict.commit, verdict.tree, verdict.base)
    return judged == (candidate.commit, candidate.tree, candidate.base)


class LandingAttempt:
    """The landing of one snapshot. ``judge`` gives the verdict on a merge."""

    def __init__(self, context: LandingContext, change: ChangeToLand, judge: Judge) -> None:
        self._context, self._change, self._judge = context, change, judge
        self._store, self._repository = context.store, context.repository
        self._task, self._session, self._turn = change.task, change.session, change.turn
        self._merges = Merges(context, change)
        self._leased = LeasedLanding(context, change)
        self._verdict: Verdict | None = None

    async def land(self, interruptible: Interruptible) -> LandingOutcome:
        """Waits for its turn, then lands. Until the intent is committed, waits run through ``interruptible``.

        Raises ``Refused`` on a conflict with a rewritten branch, ``Unavailable`` when the branch keeps moving,
        ``LeaseLost`` when the lease passed to another holder, ``LocksWanted`` while another task holds some of what
        it changes, ``LandingsStopped`` while a person must look at the branch first.
        """
        try:
            outcome = await self._land(interruptible)
        except (AirbossError, LocksWanted) as error:
            if not isinstance(error, _KEEPS_ITS_PLACE):
                await self._take_out(str(error))
            raise
        match outcome:
            case Judged(verdict):
                await self._take_out(_red(verdict))
            case Conflicting(_, paths):
                await self._take_out(messages.moved(paths, self._repository.base))
            case Interrupted():
                await self._take_out("it goes on with its agent")
        return outcome

    async def _land(self, interruptible: Interruptible) -> LandingOutcome:
        if (settled := await self._leased.settle(interruptible)) is not None:
            return settled
        if not self._context.pushes_a_branch:
            await self._store.write(lambda tx: landing_line.join(tx, self._task))
            failpoint("landing-joined")
            self._context.queue.changed(self._task.repo)
        tries = 0
        while tries < _TRIES:
            news = self._context.queue.news(self._task.repo)
            match await self._next():
                case Tip():
                    tries += 1
                    if (outcome := await self._at_the_tip(interruptible)) is not None:
                        return outcome
                case After(commit, behind):
                    if await self._ahead_of_time(commit, behind, interruptible):
                        await interruptible(news.wait(), Doing.TURN)
                case Wait(task):
                    await self._explain(f"lands after {task}")
                    await interruptible(news.wait(), Doing.TURN)
        raise Unavailable(
            attempted="land the change",
            on=f"{self._repository.base} of {self._task.repo}",
            cause=f"the branch moved {_TRIES} times while the merge was judged",
            hint=f"/judge {self._task.id} when fewer changes land.",
        )

    async def _next(self) -> Next:
        if self._context.pushes_a_branch:
            return Tip()
        line = await self._store.read(lambda tx: landing_line.line(tx, self._task.repo))
        return plan(line, self._context.together).get(self._task.id) or Tip()

    # --- first in line --------------------------------------------------------------------------------

    async def _at_the_tip(self, interruptible: Interruptible) -> LandingOutcome | None:
        """Merges with the branch as it is, and lands that if it passes. ``None``: the branch moved meanwhile."""
        looked_us = await self._store.read(lambda tx: tx.now_us())
        current = await interruptible(self._repository.fetch(), Doing.FETCH)
        if not self._context.pushes_a_branch:
            await foreign.look(self._context, self._task.repo, current)
        moved = await is_rewritten(self._repository, self._session.base, current)
        onto = None if moved or current == self._session.base else NewerBase(current, looked_us)
        base = self._session.base if self._context.pushes_a_branch and not moved else current
        merged = await interruptible(self._merges.on(base, carried=moved), Doing.MERGE)
        if isinstance(merged, MergeResult):
            return await self._conflict(merged, current, onto)
        await self._note(merged, ())
        stands = await self._context.stands(merged)
        known = self._verdict if self._verdict is not None and _is_about(self._verdict, merged) else None
        if not stands or not (merged.commit == self._turn.snapshot or (known and known.outcome.opens)):
            verdict = known if known and known.outcome.red and stands else await self._judge(merged)
            if moved:
                verdict = await hold(self._store, self._repository, self._session, current, verdict)
            if not verdict.outcome.opens:
                return Judged(verdict, onto)
            if not covers(verdict, merged):
                raise ValueError(f"the verdict on {merged.commit} is about {verdict.commit}")
        return await self._leased.land(merged, interruptible)

    async def _conflict(self, merged: MergeResult, current: str, onto: NewerBase | None) -> Conflicting:
        """For its agent, but not on a rewritten branch: the worktree has the history that was removed."""
        if onto is None:
            if not await merging.forked_from(self._repository, self._session.base, current):
                raise RepositoryUnusable(
                    attempted="land the change",
                    on=self._task.id,
                    cause=f"{self._repository.base} of {self._task.repo} has no commit that the task began on",
                    hint="Does fleet.toml name another repository or branch than before? /retry begins anew.",
                )
            cause = await conflict(self._repository, self._session.base, current, merged.conflicts)
            raise Refused(attempted="land the change", on=self._task.id, cause=cause)
        return Conflicting(onto, merged.conflicts)

    # --- behind others --------------------------------------------------------------------------------

    async def _ahead_of_time(self, base: str, behind: tuple[str, ...], interruptible: Interruptible) -> bool:
        """Merges with a base that has not landed yet, and has that judged. False: there is another base by now."""
        known = self._verdict
        if known is not None and known.base == base:
            return True
        merged: Candidate | MergeResult = MergeResult("", ("history that was removed",))
        if await self._repository.is_ancestor(self._session.base, base):
            merged = await interruptible(self._merges.on(base), Doing.MERGE)
        if isinstance(merged, MergeResult):
            return await self._left_out(merged, base, behind)
        await self._note(merged, behind)
        failpoint("landing-merged")
        try:
            verdict = await self._watched(merged)
        except RepositoryUnusable:
            return True  # what is before it waits for the same, or makes it so: there will be news of it
        if verdict is None:
            return False
        self._verdict = verdict
        passed = covers(verdict, merged)
        state = PlaceState.PASSED if passed else PlaceState.NOT_PASSED
        await self._note(merged, behind, state=state, why="" if passed else _red(verdict))
        failpoint("landing-foreseen")
        return True

    async def _watched(self, candidate: Candidate) -> Verdict | None:
        """Its verdict; ``None`` once it is to be merged with something else: then what runs for it ends."""
        queue, repo = self._context.queue, self._task.repo
        async with alongside(self._judge(candidate), f"judge {self._task.id} behind others") as judging:
            while True:
                news = queue.news(repo)
                match await self._next():
                    case After(commit) if commit == candidate.base:
                        await first(judging, news.wait())
                    case Tip() if await self._repository.fetch() == candidate.base:
                        await first(judging)
                    case _:
                        await self._context.withdraw(candidate)
                        await judging
                        return None
                if judging.done():
                    return await judging

    async def _left_out(self, merged: MergeResult, base: str, behind: tuple[str, ...]) -> bool:
        why = f"conflicts in {', '.join(merged.conflicts[:3])}"
        place = LandingPlace(
            self._task.id, self._task.repo, base=base, behind=behind, state=PlaceState.CONFLICT, why=why
        )
        await self._record(place)
        return True

    # --- its place ------------------------------------------------------------------------------------

    async def _note(
        self, merged: Candidate, behind: tuple[str, ...], *, state: PlaceState = PlaceState.MERGED, why: str = ""
    ) -> None:
        await self._repository.share(merged.commit, self._task.id)
        if not self._context.pushes_a_branch:
            place = LandingPlace(
                self._task.id, self._task.repo, base=merged.base, commit=merged.commit, tree=merged.tree
            )
            await self._record(replace(place, behind=behind, state=state, why=why))

    async def _record(self, place: LandingPlace) -> None:
        def work(tx: Tx) -> None:
            now = landing_line.merged(tx, self._session, self._turn.id, place)
            tasks.explain(tx, self._task.id, messages.in_line(now))

        await self._store.write(work)
        self._context.queue.changed(self._task.repo)

    async def _explain(self, why: str) -> None:
        """Its card says so until it is merged."""
        await self._store.write(lambda tx: tasks.explain(tx, self._task.id, why))

    async def _take_out(self, why: str) -> None:
        await self._store.write(lambda tx: landing_line.take_out(tx, self._session, self._task.repo, why))
        self._context.queue.changed(self._task.repo)


def _red(verdict: Verdict) -> str:
    """Why a merge does not land, in few words."""
    return "; ".join(verdict.reasons)[:200] or str(verdict.outcome)
