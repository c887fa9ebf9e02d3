"""An agent's question that nobody answers for a while gives its slot back; the answer continues the conversation.

The task is ``asking`` before its process ends, so that the question outlives it. The answer is a row; the flight
acts on it in the transaction that starts the next turn.
"""

from __future__ import annotations

from typing import Final

from fleet.flight import prompts
from fleet.flight.agent_process import AgentProcess
from fleet.flight.moves import move, running
from fleet.flight.services import Services
from fleet.flight.stalling import Heard, why_lost
from fleet.flight.waits import Waits
from fleet.model import PipeEnd, Session, Task, TaskState, TurnCause
from fleet.store import approvals, kept_answers, refusals, sessions
from fleet.store.core import Tx

_WHY: Final = "its slot is free for others; it continues with your answer"


class Asking:
    """One task's questions without an answer."""

    def __init__(self, services: Services, agent: AgentProcess, waits: Waits, heard: Heard) -> None:
        self._services, self._agent, self._waits, self._heard = services, agent, waits, heard

    async def give_slot_back(self, task: Task, session: Session) -> None:
        """Moves the task, unless a person has answered meanwhile."""

        def work(tx: Tx) -> None:
            if kept_answers.unanswered(tx, session.id) and not kept_answers.answered(tx, session.id):
                move(tx, task.id, TaskState.ASKING, _WHY)

        await self._services.store.write(work)

    async def wait(self, task: Task) -> None:
        """The step of an asking task. Raises ``NoSlot`` while its machine has no free slot."""
        session = await self._services.store.read(lambda tx: sessions.newest(tx, task.id))
        if session.pipe_end is PipeEnd.NONE:
            await self._agent.cut_short(session)
            return
        if session.pipe_end.lost:
            await self._services.store.write(lambda tx: move(tx, task.id, TaskState.LOST, why_lost(session)))
            return
        if await self._services.store.read(lambda tx: refusals.overdue(tx, session.id)):
            await self._services.store.write(lambda tx: approvals.expire(tx, session.id))
        answers = await self._services.store.read(lambda tx: kept_answers.answered(tx, session.id))
        if answers:
            then = running(task, self._services.config())
            await self._agent.go_on(session, TurnCause.ANSWERED, prompts.answered(answers), then)
        elif not await self._heard(task, session):
            await self._waits.wait(60.0)
