"""A question that nobody answers for a while: what continues its task, and what becomes of the question."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import select, update

from bot.revoking import revoked
from fleet.errors import Unreachable
from fleet.flight import notes
from fleet.flight.agent_process import AgentProcess
from fleet.flight.flight import Flight
from fleet.flight.notes import Reach
from fleet.flight.turn_wait import TurnWait
from fleet.model import AIRBOSS, ENDS, PipeEnd, TaskMode, TaskState
from fleet.store import approvals, sessions, tables, tasks
from fleet.store.approvals import Approval, ApprovalDecision
from fleet.store.core import Tx
from fleet.supervise import Supervisor
from tests.far_end.machine import Machine
from tests.flying import PERSON, World, world
from tests.unit import agent_lines as lines


@pytest.fixture
async def there(tmp_path: Path) -> AsyncIterator[World]:
    made = world(tmp_path)
    limits = made.config.limits.model_copy(update={"question_seconds": 0})
    made.config = made.config.model_copy(update={"limits": limits})
    with made.store:
        yield made


def _message(tx: Tx) -> None:
    assert notes.add(tx, tasks.task(tx, "t1"), "never mind", PERSON).reach is Reach.GOES_ON


def _too_late(tx: Tx) -> None:
    tx.connection.execute(update(tables.approvals), {"expires_us": 1})


async def _continued(there: World, then: Callable[[Tx], None]) -> tuple[Approval, str]:
    """The first question after ``then`` continued its task, and what the agent was told."""
    task = await there.running(TaskMode.ASK)
    flight, supervisor = Flight(there.services, task), Supervisor(there.clock)
    supervisor.run("flight", flight.run, ends=True)
    async with asyncio.timeout(60):
        while (await there.session(task)).pipe_end == "" or (await there.now(task)).state is not TaskState.ASKING:
            await asyncio.sleep(0.01)
        assert await there.store.read(sessions.busy) == {}
        limits = there.config.limits.model_copy(update={"question_seconds": 60})
        there.config = there.config.model_copy(update={"limits": limits})
        await there.store.write(then)
        flight.wake()

        def yes(tx: Tx) -> None:
            for asked in approvals.waiting(tx):
                approvals.decide(tx, asked.id, True, PERSON, "")

        while (await there.now(task)).state not in ENDS:
            await asyncio.sleep(0.01)
            if (await there.now(task)).state is TaskState.RUNNING:
                await there.store.write(yes)
                flight.wake()
    await supervisor.close()
    told = [str(message["message"]["content"]) for message in there.machine.heard if message["type"] == "user"]
    return await there.store.read(lambda tx: approvals.approval(tx, "a1")), told[-1]


class _Asks(Machine):
    """Its second process asks so often what the first one asked; the others once."""

    def __init__(self, times: int) -> None:
        super().__init__()
        self.times, self.asked = times, 0

    def _hear(self, message: dict[str, Any]) -> None:
        second = len(self.started) == 2
        if second and self.asked < self.times and message["type"] != "control_request":
            self.asked += 1
            self.heard.append(message)
            self.say(lines.can_use(f"r{self.asked}", f"c{self.asked}", "Bash", command="ls"))
        elif second and message["type"] == "user":
            self.heard.append(message)
            self.say(lines.result("no need any more"))
        else:
            super()._hear(message)


@pytest.mark.parametrize(("times", "questions"), [(0, 1), (1, 1), (2, 2)])
async def test_a_late_answer_is_given_once_and_to_the_process_that_asks_again(
    there: World, times: int, questions: int
) -> None:
    there.late, there.machine = True, _Asks(times)
    task = await there.running(TaskMode.ASK)
    await there.fly(task)
    assert (await there.now(task)).state is TaskState.ANSWERED
    rows = await there.store.read(lambda tx: tx.connection.execute(select(tables.approvals)).all())
    assert [(row.decision, row.kept_us) for row in rows] == [("allow", 0)] * questions
    answers = [message for message in there.machine.heard if message["type"] == "control_response"]
    assert len(answers) == times, "none to a process that is being ended"


class _Away(Machine):
    """A machine that is out of reach when its process is to be ended, once."""

    def __init__(self) -> None:
        super().__init__()
        self.away = True

    async def stop(self, pipe: str, grace: float = 5.0) -> None:
        if self.away:
            self.away = False
            raise Unreachable(attempted="stop the process", on=self.machine)
        await super().stop(pipe, grace)


async def test_a_process_whose_machine_was_away_is_interrupted_once(there: World) -> None:
    there.machine = _Away()
    task = await there.running(TaskMode.ASK)
    process, session = AgentProcess(there.services, task), await there.session(task)
    (turn,) = await there.store.read(lambda tx: sessions.turns(tx, session.id))
    assert await (await process.follow(session)).turn_end(turn) is TurnWait.UNANSWERED
    for _ in range(3):
        await process.cut_short(session, 0.05)
    await process.close()
    asked = [message for message in there.machine.heard if message.get("request", {}).get("subtype") == "interrupt"]
    assert len(asked) == 1 and (await there.session(task)).pipe_end is PipeEnd.GONE


async def test_a_message_continues_it_and_withdraws_the_question(there: World) -> None:
    asked, told = await _continued(there, _message)
    assert told == "never mind"
    assert (asked.decision, asked.decided_why) == (
        ApprovalDecision.WITHDRAWN,
        "the agent goes on without an answer",
    )
    assert (await there.store.read(lambda tx: approvals.approval(tx, "a2"))).decision is ApprovalDecision.ALLOW


async def test_what_nobody_answers_at_all_is_denied_and_the_agent_goes_on(there: World) -> None:
    asked, told = await _continued(there, _too_late)
    assert (asked.decision, asked.decided_why) == (ApprovalDecision.DENY, approvals.EXPIRED)
    assert f"Bash: denied. {approvals.EXPIRED}" in told


async def test_what_a_revoked_id_allowed_counts_as_no(there: World) -> None:
    def lost_phone(tx: Tx) -> None:
        approvals.decide(tx, "a1", True, PERSON, "")
        revoked(tx, PERSON, "Ada", "console:h:anna")

    asked, told = await _continued(there, lost_phone)
    assert (asked.decision, asked.decided_by) == (ApprovalDecision.DENY, AIRBOSS)
    assert "denied. its owner's rights were revoked" in told


async def test_an_answer_is_for_exactly_what_was_asked(there: World) -> None:
    def another(tx: Tx) -> None:
        approvals.decide(tx, "a1", True, PERSON, "")
        tx.connection.execute(update(tables.approvals), {"request": '{"command":"ls /"}'})

    await _continued(there, another)
    asked = await there.store.read(lambda tx: approvals.approval(tx, "a2"))
    assert asked.request == '{"command":"ls"}', "what differs is asked anew"
