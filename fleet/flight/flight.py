"""One task's life, as one legible state machine: each state has one step, each step says the next state.

A step may be entered again after a crash at any point; it finds in the store, on the machine and in git what an
earlier controller already did, and goes on from there.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable
from dataclasses import replace

from fleet.errors import LeadershipLost, LeaseLost, Misused, Refused, StoreUnavailable, Unavailable, Unreachable
from fleet.events import (
    HoldReleased,
    LinkChanged,
    SessionPlaced,
    SnapshotMade,
)
from fleet.events import Source as Said
from fleet.failpoints import failpoint
from fleet.flight import notes, placement, prompts
from fleet.flight.agent_process import AgentProcess
from fleet.flight.closing import close_sessions
from fleet.flight.services import AIRBOSS, Services, record
from fleet.landing.attempt import Interrupted, MergeQueue
from fleet.model import ENDS, Session, Task, TaskMode, TaskState, Turn
from fleet.ports import Candidate, Executor
from fleet.store import approvals, sessions, tasks
from fleet.store.core import Tx
from fleet.verdict import Outcome, Verdict

_log = logging.getLogger(__name__)

_RETRIES = (1.0, 5.0, 15.0)
_HEARD_AT = (Outcome.PASSED, Outcome.HELD, Outcome.FAILED)


class Flight:
    """Takes one task from where it stands to an end, or to waiting for a person."""

    def __init__(self, services: Services, task: Task) -> None:
        self._services = services
        self.task = task
        self._woken = asyncio.Event()
        self._agent = AgentProcess(services, task)
        self._failures = 0
        self._reached = True
        self._steps: dict[TaskState, Callable[[], Awaitable[None]]] = {
            TaskState.QUEUED: self._place,
            TaskState.PREPARING: self._prepare,
            TaskState.RUNNING: self._run,
            TaskState.JUDGING: self._judge,
            TaskState.HELD: self._hold,
            TaskState.LANDING: self._land,
        }

    def wake(self) -> None:
        """Something concerning this task changed in the store."""
        self._woken.set()
        self._agent.wake()

    async def fly(self) -> None:
        """Steps until the task has ended. Cancelling leaves everything as it stands, to be gone on with.

        A bug in a step ends this task as lost, with its name, and stops no other. Raises ``LeadershipLost``.
        """
        try:
            while self.task.state not in ENDS:
                await self._step()
            await close_sessions(self._services, self.task, self._agent)
        except (LeadershipLost, LeaseLost):
            raise
        except Exception as error:
            _log.exception("task %s in %s", self.task.id, self.task.state)
            if self.task.state in ENDS:
                raise
            await self._move(TaskState.LOST, f"a bug of ours, {type(error).__name__}: {error}"[:500])
            await close_sessions(self._services, self.task, self._agent)
        finally:
            await self._agent.close()

    async def _step(self) -> None:
        self._woken.clear()  # before anything is read: news from now on ends the next wait
        if await self._stop_requested():
            await self._stopped()
            return
        try:
            await self._steps[self.task.state]()
            self._failures = 0
            await self._reach(up=True, why="")
        except (Refused, Misused) as error:
            await self._move(TaskState.REFUSED, str(error))
        except Unreachable as error:
            await self._reach(up=False, why=error.cause or str(error))
            await self._refresh_why(f"waiting for the link: {error.cause or error}")
            await self._wait(5.0)
        except (Unavailable, StoreUnavailable) as error:
            if error.retry and self._attempts_left():
                await self._wait(_RETRIES[self._failures - 1])
                return
            await self._move(TaskState.UNAVAILABLE, str(error))

    # --- the steps, in a task's order -----------------------------------------------------------------

    async def _place(self) -> None:
        config = self._services.config()
        repo = config.repos.get(self.task.repo)
        if repo is None:
            known = ", ".join(sorted(config.repos)) or "none"
            raise Misused(attempted="take the task", on=f"repository {self.task.repo!r}", hint=f"Known: {known}.")
        busy = await self._services.store.read(sessions.busy)
        placed = placement.place(self.task, config, busy)
        if isinstance(placed, placement.Impossible):
            raise Misused(attempted="place the task", on=self.task.id, cause=placed.why, hint=placed.hint)
        if isinstance(placed, placement.Waiting):
            await self._refresh_why(placed.why)
            await self._wait(30.0)
            return
        base = await self._services.repositories(self.task.repo).fetch()
        if self.task.mode is TaskMode.CHANGE:
            await self._services.landings(self.task.repo).check_landable()
            await self._services.gatekeeper.preflight(self.task.repo, base)

        def work(tx: Tx) -> None:
            if sessions.busy(tx).get(placed.machine, 0) >= config.machines[placed.machine].slots:
                return  # another task took the slot meanwhile; placed anew at the next step
            session = sessions.create_session(
                tx,
                task=self.task.id,
                machine=placed.machine,
                agent=self.task.agent,
                base=base,
                isolation=config.isolation,
            )
            event = SessionPlaced(placed.machine, self.task.agent, base, config.isolation, placed.passed_over)
            record(tx, event, session)
            self.task = tasks.move(tx, self.task.id, TaskState.PREPARING, "", AIRBOSS)

        await self._services.store.write(work)
        failpoint("session-placed")

    async def _prepare(self) -> None:
        session = await self._session()
        executor = self._services.executors.agent(session.machine)
        repository = self._services.repositories(self.task.repo)
        name = f"{self._services.store.instance}-{session.id}"
        workspace = await self._services.workspaces.prepare(executor, repository, session.base, name)
        failpoint("workspace-prepared")
        await self._agent.begin(replace(session, workspace=workspace), "request", self.task.prompt, self._running)

    async def _run(self) -> None:
        session = await self._session()
        turn = await self._turn(session)
        executor = self._services.executors.agent(session.machine)
        if turn.ended_us == 0:
            follower = await self._agent.follow(session)
            if not await follower.turn_end(turn):
                return  # a person asked for a stop; the next step sees it
            session = follower.session
        if session.pipe_end == "lost":
            await self._move(TaskState.LOST, "the agent's process ended and nobody who may be believed saw how")
            return
        if session.pipe_end == "unavailable":
            why = self._agent.why_unavailable
            await self._move(TaskState.UNAVAILABLE, f"{session.agent} did not start on {session.machine}: {why}")
            return
        if await self._heard(session):
            return
        if self.task.mode is TaskMode.ASK:
            await self._move_unless_said(TaskState.ANSWERED, "")
            return
        turn = await self._turn(session)
        await self._snapshot(session, turn, executor)

    async def _snapshot(self, session: Session, turn: Turn, executor: Executor) -> None:
        if session.isolation.unsafe and not await self._agent.gone(session):
            await self._move(
                TaskState.LOST, "the agent shares the gate's login and its processes were not seen gone"
            )
            return
        message = prompts.commit_message(self.task, session, turn)
        repository = self._services.repositories(self.task.repo)
        snapshot = await self._services.workspaces.snapshot(
            executor, repository, session.base, session.workspace, message, turn.ended_us // 1_000_000
        )
        if snapshot.empty:
            turn = await self._turn(session)
            await self._move_unless_said(TaskState.FAILED, prompts.nothing_changed(turn))
            return

        def work(tx: Tx) -> None:
            sessions.update_turn(tx, turn.id, snapshot=snapshot.commit, tree=snapshot.tree)
            made = SnapshotMade(
                snapshot.commit,
                snapshot.tree,
                session.base,
                snapshot.files,
                snapshot.insertions,
                snapshot.deletions,
            )
            record(tx, made, session, turn=turn.id)
            self.task = tasks.move(tx, self.task.id, TaskState.JUDGING, "", AIRBOSS)

        await self._services.store.write(work)
        failpoint("snapshot-made")

    async def _judge(self) -> None:
        session = await self._session()
        turn = await self._turn(session)
        candidate = Candidate(self.task, session, turn, turn.snapshot, turn.tree, session.base, round=1)
        verdict = await self._judged(candidate)
        failpoint("verdict-taken")
        await self._act_on(verdict, session)

    async def _hold(self) -> None:
        decision = await self._services.store.read(lambda tx: approvals.hold_decision(tx, self.task.id))
        session = await self._session()
        if decision is None:
            if not await self._heard(session):
                await self._wait(60.0)
            return

        def work(tx: Tx) -> None:
            approvals.settle(tx, decision.id)
            released = HoldReleased(decision.commit, decision.allowed, decision.reason)
            record(tx, released, session, source=Said.PERSON, actor=decision.by)
            new = TaskState.LANDING if decision.allowed else TaskState.REFUSED
            why = "" if decision.allowed else f"{decision.by} said no"
            self.task = tasks.move(tx, self.task.id, new, why, AIRBOSS)

        await self._services.store.write(work)

    async def _land(self) -> None:
        session = await self._session()
        turn = await self._turn(session)
        came = await MergeQueue(self._services, self.task, session, turn, self._judged).land()
        if isinstance(came, Interrupted):
            if not await self._stop_requested():
                await self._heard(session)
            return
        if came is not None:
            await self._act_on(came, session)
            return
        await self._services.issue_receipt(self.task)
        failpoint("receipt-written")
        await self._move(TaskState.LANDED, "")
        failpoint("task-landed")

    async def _judged(self, candidate: Candidate) -> Verdict:
        """The gatekeeper's verdict; a person's stop meanwhile ends the gates that run."""
        judging = asyncio.create_task(self._services.gatekeeper.judge(candidate), name=f"judge {self.task.id}")
        try:
            while True:
                self._woken.clear()
                if await self._stop_requested():
                    await self._services.gatekeeper.abandon(self.task.id)
                woken = asyncio.create_task(self._woken.wait())
                await asyncio.wait({judging, woken}, return_when=asyncio.FIRST_COMPLETED)
                woken.cancel()
                if judging.done():
                    return await judging
        finally:
            judging.cancel()

    # --- what a verdict leads to ----------------------------------------------------------------------

    async def _act_on(self, verdict: Verdict, session: Session) -> None:
        if await self._stop_requested():
            return  # the next step ends the task; what this verdict says was cut short, or comes too late
        if verdict.outcome in _HEARD_AT and await self._heard(session, verdict):
            return
        why = "; ".join(verdict.reasons)
        match verdict.outcome:
            case Outcome.PASSED:
                if self.task.state is not TaskState.LANDING:
                    await self._move(TaskState.LANDING, "")
            case Outcome.FAILED if await self._reworks(session) < verdict.rework_turns:
                await self._agent.go_on(session, "rework", prompts.rework(verdict), self._running)
            case Outcome.FAILED:
                await self._move_unless_said(TaskState.FAILED, why)
            case Outcome.HELD:
                await self._held(verdict, session, why)
            case Outcome.REFUSED:
                await self._move(TaskState.REFUSED, why)
            case Outcome.UNAVAILABLE:
                await self._move(TaskState.UNAVAILABLE, why)
            case Outcome.LOST:
                await self._move(TaskState.LOST, why)

    async def _held(self, verdict: Verdict, session: Session, why: str) -> None:
        def work(tx: Tx) -> None:
            if sessions.words_wait(tx, self.task.id):
                return  # said since the verdict came; the next step finds both
            approvals.open_hold(tx, session=session, commit=verdict.commit, tree=verdict.tree, reason=why)
            self.task = tasks.move(tx, self.task.id, TaskState.HELD, why, AIRBOSS)

        await self._services.store.write(work)

    async def _heard(self, session: Session, verdict: Verdict | None = None) -> bool:
        """Goes on with a further turn if a person said something that no turn has read; whether that was so.

        After a red ``verdict`` the agent reads that too. It is nobody's rework turn: a person wanted it.
        """
        executor = self._services.executors.agent(session.machine)
        words = await notes.waiting(self._services.store, executor, session)
        if words is None:
            return False
        red = verdict is not None and verdict.outcome is Outcome.FAILED
        text = f"{prompts.rework(verdict)}\n\n{words.text}" if verdict is not None and red else words.text
        await self._agent.go_on(session, "said", text, self._running, words)
        return True

    async def _reworks(self, session: Session) -> int:
        found = await self._services.store.read(lambda tx: sessions.turns(tx, session.id))
        return sum(turn.cause == "rework" for turn in found)

    def _running(self, tx: Tx) -> None:
        """Part of the transaction that begins a turn."""
        if self.task.state is TaskState.HELD:
            approvals.withdraw_hold(tx, self.task.id, by=AIRBOSS, why=notes.MORE_WAS_SAID)
        if self.task.state is not TaskState.RUNNING:
            self.task = tasks.move(tx, self.task.id, TaskState.RUNNING, "", AIRBOSS)

    # --- ends -------------------------------------------------------------------------------------------

    async def _stop_requested(self) -> bool:
        return await self._services.store.read(lambda tx: tasks.stop_requested(tx, self.task.id))

    async def _stopped(self) -> None:
        who = await self._services.store.read(lambda tx: tasks.stopper(tx, self.task.id))
        await self._agent.interrupt()
        await self._move(TaskState.STOPPED, f"stopped by {who}")

    # --- small things -------------------------------------------------------------------------------------

    async def _move(self, state: TaskState, why: str) -> None:
        def work(tx: Tx) -> Task:
            unread = state in ENDS and sessions.words_wait(tx, self.task.id)
            told = "; ".join([*([why] if why else []), notes.NOT_READ]) if unread else why
            return tasks.move(tx, self.task.id, state, told, AIRBOSS)

        self.task = await self._services.store.write(work)

    async def _move_unless_said(self, state: TaskState, why: str) -> None:
        """To an end, or not at all when there are words left that the agent should read first."""

        def work(tx: Tx) -> None:
            if not sessions.words_wait(tx, self.task.id):
                self.task = tasks.move(tx, self.task.id, state, why, AIRBOSS)

        await self._services.store.write(work)

    async def _refresh_why(self, why: str) -> None:
        if why != self.task.why:
            self.task = await self._services.store.write(lambda tx: tasks.explain(tx, self.task.id, why))

    async def _reach(self, *, up: bool, why: str) -> None:
        """Tells once that a machine is away while a step needs it, and once that it is back."""
        if up == self._reached:
            return
        self._reached = up

        def work(tx: Tx) -> None:
            if found := sessions.of_task(tx, self.task.id):
                record(tx, LinkChanged(up, why[:500]), found[-1])

        await self._services.store.write(work)

    async def _wait(self, seconds: float) -> None:
        """Until woken since this step began, or for so long."""
        if await self._stop_requested():
            return
        try:
            async with asyncio.timeout(seconds):
                await self._woken.wait()
        except TimeoutError:
            return

    def _attempts_left(self) -> bool:
        self._failures += 1
        return self._failures <= len(_RETRIES)

    async def _session(self) -> Session:
        found = await self._services.store.read(lambda tx: sessions.of_task(tx, self.task.id))
        return found[-1]

    async def _turn(self, session: Session) -> Turn:
        found = await self._services.store.read(lambda tx: sessions.turns(tx, session.id))
        return found[-1]
