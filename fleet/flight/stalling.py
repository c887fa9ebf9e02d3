"""Handles a turn that did not complete: keeps its work, judges nothing, and asks a person.

While the task waits, no process of the agent runs. A person's decision is a row (``fleet/store/stalls.py``); the
flight acts on it in the transaction that settles it.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable

from fleet.agents.resets import clock_of, limit_ends_us
from fleet.errors import Refused
from fleet.flight import keeping, moving, prompts, snapshots
from fleet.flight.agent_process import AgentProcess
from fleet.flight.by_hand import ByHand
from fleet.flight.moves import move, running, settle_stall, take_slot, to_running
from fleet.flight.services import Services
from fleet.flight.waits import Waits
from fleet.git.workspace import Snapshot
from fleet.model import AIRBOSS, PipeEnd, Session, Task, TaskMode, TaskState, Turn, TurnCause
from fleet.store import approvals, halts, sessions, stalls, takeovers
from fleet.store.approvals import Answer, ApprovalDecision
from fleet.store.core import Tx
from fleet.store.states import AfterHand, TakeoverState
from fleet.store.takeovers import Takeover

NOT_GONE = "the agent shares the gates' login, and its processes may still run"
NO_RECORD = "no trusted exit record of the agent's process"
TAMPERED = "tampered with: somebody else changed the record, the output or the input of the agent's process"


def why_lost(session: Session) -> str:
    """Why a session ends whose process is lost."""
    return TAMPERED if session.pipe_end is PipeEnd.TAMPERED else NO_RECORD


Heard = Callable[[Task, Session], Awaitable[bool]]
"""Starts a turn with people's waiting messages, and returns whether there were any."""


async def resumes_us(services: Services, task: Task, turn: Turn, decided: Answer | None) -> int:
    """When a parked task goes on without a further word, epoch microseconds; 0: nobody wants it to wait."""
    ends_us = limit_ends_us(turn) if task.state is TaskState.PARKED else 0
    if ends_us and decided is None and services.config().limits.resume_after_limit:
        return await services.not_quiet(task.requester, ends_us)
    if ends_us and decided is not None and decided.reason == stalls.IN_HOURS:
        return await services.not_quiet(decided.by, ends_us)
    return ends_us if decided is not None and decided.reason == stalls.AT_RESET else 0


