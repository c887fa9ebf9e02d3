"""No session hangs unseen: an agent that says and does nothing for ``stalled_after`` is reported, once for each
silence, and a person may let it go on in a new process."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from bot.cards import shown
from bot.telling import asks
from fleet.agent_events import TurnOutcome
from fleet.events import AgentSilent, ToolCallEnded, ToolCallStarted, TurnStarted
from fleet.flight.flight import Flight
from fleet.flight.silence import WORKS_AGAIN, Silence
from fleet.flight.stalling import resumes_us
from fleet.model import Session, Task, TaskState, Turn
from fleet.store import approvals, ledger, sessions, stalls, tasks
from fleet.store.approvals import Answer, ApprovalDecision
from fleet.store.core import Tx
from fleet.store.recording import record
from tests.far_end.machine import Machine
from tests.far_end.repositories import make_bare
from tests.flying import World, world
from tests.unit import agent_lines as lines

MINUTE_US = 60_000_000


class HandClock:
    """The time is what the test says."""

    def __init__(self) -> None:
        self.us = 1

    def now_us(self) -> int:
        return self.us

    async def sleep(self, seconds: float) -> None:
        await asyncio.Event().wait()


class Mute(Machine):
    """An agent that says nothing by itself."""

    def _hear(self, message: dict[str, Any]) -> None:
        self.heard.append(message)


@dataclass
class Watched:
    """A running turn, and what watches it."""

    world: World
    clock: HandClock
    session: Session
    turn: Turn
    silence: Silence

    async def after(self, minutes: int) -> list[AgentSilent]:
        """Looks so much later; what is in the ledger then."""
        for step in (*[4] * (minutes // 4), minutes % 4):
            self.clock.us += step * MINUTE_US
            await self.silence.look(self.session, self.turn)
        found = await self.world.store.read(lambda tx: ledger.read(tx, kinds=(AgentSilent.KIND,)))
        return [each.event for each in found if isinstance(each.event, AgentSilent)]

    async def task(self) -> Task:
        """The task as the store has it."""
        return await self.world.store.read(lambda tx: tasks.task(tx, self.session.task))

    async def write(self, *events: ToolCallStarted | ToolCallEnded | TurnStarted) -> None:
        """The agent reports what it does."""

        def work(tx: Tx) -> None:
            for event in events:
                record(tx, event, self.session, turn=self.turn.id)

        await self.world.store.write(work)


@asynccontextmanager
async def watched(directory: Path) -> AsyncIterator[Watched]:
    there = world(directory, str(make_bare(directory / "shop.git", {"a.txt": "one\n"})))
    with there.store:
        clock = HandClock()
        there.services = replace(there.services, clock=clock)
        session = await there.session(await there.running())
        turn = (await there.store.read(lambda tx: sessions.turns(tx, session.id)))[-1]
        silence = Silence(there.services)
        await silence.begin(session)
        yield Watched(there, clock, session, turn, silence)


async def test_it_is_said_once_and_again_only_after_new_life(tmp_path: Path) -> None:
    async with watched(tmp_path) as there:
        await there.write(ToolCallStarted("c1", "Bash", "make test"), ToolCallEnded("c1", "ok", 0, ""))
        assert await there.after(9) == []
        (said,) = await there.after(1)
        assert said == AgentSilent(True, 600, "Bash make test (ok)")
        asked = await there.world.store.read(lambda tx: stalls.waiting(tx, there.session.task))
        assert asked is not None and asked.reason == "no output for 10 min"
        task = await there.task()
        card = await there.world.store.read(lambda tx: asks.ask_card(tx, task, asked, asks.AskContext("base")))
        assert [action.label for action in card.actions] == ["Go on", "Log", "Stop"]
        assert "Last: Bash make test (ok)" in [shown(row) for row in card.lines]
        assert len(await there.after(60)) == 1, "not again and again"
        there.silence.heard()
        assert [each.silent for each in await there.after(0)] == [True, False]
        closed = await there.world.store.read(lambda tx: approvals.approval(tx, asked.id))
        assert (closed.decision, closed.decided_why) == (ApprovalDecision.WITHDRAWN, WORKS_AGAIN)
        assert [each.silent for each in await there.after(10)] == [True, False, True]


async def test_after_a_sleep_or_without_a_link_the_agent_gets_its_time_again(tmp_path: Path) -> None:
    async with watched(tmp_path) as there:
        there.clock.us += 180 * MINUTE_US  # nobody looks meanwhile
        assert await there.after(4 + 9) == []
        (said,) = await there.after(1)
        assert said.seconds == 600


async def test_an_open_call_or_question_is_no_silence(tmp_path: Path) -> None:
    async with watched(tmp_path) as there:
        await there.write(ToolCallStarted("c1", "Bash", "make test"))
        assert await there.after(600) == []
        await there.write(ToolCallEnded("c1", "ok", 0, ""))

        def ask(tx: Tx) -> str:
            fields = {"ask": "r1", "tool": "Bash", "request": "{}", "command": "ls", "reason": ""}
            return approvals.open_ask(tx, session=there.session, paths=(), expires_us=0, **fields).id

        asked = await there.world.store.write(ask)
        assert await there.after(0) == []
        await there.world.store.write(lambda tx: approvals.decide(tx, asked, True, "phone::ada", ""))
        assert len(await there.after(0)) == 1


async def test_a_call_that_an_ended_process_left_open_hides_no_silence(tmp_path: Path) -> None:
    """An agent that is killed in a call never reports its end. Its next process may hang all the same."""
    async with watched(tmp_path) as there:
        await there.write(ToolCallStarted("c1", "Bash", "make test"), TurnStarted(2, "go-on", "go on"))
        assert len(await there.after(10)) == 1


async def test_after_a_restart_it_is_not_said_twice(tmp_path: Path) -> None:
    async with watched(tmp_path) as there:
        assert len(await there.after(10)) == 1
        there.silence = Silence(there.world.services)
        await there.silence.begin(there.session)
        assert len(await there.after(60)) == 1


async def test_go_on_ends_the_silent_process_and_continues_in_a_new_one(tmp_path: Path) -> None:
    async with watched(tmp_path) as there:
        task = await there.task()
        limits = there.world.config.limits.model_copy(update={"stalled_after": "1m"})
        there.world.config = there.world.config.model_copy(update={"limits": limits})
        machine = there.world.machine = Mute()
        flight = Flight(there.world.services, task)
        flying = asyncio.get_running_loop().create_task(flight.run())
        store = there.world.store

        async def until(minutes: int = 0) -> None:
            there.clock.us += minutes * MINUTE_US
            flight.wake()
            await asyncio.sleep(0.01)

        async with asyncio.timeout(60):
            while not machine.heard:
                await until()
            machine.say(lines.CONFIRMED, lines.INIT)
            await until()
            await until(4)
            while await store.read(lambda tx: stalls.waiting(tx, task.id)) is None:
                await until()
            asked = await store.read(lambda tx: stalls.waiting(tx, task.id))
            assert asked is not None
            await store.write(lambda tx: stalls.decide(tx, asked, ApprovalDecision.GO_ON, "phone::ada"))
            while len(machine.started) < 2:
                await until()
        flying.cancel()
        turns = await store.read(lambda tx: sessions.turns(tx, there.session.id))
        assert [str(turn.cause) for turn in turns][:2] == ["request", "go-on"]
        assert "no output for" in turns[1].prompt


async def test_a_parked_task_goes_on_by_itself_only_where_that_is_wanted_and_in_nobodys_quiet_hours(
    tmp_path: Path,
) -> None:
    async with watched(tmp_path) as there:
        said = "limit reached · resets at 1795888800"
        ended = replace(
            there.turn, outcome=TurnOutcome.LIMITED, error=said, ended_us=(1_795_888_800 - 60) * 1_000_000
        )
        parked = replace(await there.task(), state=TaskState.PARKED)
        hour = 1_795_888_800_000_000

        async def night(person: str, us: int) -> int:
            return us + (7 if person == parked.requester else 1)

        async def when(by_itself: bool, decided: Answer | None = None) -> int:
            limits = there.world.config.limits.model_copy(update={"resume_after_limit": by_itself})
            config = there.world.config.model_copy(update={"limits": limits})
            services = replace(there.world.services, config=lambda: config, not_quiet=night)
            return await resumes_us(services, parked, ended, decided)

        assert await when(by_itself=False) == 0
        assert await when(by_itself=True) == hour + 7
        for why, at in ((stalls.AT_RESET, hour), (stalls.IN_HOURS, hour + 1), ("", 0)):
            answer = Answer("a1", "", "", ApprovalDecision.GO_ON, "phone::ada", why)
            assert await when(by_itself=True, decided=answer) == at
