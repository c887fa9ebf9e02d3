"""The step of a landing task: one attempt, and what follows when the base has moved."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from dataclasses import dataclass

from fleet.failpoints import failpoint
from fleet.flight import merge_words, prompts
from fleet.flight.merge_back import MergeBack, Returned
from fleet.flight.moves import move
from fleet.flight.services import Services
from fleet.flight.waits import Waits
from fleet.landing import messages
from fleet.landing.attempt import LandingAttempt
from fleet.landing.outcome import ChangeToLand, Conflicting, Interrupted, Judge, Judged, Landed, NewerBase
from fleet.landing.task_branch import ref_of
from fleet.model import Session, Task, TaskState
from fleet.store import sessions
from fleet.verdict import Verdict


@dataclass(frozen=True, slots=True)
class LandingCalls:
    """What a landing needs of the other steps: a verdict, what follows one, and a turn for what a person said."""

    judge: Judge
    act_on: Callable[[Task, Verdict, Session], Awaitable[None]]
    heard: Callable[[Task, Session], Awaitable[bool]]


class Landing:
    """One task's landings."""

    def __init__(self, services: Services, waits: Waits, merge_back: MergeBack, calls: LandingCalls) -> None:
        self._services, self._waits = services, waits
        self._merge_back, self._calls = merge_back, calls

    async def land(self, task: Task) -> None:
        """One attempt. The task has landed, goes back to its agent, or ends."""
        change = ChangeToLand(task, *await self._services.store.read(lambda tx: sessions.at(tx, task.id)))
        attempt = LandingAttempt(self._services.landing_context(task.repo), change, self._calls.judge)
        match await attempt.land(self._waits.unless_stopped):
            case Landed(ref):
                end = TaskState.PUSHED if ref == ref_of(task.id) else TaskState.LANDED
                await self._services.issue_receipt(task)
                failpoint("receipt-written")
                await self._services.store.write(lambda tx: move(tx, task.id, end))
                failpoint("task-landed")
            case Judged(verdict, onto):
                if not (onto and verdict.outcome.red and await self._red(change, verdict, onto)):
                    await self._calls.act_on(task, verdict, change.session)
            case Conflicting(onto, paths):
                await self._conflict(change, onto, paths)
            case Interrupted():
                if not await self._waits.stopped():
                    await self._calls.heard(task, change.session)

    async def _red(self, change: ChangeToLand, verdict: Verdict, onto: NewerBase) -> bool:
        """The merge failed a gate: its agent gets the merge to mend. False when it had its turns for that."""
        branch = self._services.repositories(change.task.repo).base
        red = ", ".join(result.gate for result in verdict.gates if result.outcome.red)
        why = f"{branch} moved meanwhile, and both together fail {red or 'a gate'}"
        words = f"{branch} moved while you worked, and it was merged with your change. {prompts.rework(verdict)}"
        return await self._merge_back.offer(change, onto, Returned(why, words))

    async def _conflict(self, change: ChangeToLand, onto: NewerBase, paths: tuple[str, ...]) -> None:
        """The change conflicts with the base: its agent resolves that, or the task ends."""
        task, branch = change.task, self._services.repositories(change.task.repo).base
        back = Returned(messages.moved(paths, branch), merge_words.conflict(paths, branch))
        if await self._merge_back.offer(change, onto, back) or await self._calls.heard(task, change.session):
            return
        refused = messages.conflict(paths, branch)
        await self._services.store.write(lambda tx: move(tx, task.id, TaskState.REFUSED, refused))
