"""The gates on the work of a session that a person started by hand, when its agent says that it is done.

The working copy comes as a tree from the person's login: testimony about what is there, like an agent's. The
controller makes the commit and the gates judge it as they judge a task's. Nothing lands from here: such a session
is hooked, not held. Its work has a task of its own, which is over from the start.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from functools import partial
from pathlib import Path
from typing import Final

from fleet.config import FleetConfig
from fleet.errors import Misused, Refused, RepositoryUnusable, Unavailable
from fleet.events import HookedJudged, Refs, Source, VerdictGiven
from fleet.flight import prompts
from fleet.git.command import is_object_id
from fleet.git.repository import Repository
from fleet.git.workspace import Workspaces
from fleet.model import AIRBOSS, Fork, PersonId, Session, Task, TaskMode, TaskState, Turn, TurnCause
from fleet.ports import Candidate, Gatekeeper
from fleet.store import hooked, ledger, sessions, tasks
from fleet.store.core import Store, Tx
from fleet.store.hooked import Hooked
from fleet.verdict import Verdict
from gates.people import console_chat
from gates.policy import not_judged

_RUNNING: Final = "running"
_NO_VERDICT: Final = "no verdict"
_OPEN: Final = 10_000

_log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class WorkJudged:
    """What the gates made of it. ``again``: what the agent is told to do next; empty: it may stop."""

    verdict: Verdict
    task: str
    again: str


@dataclass(frozen=True, slots=True)
class HookedWork:
    """One for a controller."""

    store: Store
    config: Callable[[], FleetConfig]
    repositories: Callable[[str], Repository]
    workspaces: Workspaces
    gatekeeper: Gatekeeper
    _judging: set[int] = field(default_factory=set)
    _closing: asyncio.Lock = field(default_factory=asyncio.Lock)

    async def base_for(self, repo: str, tips: list[str]) -> str:
        """The newest of these commits that is on the base branch; empty when none is."""
        repository = self.repositories(repo)
        tip = await repository.fetch()
        for commit in await repository.known(tips):
            if await repository.is_ancestor(commit, tip):
                return commit
        return ""

    async def judge(self, session: Hooked, tree: str, base: str, pack: Path) -> WorkJudged:
        """The gates of ``base`` on a tree that was handed over in ``pack``.

        Raises ``Refused`` for a base that is not on the branch, for a tree that a limit or rule forbids, and while
        an earlier tree of the session is judged.
        """
        async with self._closing:  # which would end what begins here
            if session.number in self._judging:
                raise Refused(
                    attempted="judge a working copy",
                    on=session.id,
                    cause="the gates still judge what it had before",
                )
            self._judging.add(session.number)
        try:
            return await self._judge(session, tree, base, pack)
        finally:
            self._judging.discard(session.number)

    async def close_left(self, session: Hooked) -> None:
        """Ends and closes what an earlier controller, or a judgement that had an error, left of its gates."""
        task = session.judged.partition(" ")[0]
        async with self._closing:
            if task and session.number not in self._judging:
                await self.gatekeeper.close_left(task)

    async def close_interrupted(self) -> None:
        """Ends and closes the judgements that an earlier controller was in the middle of: their sessions may never
        ask again. One whose machine does not answer is left to the session's next step."""
        for session in await self.store.read(lambda tx: hooked.open_ones(tx, _OPEN)):
            task, _, outcome = session.judged.partition(" ")
            if outcome != _RUNNING:
                continue
            async with self._closing:
                if session.number in self._judging:
                    continue
                try:
                    await self.gatekeeper.close_left(task)
                except Unavailable as error:
                    _log.info("the gates of %s stay open: %s", session.id, error)
                else:
                    await self.store.write(partial(self._interrupted, session=session))

    def _interrupted(self, tx: Tx, session: Hooked) -> None:
        now = hooked.by_number(tx, session.number)
        if now is not None and now.judged == session.judged:
            none = f"{session.judged.partition(' ')[0]} {_NO_VERDICT}"
            hooked.change(tx, now, judged=none, seen_us=now.seen_us)

    async def _judge(self, session: Hooked, tree: str, base: str, pack: Path) -> WorkJudged:
        commit = await self._commit(session, tree, base, pack)

        def begin(tx: Tx) -> Candidate:
            task, made, turn = self._rows(tx, session, base)
            sessions.update_turn(tx, turn.id, snapshot=commit, tree=tree, ended_us=tx.now_us())
            hooked.change(tx, session, judged=f"{task.id} {_RUNNING}")
            return Candidate(task, made, turn, commit, tree, base, round=turn.number)

        candidate = await self.store.write(begin)
        try:
            verdict = await self.gatekeeper.judge(candidate)
        except RepositoryUnusable as error:
            verdict = not_judged(candidate, error)
        except Exception:
            none = f"{candidate.task.id} {_NO_VERDICT}"
            await self.store.write(lambda tx: hooked.change(tx, session, judged=none))
            raise

        def end(tx: Tx) -> None:
            hooked.change(tx, session, judged=f"{candidate.task.id} {verdict.outcome}")
            event = HookedJudged(commit, tree, base, str(verdict.outcome), "; ".join(verdict.reasons)[:500])
            refs = Refs(task=candidate.task.id, session=session.id, machine=session.machine)
            ledger.append(tx, event, actor=AIRBOSS, source=Source.CONTROLLER, refs=refs)

        await self.store.write(end)
        back = verdict.outcome.red and candidate.round <= verdict.rework_turns
        return WorkJudged(verdict, candidate.task.id, prompts.rework(verdict) if back else "")

    async def kept(self, session: Hooked, tree: str, base: str, pack: Path) -> Callable[[Tx], Fork]:
        """Keeps a tree that was handed over, for a task that goes on with it. Raises as :meth:`judge` does."""
        commit = await self._commit(session, tree, base, pack)

        def fork(tx: Tx) -> Fork:
            _, made, turn = self._rows(tx, session, base)
            sessions.update_turn(tx, turn.id, snapshot=commit, tree=tree, ended_us=tx.now_us())
            return Fork(made.id, commit, base)

        return fork

    async def _commit(self, session: Hooked, tree: str, base: str, pack: Path) -> str:
        """The commit that the controller makes of a tree. Raises ``Misused`` and ``Refused``."""
        repository = self.repositories(session.repo)
        if not (is_object_id(tree) and is_object_id(base)):
            raise Misused(attempted="judge a working copy", on=session.id, cause="it names no tree and no commit")
        if not await repository.has(base) or not await repository.is_ancestor(
            base, await repository.last_fetched()
        ):
            raise Refused(
                attempted="judge a working copy", on=session.id, cause="its base is not on the base branch"
            )
        await self.workspaces.accept(repository, pack, tree, base, session.id)
        words = f"{session.id}: work of {session.agent} by hand\n\nHanded over by its hook.\n"
        commit = await repository.commit_tree(tree, (base,), words, session.began_us // 1_000_000)
        await repository.share(commit, session.id)
        return commit

    def _rows(self, tx: Tx, session: Hooked, base: str) -> tuple[Task, Session, Turn]:
        """The task of the session's work, which is over from the start, and a turn for this judgement."""
        known = (hooked.by_number(tx, session.number) or session).judged.partition(" ")[0]
        task = tasks.task(tx, known) if known else self._task(tx, session)
        found = sessions.of_task(tx, task.id)
        if found and found[-1].base == base:
            made = found[-1]
        else:
            config = self.config()
            made = sessions.create_session(
                tx,
                task=task.id,
                machine=session.machine,
                agent=session.agent,
                base=base,
                isolation=config.isolation,
            )
            made = sessions.update(tx, made.id, ended_us=tx.now_us())
        turn = sessions.create_turn(tx, made, TurnCause.REQUEST, "")
        return task, made, replace(turn, number=len(ledger.read(tx, kinds=(VerdictGiven.KIND,), task=task.id)) + 1)

    def _task(self, tx: Tx, session: Hooked) -> Task:
        task = tasks.create_task(
            tx,
            repo=session.repo,
            agent=session.agent if session.agent in self.config().agents else "",
            machine="",
            prompt=f"{session.id}: by hand with {session.agent} ({hooked.MARK})",
            mode=TaskMode.CHANGE,
            requester=session.person,
            origin=console_chat(PersonId.parse(session.person)),
        )
        return tasks.move(tx, task.id, TaskState.STOPPED, f"{session.id} is {hooked.MARK}: nothing lands", AIRBOSS)
