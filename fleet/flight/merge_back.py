"""A change that does not go with the current base goes back to its agent, in its worktree, moved onto that base.

The base moved and conflicts, its merge fails a gate, or another task changed the same file and landed. The agent
finds its change merged in, and reads what both sides did. It gets as many such turns as a failed gate gives.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

from fleet.agent_events import TurnOutcome
from fleet.errors import Unavailable
from fleet.events import SessionMoves, VerdictGiven
from fleet.failpoints import failpoint
from fleet.flight import installing, merge_words, moving, notes, prompts, snapshots
from fleet.flight.agent_process import AgentProcess
from fleet.flight.moves import move, running
from fleet.flight.services import Services
from fleet.flight.waits import Waits
from fleet.git import merging
from fleet.landing.outcome import ChangeToLand, Doing, NewerBase
from fleet.locks import LockRefusal
from fleet.model import Session, Task, TaskState, Turn, TurnCause
from fleet.store import merges, recent, sessions, tasks
from fleet.store.core import Tx
from fleet.store.merges import Merge
from fleet.store.recording import record

_MOST: Final = 2
"""How many such turns an agent gets before a verdict says how many a gate gives."""


@dataclass(frozen=True, slots=True)
class Returned:
    """Why a change goes back: ``why`` for people, ``words`` for its agent, before both sides are shown."""

    why: str
    words: str


class MergeBack:
    """One task's changes that go back to their agent because the base moved."""

    def __init__(self, services: Services, agent: AgentProcess, waits: Waits) -> None:
        self._services, self._agent, self._waits = services, agent, waits

    async def onto_current(self, task: Task, session: Session, turn: Turn, locked: LockRefusal) -> bool:
        """Brings the base up to date, when others who are over changed the same: their changes may be in it. False
        when that does not help."""
        repository, store = self._services.repositories(task.repo), self._services.store
        looked_us = await store.read(lambda tx: tx.now_us())
        current = await self._waits.unless_stopped(repository.fetch(), Doing.FETCH)
        if current == session.base:  # it has all of that; the next step takes the snapshot again
            await store.write(lambda tx: sessions.rebase(tx, session.id, current, looked_us))
            return True
        if not await repository.is_ancestor(session.base, current):
            return False
        words = merge_words.seen_by_others(locked.why, repository.base)
        back = Returned(f"{repository.base} moved meanwhile: {locked.why}", words)
        return await self.offer(ChangeToLand(task, session, turn), NewerBase(current, looked_us), back)

    async def offer(self, change: ChangeToLand, onto: NewerBase, back: Returned) -> bool:
        """Records that the change goes back. False: its agent had all of its turns for that.

        Raises ``RepositoryUnusable`` while no change on the new base can be judged.
        """
        task, session, turn = change.task, change.session, change.turn
        if not await self._may(task, session):
            return False
        services = self._services
        await services.gatekeeper.preflight(task.repo, onto.commit)  # else it would stay on a base without gates
        await self._agent.gone(session)  # nothing of it writes while its worktree is moved
        session = await services.store.read(lambda tx: sessions.session(tx, session.id))
        if session.pipe_end.lost:
            raise Unavailable(
                attempted="move the worktree", on=session.machine, cause="no trusted exit record of its agent"
            )
        snapshot = await snapshots.take(services, self._waits, task, session, turn)
        repository = services.repositories(task.repo)
        merged = await merging.merge(repository, onto.commit, snapshot.commit)
        message = prompts.commit_message(task, session, turn, services.store.instance)
        tree, when = merged.tree or merged.marked, turn.ended_us // 1_000_000
        commit = await repository.commit_tree(tree, (onto.commit,), message, when)
        await repository.share(commit, task.id)
        sides = merge_words.Sides(repository, session.base, onto.commit, snapshot.commit, merged)
        words = f"{back.words}\n\n{await merge_words.both(sides)}"
        merge = Merge(0, session.id, onto.commit, onto.looked_us, snapshot.commit, commit, tree, back.why, words)

        def work(tx: Tx) -> None:
            if tasks.stop_requested(tx, task.id):
                return
            if snapshot.commit != turn.snapshot:
                snapshots.note(tx, session, turn, snapshot)
            merges.add(tx, merge)
            event = SessionMoves(
                session.base, onto.commit, snapshot.commit, commit, merged.conflicts[:20], back.why
            )
            record(tx, event, session, turn=turn.id)
            tasks.explain(tx, task.id, back.why)

        await services.store.write(work)
        failpoint("merge-recorded")
        return True

    async def go_on(self, task: Task, session: Session, merge: Merge) -> None:
        """Completes the recorded move, and starts the turn in which the agent reads about it."""
        services = self._services
        await self._agent.close()
        session = await moving.complete(services, task, session)
        await self._waits.unless_stopped(installing.install(services, task, session), Doing.INSTALL)
        executor = services.executors.agent(session.machine, session.login)
        words = await notes.waiting(services.store, executor, session)
        text = words.text if words else ""
        then = running(task, services.config(), merge.why)
        await self._agent.go_on(session, TurnCause.MERGE, text, then, words)

    async def unresolved(self, task: Task, session: Session, turn: Turn) -> bool:
        """Whether the snapshot still has a conflict's markers: then it goes back once more, or the task ends."""
        past = await self._services.store.read(lambda tx: merges.of_session(tx, session.id))
        markers = [marker for merge in past for marker in merge.markers]
        left = await self._services.repositories(task.repo).contains(turn.snapshot, markers) if markers else ()
        if not left:
            return False
        if await self._may(task, session):
            why = "its conflict is not resolved yet"
            text = merge_words.markers_left(left)
            await self._agent.go_on(session, TurnCause.MERGE, text, running(task, self._services.config(), why))
        else:
            why = f"its agent left conflict markers in the files; /retry {task.id} starts again from the base"
            await self._services.store.write(lambda tx: move(tx, task.id, TaskState.REFUSED, why))
        return True

    async def _may(self, task: Task, session: Session) -> bool:
        def look(tx: Tx) -> bool:
            given = recent.last_events(tx, 1, kinds=(VerdictGiven.KIND,), task=task.id)
            event = given[-1].event if given else None
            most = event.rework_turns if isinstance(event, VerdictGiven) else _MOST
            had = [turn for turn in sessions.turns(tx, session.id) if turn.cause is TurnCause.MERGE]
            return sum(turn.outcome is TurnOutcome.COMPLETED for turn in had) < most

        return await self._services.store.read(look)
