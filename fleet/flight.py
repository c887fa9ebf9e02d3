"""One task's life, as one legible state machine: each state has one step, each step says the next state.

A step may be entered again after a crash at any point; it finds in the store, on the machine and in git what an
earlier controller already did, and goes on from there.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable
from dataclasses import replace

from fleet import placement, wording
from fleet.errors import AirbossError, FenceLost, Misused, Refused, Unavailable, Unreachable
from fleet.events import (
    HoldReleased,
    PersonSaid,
    PipeStarted,
    SessionEnded,
    SessionPlaced,
    SnapshotMade,
    TurnStarted,
)
from fleet.failpoints import failpoint
from fleet.follow import Follower
from fleet.merge_queue import MergeQueue
from fleet.model import ENDS, Session, Task, TaskMode, TaskState, Turn
from fleet.ports import Brief, Candidate, Executor, PipeSpec
from fleet.services import AIRBOSS, Services, record
from fleet.store import approvals, sessions, tasks
from fleet.store.core import Tx
from fleet.verdict import Outcome, Verdict

_log = logging.getLogger(__name__)

_RETRIES = (1.0, 5.0, 15.0)


class Flight:
    """Takes one task from where it stands to an end, or to waiting for a person."""

    def __init__(self, services: Services, task: Task) -> None:
        self._services = services
        self.task = task
        self._woken = asyncio.Event()
        self._follower: Follower | None = None
        self._stop = False
        self._failures = 0
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
        if self._follower is not None:
            self._follower.wake()

    async def fly(self) -> None:
        """Steps until the task has ended. Cancelling leaves everything as it stands, to be gone on with.

        A bug in a step ends this task as lost, with its name, and stops no other. Raises ``FenceLost``.
        """
        try:
            while self.task.state not in ENDS:
                await self._step()
            await self._clean_up()
        except FenceLost:
            raise
        except Exception as error:
            _log.exception("task %s in %s", self.task.id, self.task.state)
            if self.task.state in ENDS:
                return
            await self._move(TaskState.LOST, f"a bug of ours, {type(error).__name__}: {error}"[:500])
            await self._clean_up()
        finally:
            if self._follower is not None:
                await self._follower.close()

    async def _step(self) -> None:
        if await self._stop_requested():
            await self._stopped()
            return
        try:
            await self._steps[self.task.state]()
            self._failures = 0
        except (Refused, Misused) as error:
            await self._move(TaskState.REFUSED, str(error))
        except Unreachable as error:
            await self._wait(5.0)
            await self._refresh_why(f"waiting for the link: {error.cause or error}")
        except Unavailable as error:
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

        await self._services.write(work)
        failpoint("session-placed")

    async def _prepare(self) -> None:
        session = await self._session()
        executor = self._services.executors.agent(session.machine)
        repository = self._services.repositories(self.task.repo)
        name = f"{self._services.store.instance}-{session.id}"
        workspace = await self._services.workspaces.prepare(executor, repository, session.base, name)
        failpoint("workspace-prepared")
        await self._begin_turn(replace(session, workspace=workspace), "request", self.task.prompt)

    async def _run(self) -> None:
        session = await self._session()
        turn = await self._turn(session)
        executor = self._services.executors.agent(session.machine)
        if turn.ended_us == 0:
            follower = await self._follow(session, executor)
            if not await follower.turn_end(turn):
                return  # a person asked for a stop; the next step sees it
            session = follower.session
        if session.pipe_end == "lost":
            await self._move(TaskState.LOST, "the agent's process ended and nobody who may be believed saw how")
            return
        if session.pipe_end == "unavailable":
            why = self._follower.ended.unavailable if self._follower and self._follower.ended else "no such program"
            await self._move(TaskState.UNAVAILABLE, f"{session.agent} did not start on {session.machine}: {why}")
            return
        if notes := await self._services.write(lambda tx: sessions.take_notes(tx, session.id)):
            await self._begin_next(session, "said", "\n\n".join(note.text for note in notes))
            return
        if self.task.mode is TaskMode.ASK:
            await self._move(TaskState.ANSWERED, "")
            return
        turn = await self._turn(session)
        await self._snapshot(session, turn, executor)

    async def _snapshot(self, session: Session, turn: Turn, executor: Executor) -> None:
        if session.isolation.unsafe and not await self._agent_gone(session):
            await self._move(
                TaskState.LOST, "the agent shares the gate's login and its processes were not seen gone"
            )
            return
        message = wording.commit_message(self.task, session, turn)
        repository = self._services.repositories(self.task.repo)
        snapshot = await self._services.workspaces.snapshot(
            executor, repository, session.base, session.workspace, message, turn.ended_us // 1_000_000
        )
        if snapshot.empty:
            turn = await self._turn(session)
            await self._move(TaskState.FAILED, wording.nothing_changed(turn))
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

        await self._services.write(work)
        failpoint("snapshot-made")

    async def _judge(self) -> None:
        session = await self._session()
        turn = await self._turn(session)
        candidate = Candidate(self.task, session, turn, turn.snapshot, turn.tree, session.base, round=1)
        verdict = await self._services.gatekeeper.judge(candidate)
        failpoint("verdict-taken")
        await self._act_on(verdict, session, turn)

    async def _hold(self) -> None:
        decision = await self._services.store.read(lambda tx: approvals.hold_decision(tx, self.task.id))
        if decision is None:
            await self._wait(60.0)
            return
        session = await self._session()

        def work(tx: Tx) -> None:
            approvals.settle(tx, decision.id)
            released = HoldReleased(decision.commit, decision.allowed, decision.reason)
            record(tx, released, session)
            new = TaskState.LANDING if decision.allowed else TaskState.REFUSED
            why = "" if decision.allowed else f"{decision.by} said no"
            self.task = tasks.move(tx, self.task.id, new, why, AIRBOSS)

        await self._services.write(work)

    async def _land(self) -> None:
        session = await self._session()
        turn = await self._turn(session)
        verdict = await MergeQueue(self._services, self.task, session, turn).land()
        if verdict is not None:
            await self._act_on(verdict, session, turn)
            return
        await self._services.issue_receipt(self.task)
        failpoint("receipt-written")
        await self._move(TaskState.LANDED, "")

    # --- what a verdict leads to ----------------------------------------------------------------------

    async def _act_on(self, verdict: Verdict, session: Session, turn: Turn) -> None:
        why = "; ".join(verdict.reasons)
        match verdict.outcome:
            case Outcome.PASSED:
                if self.task.state is not TaskState.LANDING:
                    await self._move(TaskState.LANDING, "")
            case Outcome.FAILED if turn.number <= verdict.rework_turns:
                await self._begin_next(session, "rework", wording.rework(verdict))
            case Outcome.FAILED:
                await self._move(TaskState.FAILED, why)
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
            approvals.open_hold(tx, session=session, commit=verdict.commit, tree=verdict.tree, reason=why)
            self.task = tasks.move(tx, self.task.id, TaskState.HELD, why, AIRBOSS)

        await self._services.write(work)

    # --- turns ------------------------------------------------------------------------------------------

    async def _begin_next(self, session: Session, cause: str, text: str) -> None:
        """The same agent's next turn: on its living process where there is one, else in a new process."""
        follower = self._follower
        if follower is None and not session.pipe_end:
            follower = await self._follow(session, self._services.executors.agent(session.machine))
        if follower is None or follower.ended is not None or session.one_turn:
            if not session.resume:
                text = wording.from_the_start(self.task.prompt, text)
            await self._begin_turn(session, cause, text)
            return

        def commit(tx: Tx) -> Turn:
            turn = self._open_turn(tx, session, cause, text)
            self._running(tx)
            return turn

        await follower.say(text, commit)

    def _open_turn(self, tx: Tx, session: Session, cause: str, text: str) -> Turn:
        turn = sessions.create_turn(tx, session, cause, text)
        if cause == "said":
            record(tx, PersonSaid(text, "queued"), session, turn=turn.id)
        record(tx, TurnStarted(turn.number, cause, text), session, turn=turn.id)
        return turn

    async def _begin_turn(self, session: Session, cause: str, prompt: str) -> None:
        """A turn in a new process. What it will be is committed before it is started."""
        await self._drop_follower()
        driver = self._services.driver_of(session)
        brief = self._brief(session, prompt)
        launch, step = driver.launch(brief), driver.open(brief)

        def work(tx: Tx) -> None:
            pipe = f"{self._services.store.instance}-{session.id}-p{sessions.next_pipe(tx, session.id)}"
            opened = sessions.update(
                tx,
                session.id,
                workspace=session.workspace,
                pipe=pipe,
                pipe_end="",
                one_turn=launch.one_turn,
                nonce=self._services.new_nonce(),
                spool_offset=0,
                driver_state=sessions.dump_state(step.state),
            )
            sessions.queue_input(tx, pipe, step.send, eof=step.eof)
            self._open_turn(tx, opened, cause, prompt)
            record(tx, PipeStarted(pipe, launch.argv[0]), opened)
            self._running(tx)

        await self._services.write(work)
        failpoint("pipe-committed")

    def _running(self, tx: Tx) -> None:
        if self.task.state is not TaskState.RUNNING:
            self.task = tasks.move(tx, self.task.id, TaskState.RUNNING, "", AIRBOSS)

    def _brief(self, session: Session, prompt: str) -> Brief:
        agent = self._services.config().agents[session.agent]
        return Brief(
            conversation=session.conversation,
            prompt=prompt,
            workspace=session.workspace,
            program=tuple(agent.program),
            model=agent.model,
            resume=session.resume,
            read_only=self.task.mode is TaskMode.ASK,
        )

    async def _follow(self, session: Session, executor: Executor) -> Follower:
        """Starts the session's process, or finds it, and follows it."""
        if self._follower is not None and self._follower.session.pipe == session.pipe:
            return self._follower
        await self._drop_follower()
        driver, config = self._services.driver_of(session), self._services.config()
        agent = config.agents[session.agent]
        first = await self._services.store.read(lambda tx: sessions.first_turn_of_pipe(tx, session.id))
        launch = driver.launch(self._brief(session, first.prompt))
        secrets = {name: self._services.secrets.get(name) for name in agent.env}
        spec = PipeSpec(
            id=session.pipe,
            nonce=session.nonce,
            argv=launch.argv,
            cwd=session.workspace,
            env={**launch.env, **agent.settings, **{name: value for name, value in secrets.items() if value}},
            stdin=True,
        )
        await executor.start(spec)
        failpoint("pipe-started")
        self._follower = Follower(self._services, executor, self.task, session, lambda: self._stop)
        return self._follower

    async def _drop_follower(self) -> None:
        if self._follower is not None:
            await self._follower.close()
            self._follower = None

    async def _agent_gone(self, session: Session) -> bool:
        if session.pipe_end:
            return session.pipe_end == "gone"
        follower = await self._follow(session, self._services.executors.agent(session.machine))
        return await follower.gone()

    # --- ends -------------------------------------------------------------------------------------------

    async def _stop_requested(self) -> bool:
        self._stop = await self._services.store.read(lambda tx: tasks.stop_requested(tx, self.task.id))
        return self._stop

    async def _stopped(self) -> None:
        who = await self._services.store.read(lambda tx: tasks.stopper(tx, self.task.id))
        if self._follower is not None and self._follower.ended is None:
            await self._follower.interrupt()
        await self._move(TaskState.STOPPED, f"stopped by {who}")

    async def _clean_up(self) -> None:
        """Ends what still runs and closes the session. A landed workspace goes; any other stays to be read."""
        found = await self._services.store.read(lambda tx: sessions.of_task(tx, self.task.id))
        for session in found:
            if session.ended_us:
                continue
            executor = self._services.executors.agent(session.machine)
            try:
                if session.pipe and not session.pipe_end:
                    await self._agent_gone(session)
                if self.task.state in (TaskState.LANDED, TaskState.ANSWERED) and session.workspace:
                    await self._services.workspaces.discard(executor, session.workspace)
            except AirbossError as error:
                why = f"left behind on {session.machine}: {error}"
            else:
                why = ""

            def work(tx: Tx, session: Session = session, why: str = why) -> None:
                sessions.update(tx, session.id, ended_us=tx.now_us())
                record(tx, SessionEnded(why), session)

            await self._services.write(work)

    # --- small things -------------------------------------------------------------------------------------

    async def _move(self, state: TaskState, why: str) -> None:
        self.task = await self._services.write(lambda tx: tasks.move(tx, self.task.id, state, why, AIRBOSS))

    async def _refresh_why(self, why: str) -> None:
        if why != self.task.why:
            self.task = await self._services.write(lambda tx: tasks.explain(tx, self.task.id, why))

    async def _wait(self, seconds: float) -> None:
        """Until woken, or for so long."""
        self._woken.clear()
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