class Stalling:
    """One task's turns that stopped early."""

    def __init__(self, services: Services, agent: AgentProcess, waits: Waits, heard: Heard) -> None:
        self._services, self._agent, self._waits, self._heard = services, agent, waits, heard
        self._by_hand = ByHand(services, agent, waits)

    async def stall(self, task: Task, session: Session, why: str = "") -> None:
        """Ends the agent's process, takes the snapshot, and asks a person; waiting messages start a new turn
        instead. ``why``: other than how the turn ended."""
        await self._agent.gone(session)
        session, turn = await self._now(task)
        if session.pipe_end.lost:
            why = why_lost(session)
            await self._services.store.write(lambda tx: move(tx, task.id, TaskState.LOST, why))
            return
        hand = await self._by_hand.current(task)
        spent = hand is not None or await self._services.store.read(lambda tx: halts.spent(tx, session.id))
        if not spent and await self._heard(task, session):
            return
        snapshot, trouble = None, ""
        if task.mode is TaskMode.CHANGE:
            snapshot, trouble = await self._work_so_far(task, session, turn)
        why = hand.words if hand is not None else why or prompts.stalled(turn)
        until = limit_ends_us(turn)
        state = TaskState.PARKED if until else TaskState.STALLED
        if until:
            why = f"parked until {clock_of(until)}: {why}"

        def work(tx: Tx) -> None:
            if not spent and sessions.words_wait(tx, task.id):
                return  # a message arrived; the next step continues with it
            if snapshot is not None:
                snapshots.note(tx, session, turn, snapshot)
            if stalls.decision(tx, task.id) is None and hand is None:  # a person has decided already: it was silent
                _ask(tx, session, snapshot, why, trouble)
            move(tx, task.id, state, why)

        await self._services.store.write(work)

    async def _work_so_far(self, task: Task, session: Session, turn: Turn) -> tuple[Snapshot | None, str]:
        """The snapshot, or ``None`` and why it could not be taken."""
        try:
            snapshot = await snapshots.take(self._services, self._waits, task, session, turn)
        except Refused as error:
            return None, error.cause or str(error)
        return (None if snapshot.empty else snapshot), ""

    async def wait(self, task: Task) -> None:
        """The step of a stalled task: acts on a person's decision or message, or waits for one. Raises ``NoSlot``
        while its machine has no free slot."""
        await keeping.restore(self._services, task, (await self._now(task))[0])
        await moving.complete(self._services, task, (await self._now(task))[0])
        decided = await self._services.store.read(lambda tx: stalls.decision(tx, task.id))
        session, turn = await self._now(task)
        if (hand := await self._by_hand.current(task)) is not None:
            if hand.state is not TakeoverState.ENDED:
                await self._by_hand.work(task, session, hand)
            elif hand.then is AfterHand.ASK:
                await self._ask_after(task, session, turn, hand)
            else:
                await self._by_hand.go_on(task, session, hand)
            return
        spent = await self._services.store.read(lambda tx: halts.spent(tx, session.id))
        until = await resumes_us(self._services, task, turn, decided)
        if decided is not None and decided.decision is ApprovalDecision.JUDGE:
            await self._judge_as_it_is(task, session)
        elif not spent and await self._heard(task, session):
            return
        elif until > self._services.clock.now_us():
            await self._waits.wait(min(60.0, (until - self._services.clock.now_us()) / 1_000_000))
        elif decided is None and until:
            await self._agent.go_on(
                session, TurnCause.RETRY, prompts.go_on(prompts.stalled(turn)), self._resumed(task)
            )
        elif decided is not None:
            then = running(task, self._services.config())
            stall = await self._services.store.read(lambda tx: approvals.approval(tx, decided.id))
            await self._agent.go_on(session, TurnCause.GO_ON, prompts.go_on(stall.reason), then)
        else:
            await self._waits.wait(60.0)

    async def _ask_after(self, task: Task, session: Session, turn: Turn, hand: Takeover) -> None:
        """Asks a person what follows their work by hand."""
        snapshot, trouble = await self._work_so_far(task, session, turn)
        why = f"{hand.name} worked on it by hand" if hand.pipe else "the agent stepped aside, and nobody took over"

        def work(tx: Tx) -> None:
            takeovers.over(tx, hand)
            if snapshot is not None:
                snapshots.note(tx, session, turn, snapshot)
            stalls.withdraw(tx, task.id, by=AIRBOSS, why="the work has changed")
            _ask(tx, session, snapshot, why, trouble)
            move(tx, task.id, TaskState.STALLED, why)  # so that the person gets the question

        await self._services.store.write(work)

    def _resumed(self, task: Task) -> Callable[[Tx], None]:
        def work(tx: Tx) -> None:
            stalls.withdraw(tx, task.id, by=AIRBOSS, why="the limit was reset")
            to_running(tx, task.id, self._services.config())

        return work

    async def _judge_as_it_is(self, task: Task, session: Session) -> None:
        unsafe = session.isolation.unsafe and session.pipe_end is not PipeEnd.GONE

        def work(tx: Tx) -> None:
            take_slot(tx, session, self._services.config())
            settle_stall(tx, task.id)
            if unsafe:
                move(tx, task.id, TaskState.LOST, NOT_GONE)
            else:
                move(tx, task.id, TaskState.JUDGING)

        await self._services.store.write(work)

    async def _now(self, task: Task) -> tuple[Session, Turn]:
        return await self._services.store.read(lambda tx: sessions.at(tx, task.id))


def _ask(tx: Tx, session: Session, snapshot: Snapshot | None, why: str, trouble: str) -> None:
    commit, tree = (snapshot.commit, snapshot.tree) if snapshot else ("", "")
    approvals.open_stall(tx, session=session, commit=commit, tree=tree, reason=why, trouble=trouble)
