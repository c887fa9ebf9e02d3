"""What a flight does in each state. Each step stores what comes next, and keeps nothing in memory."""

from __future__ import annotations

import contextlib
from collections.abc import Awaitable, Callable

from fleet import leaks
from fleet.agent_events import TurnOutcome
from fleet.errors import AirbossError, LeadershipLost, LeaseLost, StoreUnavailable, Unreachable
from fleet.events import HoldReleasedV2, SecretsReleased, SessionPlacedV2, Source
from fleet.failpoints import failpoint
from fleet.flight import notes, preparing, prompts, snapshots, starting
from fleet.flight.agent_process import AgentProcess
from fleet.flight.asking import Asking
from fleet.flight.halting import before_rework
from fleet.flight.landing import Landing, LandingCalls
from fleet.flight.merge_back import MergeBack
from fleet.flight.moves import move, move_unless_said, running
from fleet.flight.retrying import Retrying
from fleet.flight.services import Services
from fleet.flight.stalling import NOT_GONE, Stalling, why_lost
from fleet.flight.turn_wait import TurnWait
from fleet.flight.waits import Waits
from fleet.git.handed_over import TreeRefused, WorktreeGone
from fleet.landing.outcome import Doing
from fleet.model import AIRBOSS, PipeEnd, Session, Task, TaskEnd, TaskMode, TaskState, Turn, TurnCause
from fleet.ports import Candidate
from fleet.store import approvals, merges, queue, refusals, sessions, takeovers, tasks
from fleet.store.core import Tx
from fleet.store.recording import record
from fleet.supervise import alongside, first
from fleet.verdict import Outcome, Verdict

_LOOK_AGAIN_S = 30.0
_UNDO_TURNS = 2
"""How many turns an agent gets to undo a change of what it may not change. Rework turns of gates count too."""


InTouch = Callable[[Task], Awaitable[None]]
"""Called once the machine of a task's agent has answered, before a step that goes on for long."""


class Steps:
    """One task's steps."""

    def __init__(self, services: Services, agent: AgentProcess, waits: Waits, in_touch: InTouch) -> None:
        self._services, self._agent, self._waits, self._in_touch = services, agent, waits, in_touch
        self._stalling = Stalling(services, agent, waits, self._heard)
        self._retrying = Retrying(services, agent, waits, self._heard)
        self._asking = Asking(services, agent, waits, self._heard)
        self._merge_back = MergeBack(services, agent, waits)
        calls = LandingCalls(self._judged, self._act_on, self._heard)
        self._landing = Landing(services, waits, self._merge_back, calls)
        self._steps: dict[TaskState, Callable[[Task], Awaitable[None]]] = {
            TaskState.QUEUED: self._place,
            TaskState.PREPARING: self._prepare,
            TaskState.RUNNING: self._run,
            TaskState.STALLED: self._stalling.wait,
            TaskState.PARKED: self._stalling.wait,
            TaskState.ASKING: self._asking.wait,
            TaskState.JUDGING: self._judge,
            TaskState.HELD: self._hold,
            TaskState.LANDING: self._landing.land,
        }

    async def step(self, task: Task) -> None:
        """Runs the step of the task's state. Raises ``StopWanted`` when a stop interrupts it."""
        if task.state in (TaskState.RUNNING, TaskState.LANDING):
            session, merge = await self._services.store.read(lambda tx: merges.of_task(tx, task.id))
            if merge is not None:
                await self._merge_back.go_on(task, session, merge)
                return
        await self._steps[task.state](task)

    async def stop(self, task: Task) -> None:
        """Ends the task because a person asked for it."""
        stopped_by = await self._services.store.read(lambda tx: tasks.stopped_by(tx, task.id))
        await self._agent.interrupt()
        await self._move(task, TaskState.STOPPED, f"stopped by {stopped_by}")

    # --- in the order of a task -----------------------------------------------------------------------

    async def _place(self, task: Task) -> None:
        locked = self._services.locks.waits(task)
        if locked:
            await self._explain(task, locked)
            await self._waits.wait(_LOOK_AGAIN_S)
            return
        self._services.slot_line.step_back(task.id)
        with self._services.slot_line.standing(task.id, self._waits.wake):  # before it looks: it misses no call
            slot = (await self._services.store.read(queue.reserved)).get(task.id)
            if slot is None:
                await self._waits.told()
                return
        try:
            await self._start(task, slot)
        except (StoreUnavailable, LeadershipLost, LeaseLost):
            raise  # it keeps its slot: the next try finds it
        except AirbossError:
            await self._give_back(task)
            raise

    async def _start(self, task: Task, slot: queue.Reserved) -> None:
        """Makes a session of a slot that is reserved, or gives the slot back."""
        locked = await self._services.locks.claim(task)
        if locked:
            await self._give_back(task)
            return
        base = await self._waits.unless_stopped(preparing.checked_base(self._services, task), Doing.FETCH)
        config = self._services.config()

        def work(tx: Tx) -> bool:
            kept = queue.reserved(tx).get(task.id)
            if kept != slot or slot.machine not in config.machines or slot.machine in queue.pauses(tx):
                return False
            if starting.not_yet(tx, task, config, self._services.zone):
                return False
            session = sessions.create_session(
                tx,
                task=task.id,
                machine=slot.machine,
                agent=task.agent,
                base=base,
                isolation=config.isolation,
                login=slot.login,
            )
            event = SessionPlacedV2(slot.machine, task.agent, base, config.isolation, slot.passed_over, slot.login)
            record(tx, event, session)
            move(tx, task.id, TaskState.PREPARING)
            if self._services.sharing is not None:
                self._services.sharing.hand_on(tx, task.id)
            return True

        if await self._services.store.write(work):
            failpoint("session-placed")
        else:
            await self._give_back(task)

    async def _give_back(self, task: Task) -> None:
        self._services.slot_line.step_aside(task.id)
        await self._services.store.write(lambda tx: queue.release(tx, task.id))
        self._services.slot_line.changed.set()

    async def _explain(self, task: Task, why: str) -> None:
        if why != task.why:
            await self._services.store.write(lambda tx: tasks.explain(tx, task.id, why))

    async def _prepare(self, task: Task) -> None:
        session = await preparing.prepared(self._services, self._waits, task, await self._session(task))
        await self._agent.begin(session, TurnCause.REQUEST, task.prompt, self._running(task))

    async def _run(self, task: Task) -> None:
        session, turn = await self._at(task)
        if turn.ended_us == 0:
            follower = await self._waits.unless_stopped(self._agent.follow(session), Doing.START)
            await self._in_touch(task)
            match await follower.turn_end(turn):
                case TurnWait.STOPPED:
                    return  # the next step sees it
                case TurnWait.UNANSWERED if not await self._in_hand(task):
                    await self._asking.give_slot_back(task, follower.session)
                    return
                case TurnWait.ANEW:
                    await self._agent.interrupt()
                case TurnWait.HALTED | TurnWait.UNANSWERED:
                    await follower.end_turn()
            session = follower.session
        if session.pipe_end.lost:
            await self._move(task, TaskState.LOST, why_lost(session))
            return
        if session.pipe_end is PipeEnd.UNAVAILABLE:
            why = self._agent.why_unavailable
            await self._move(
                task, TaskState.UNAVAILABLE, f"{session.agent} did not start on {session.machine}: {why}"
            )
            return
        turn, hand = await self._services.store.read(
            lambda tx: (sessions.turns(tx, session.id)[-1], takeovers.current(tx, task.id))
        )
        if hand is not None:
            await self._stalling.stall(task, session)
            return
        if turn.outcome is not TurnOutcome.COMPLETED:
            if not await self._retrying.retried(task, session, turn):
                await self._stalling.stall(task, session)
            return
        if await self._heard(task, session):
            return
        if task.mode is TaskMode.ASK:
            await self._move_unless_said(task, TaskState.ANSWERED)
            return
        await self._snapshot(task, session, turn)

    async def _snapshot(self, task: Task, session: Session, turn: Turn) -> None:
        if session.isolation.unsafe and not await self._agent.gone(session):
            session = await self._session(task)
            await self._move(task, TaskState.LOST, why_lost(session) if session.pipe_end.lost else NOT_GONE)
            return
        try:
            snapshot = await snapshots.take(self._services, self._waits, task, session, turn)
        except (TreeRefused, WorktreeGone) as error:
            await self._untakeable(task, session, error)
            return
        if words := await snapshots.words_for(self._services, session, snapshot):
            await self._agent.go_on(session, TurnCause.REWORK, words, self._running(task))
            return
        if snapshot.empty:
            why, end = prompts.nothing_changed(turn, snapshot), TaskEnd.UNCHANGED
            await self._move_unless_said(task, TaskState.FAILED, why, end=end)
            return
        locked = await self._services.locks.changed(session, task, snapshot.commit)
        if locked is not None:
            if not (locked.over and await self._merge_back.onto_current(task, session, turn, locked)):
                await self._locked(task, session, locked.why)
            return

        def work(tx: Tx) -> None:
            snapshots.note(tx, session, turn, snapshot)
            move(tx, task.id, TaskState.JUDGING)

        await self._services.store.write(work)
        failpoint("snapshot-made")

    async def _untakeable(self, task: Task, session: Session, error: TreeRefused | WorktreeGone) -> None:
        """The worktree cannot be taken: the agent is told why and what to do, then a person is asked."""
        if isinstance(error, WorktreeGone):
            await self._move(task, TaskState.FAILED, f"{error.cause}; /retry {task.id} starts again from the base")
        elif await self._reworks(session) < _UNDO_TURNS:
            await self._agent.go_on(session, TurnCause.REWORK, prompts.untakeable(error.cause), self._running(task))
        else:
            await self._stalling.stall(task, session, f"its work could not be taken: {error.cause}")

    async def _locked(self, task: Task, session: Session, why: str) -> None:
        """The change has what this task may not change: the agent is told to undo that, and nothing lands."""
        if await self._reworks(session) < _UNDO_TURNS:
            await self._agent.go_on(session, TurnCause.REWORK, prompts.locked(why), self._running(task))
        else:
            await self._move(task, TaskState.REFUSED, f"{why}; /retry {task.id} starts again from the base")

    async def _judge(self, task: Task) -> None:
        session, turn = await self._at(task)
        if await self._merge_back.unresolved(task, session, turn):
            return
        candidate = Candidate(task, session, turn, turn.snapshot, turn.tree, session.base, round=1)
        verdict = await self._judged(candidate)
        failpoint("verdict-taken")
        await self._act_on(task, verdict, session)

    async def _hold(self, task: Task) -> None:
        decision = await self._services.store.read(lambda tx: approvals.hold_decision(tx, task.id))
        session = await self._session(task)
        if decision is None:
            if not await self._heard(task, session):
                await self._wait_for_release(session)
            return

        def work(tx: Tx) -> None:
            approvals.settle(tx, decision.id)
            authors, config = {task.requester, *takeovers.people_of(tx, task.id)}, self._services.config()
            own = any(config.is_same_person(decision.by, author) for author in authors)
            released = HoldReleasedV2(decision.commit, decision.allowed, decision.reason, own and decision.allowed)
            source = Source.CONTROLLER if decision.by == AIRBOSS else Source.PERSON
            record(tx, released, session, source=source, actor=decision.by)
            found = leaks.from_json(approvals.approval(tx, decision.id).request)
            if decision.allowed and found:
                fingerprints = tuple(dict.fromkeys(leak.fingerprint for leak in found))
                known = SecretsReleased(task.repo, decision.commit, fingerprints)
                record(tx, known, session, source=Source.PERSON, actor=decision.by)
            if decision.allowed:
                move(tx, task.id, TaskState.LANDING)
            else:
                move(tx, task.id, TaskState.REFUSED, prompts.denied(decision))

        await self._services.store.write(work)

    async def _wait_for_release(self, session: Session) -> None:
        """Until a decision, or the question's end. Meanwhile no process of the agent lives, and no slot is held."""
        if await self._services.store.read(lambda tx: refusals.overdue(tx, session.id)):
            await self._services.store.write(lambda tx: approvals.expire(tx, session.id))
            return
        if session.pipe_end is PipeEnd.NONE:
            with contextlib.suppress(Unreachable):
                await self._agent.gone(session)
        await self._waits.wait(60.0)

    async def _judged(self, candidate: Candidate) -> Verdict:
        """The gatekeeper's verdict; a person's stop meanwhile ends the running gates.

        Raises ``RepositoryUnusable`` while no change on its base can be judged.
        """
        gatekeeper, task_id = self._services.gatekeeper, candidate.task.id
        await gatekeeper.preflight(candidate.task.repo, candidate.base)
        if candidate.task.state is TaskState.JUDGING:
            await self._waits.over(candidate.task)
        async with alongside(gatekeeper.judge(candidate), f"judge {task_id}") as judging:
            while True:
                self._waits.begin()
                if await self._waits.stopped():
                    await gatekeeper.abandon(task_id)
                await first(judging, self._waits.news())
                if judging.done():
                    return await judging

    async def _act_on(self, task: Task, verdict: Verdict, session: Session) -> None:
        if await self._waits.stopped():
            return  # the next step ends the task; this verdict was cut short or comes too late
        if verdict.outcome.judged and await self._heard(task, session, verdict):
            return
        why = "; ".join(verdict.reasons)
        match verdict.outcome:
            case Outcome.PASSED | Outcome.APPROVED | Outcome.OVERRIDDEN:
                if task.state is not TaskState.LANDING:
                    await self._move(task, TaskState.LANDING)
            case Outcome.FAILED | Outcome.TIMED_OUT if await self._reworks(session) < verdict.rework_turns:
                if halted := await before_rework(self._services, task, session):
                    await self._stalling.stall(task, session, halted)
                    return
                await self._agent.go_on(session, TurnCause.REWORK, prompts.rework(verdict), self._running(task))
            case Outcome.FAILED | Outcome.TIMED_OUT:
                await self._move_unless_said(task, TaskState.FAILED, why)
            case Outcome.HELD:
                await self._held(task, verdict, session, why)
            case Outcome.REFUSED:
                await self._move(task, TaskState.REFUSED, why)
            case Outcome.UNAVAILABLE:
                await self._move(task, TaskState.UNAVAILABLE, why)
            case Outcome.LOST | Outcome.ABORTED | Outcome.MISSING | Outcome.STALE:
                await self._move(task, TaskState.LOST, why)

    async def _held(self, task: Task, verdict: Verdict, session: Session, why: str) -> None:
        def work(tx: Tx) -> None:
            if sessions.words_wait(tx, task.id):
                return  # a message arrived after the verdict; the next step finds both
            approvals.open_hold(
                tx,
                session=session,
                commit=verdict.commit,
                tree=verdict.tree,
                reason=why,
                leaks=leaks.to_json(verdict.leaks),
                expires_us=tx.now_us() + self._services.config().limits.hold_days * 86_400_000_000,
            )
            move(tx, task.id, TaskState.HELD, why)

        await self._services.store.write(work)

    async def _heard(self, task: Task, session: Session, verdict: Verdict | None = None) -> bool:
        """Starts another turn if there is an unread message of a person; returns whether it did.

        After a failing ``verdict`` the agent reads that too. It does not count as a rework turn: a person wanted
        it.
        """
        executor = self._services.executors.agent(session.machine, session.login)
        words = await notes.waiting(self._services.store, executor, session)
        if words is None:
            return False
        red = verdict is not None and verdict.outcome.red
        text = f"{prompts.rework(verdict)}\n\n{words.text}" if verdict is not None and red else words.text
        await self._agent.go_on(session, TurnCause.SAID, text, self._running(task), words)
        return True

    async def _in_hand(self, task: Task) -> bool:
        """Whether a person takes the task over by hand."""
        return await self._services.store.read(lambda tx: takeovers.current(tx, task.id)) is not None

    async def _reworks(self, session: Session) -> int:
        found = await self._services.store.read(lambda tx: sessions.turns(tx, session.id))
        completed = [turn for turn in found if turn.outcome is TurnOutcome.COMPLETED]
        return sum(turn.cause is TurnCause.REWORK for turn in completed)

    def _running(self, task: Task) -> Callable[[Tx], None]:
        return running(task, self._services.config())

    async def _move(self, task: Task, state: TaskState, why: str = "") -> None:
        await self._services.store.write(lambda tx: move(tx, task.id, state, why))

    async def _move_unless_said(
        self, task: Task, state: TaskState, why: str = "", *, end: TaskEnd | None = None
    ) -> None:
        await self._services.store.write(lambda tx: move_unless_said(tx, task.id, state, why, end=end))

    async def _session(self, task: Task) -> Session:
        return await self._services.store.read(lambda tx: sessions.newest(tx, task.id))

    async def _at(self, task: Task) -> tuple[Session, Turn]:
        return await self._services.store.read(lambda tx: sessions.at(tx, task.id))
