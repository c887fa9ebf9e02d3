"""A limit that is used up, or a call that is repeated, ends the turn between two tool calls, and keeps the work."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from fleet.agent_events import TurnOutcome
from fleet.config.budgets import BudgetConfig, Budgets, PriceConfig
from fleet.events import BudgetNoted, BudgetReached, ProgressHalted, UsageReported
from fleet.flight.flight import Flight
from fleet.flight.halting import REPEATS, before_retry, before_rework
from fleet.model import Task, TaskState, Turn, TurnCause
from fleet.store import halts, ledger, sessions, stalls
from fleet.store.core import Tx
from fleet.store.halts import Halt
from fleet.store.recording import record
from fleet.store.states import HaltCause
from fleet.supervise import Supervisor
from tests.far_end.machine import Machine
from tests.flying import World, world
from tests.unit import agent_lines as lines

INTERRUPTED = {**lines.result("", is_error=True), "subtype": "error_during_execution"}


class Wall:
    """The time is what the test says, and waits take none."""

    def __init__(self) -> None:
        self.us = 1

    def now_us(self) -> int:
        return self.us

    async def sleep(self, seconds: float) -> None:
        await asyncio.sleep(0.01)


class Worker(Machine):
    """An agent that says what the test says, and ends its turn when it is asked to, unless it is ``deaf``."""

    deaf = False

    def _hear(self, message: dict[str, Any]) -> None:
        self.heard.append(message)
        match message:
            case {"request": {"subtype": "initialize"}}:
                self.say(lines.CONFIRMED, lines.INIT)
            case {"type": "user", "message": {"content": str(text)}}:
                self.say(lines.heard(text))
            case {"request": {"subtype": "interrupt"}} if not self.deaf:
                self.say(INTERRUPTED)

    @property
    def asked(self) -> int:
        """How often it was asked to end its turn."""
        return sum(message.get("request", {}).get("subtype") == "interrupt" for message in self.heard)


def request(name: str, tokens: int, *blocks: lines.Message) -> lines.Message:
    """What the model answered to one request, with its tokens."""
    made = lines.assistant(*blocks)
    made["message"] |= {"id": name, "usage": {"input_tokens": tokens, "output_tokens": 1}}
    return made


def limit(there: World, **limits: Any) -> None:
    """Each task may use so much."""
    budgets = Budgets(task=BudgetConfig(**limits))
    there.config = there.config.model_copy(update={"budgets": budgets})


@pytest.fixture
async def there(tmp_path: Path) -> AsyncIterator[World]:
    made = world(tmp_path)
    made.services = replace(made.services, clock=Wall())
    made.machine = Worker()
    with made.store:
        yield made


class Flown:
    """A task in the air."""

    def __init__(self, there: World, task: Task) -> None:
        self.there, self.task = there, task
        self.flight = Flight(there.services, task)
        self.supervisor = Supervisor(there.clock)
        self.supervisor.run("flight", self.flight.run, ends=True)

    async def begun(self) -> None:
        """The agent has its prompt."""
        await self.until(lambda: any(message["type"] == "user" for message in self.there.machine.heard))

    async def until(self, so: Callable[[], bool] | TaskState) -> None:
        """Waits for a condition or a state; time passes a second at a time."""
        async with asyncio.timeout(60):
            while (await self.there.now(self.task)).state is not so if isinstance(so, TaskState) else not so():
                await self.tick()

    async def written(self, kind: str, count: int = 1) -> list[dict[str, Any]]:
        """The events of a kind, once there are so many; time passes until then, and a little longer."""
        async with asyncio.timeout(60):
            while len(found := await bodies(self.there, kind)) < count:
                await self.tick()
        await self.tick()
        await self.tick()
        return found

    async def tick(self) -> None:
        """A second passes."""
        self.there.services.clock.us += 1_000_000  # type: ignore[attr-defined]  # the clock of this test
        self.flight.wake()
        await asyncio.sleep(0.02)

    async def turns(self) -> list[Turn]:
        session = await self.there.session(self.task)
        return await self.there.store.read(lambda tx: sessions.turns(tx, session.id))


async def bodies(there: World, *kinds: str) -> list[dict[str, Any]]:
    found = await there.store.read(lambda tx: ledger.read(tx, kinds=kinds))
    return [recorded.event.body() for recorded in found]


async def test_a_used_up_limit_ends_the_turn_between_two_calls_and_asks_a_person(there: World) -> None:
    limit(there, tokens=1_000)
    agent = there.machine
    assert isinstance(agent, Worker)
    flown = Flown(there, await there.running())
    await flown.begun()
    agent.say(request("m1", 849, lines.tool_use("c1", "Bash", command="ls")))
    agent.say(request("m2", 149, lines.tool_use("c2", "Read", file_path="a")))
    noted = await flown.written(BudgetReached.KIND)
    assert noted == [{"scope": "task", "name": "t1", "measure": "tokens", "used": 1_000, "limit": 1_000}]
    assert agent.asked == 0, "a call is open"
    agent.say(lines.tool_result("c1", "ok"), lines.tool_result("c2", "ok"))
    await flown.until(TaskState.STALLED)
    await flown.supervisor.close()
    assert agent.asked == 1
    (turn,) = await flown.turns()
    assert (turn.outcome, turn.error) == (TurnOutcome.HALTED, "1k tokens of 1k tokens for this task")
    stall = await there.store.read(lambda tx: stalls.waiting(tx, "t1"))
    assert stall is not None and stall.reason == "halted: 1k tokens of 1k tokens for this task"


async def test_near_a_limit_it_is_noted_once(there: World) -> None:
    limit(there, tokens=1_000)
    flown = Flown(there, await there.running())
    await flown.begun()
    for number in range(3):
        there.machine.say(request(f"m{number}", 280, lines.text("hm")))
    found = await flown.written(BudgetNoted.KIND)
    for number in range(3, 6):
        there.machine.say(request(f"m{number}", 9, lines.text("hm")))
    await flown.written(UsageReported.KIND, 6)
    await flown.supervisor.close()
    assert len(await bodies(there, BudgetNoted.KIND)) == 1 and found[0]["used"] == 843
    assert (await there.now(flown.task)).state is TaskState.RUNNING


async def test_money_is_counted_while_it_runs_by_the_price_of_its_tokens(there: World) -> None:
    limit(there, money="1")
    priced = there.config.agents["helper"].model_copy(update={"price": PriceConfig(input="100", output="100")})
    there.config = there.config.model_copy(update={"agents": {"helper": priced}})
    flown = Flown(there, await there.running())
    await flown.begun()
    there.machine.say(request("m1", 10_000, lines.text("hm")))
    await flown.until(TaskState.STALLED)
    await flown.supervisor.close()
    assert (await there.now(flown.task)).why == "halted: $1.00 of $1.00 (list price) for this task"


async def test_after_a_restart_what_was_due_ends_the_turn(there: World) -> None:
    """The controller died between its commit and the interrupt; the limit is gone from fleet.toml since."""
    task = await there.running()
    session = await there.session(task)
    (turn,) = await there.store.read(lambda tx: sessions.turns(tx, session.id))
    why = Halt(HaltCause.BUDGET, "$5.02 of $5.00 for this task")
    await there.store.write(lambda tx: halts.halt(tx, session, turn.id, why))
    flown = Flown(there, task)
    await flown.until(TaskState.STALLED)
    await flown.supervisor.close()
    assert (await flown.turns())[0].outcome is TurnOutcome.HALTED


async def test_a_turn_that_is_done_all_the_same_is_done(there: World) -> None:
    """Its last message crossed with the interrupt."""
    limit(there, tokens=10)
    assert isinstance(there.machine, Worker)
    there.machine.deaf = True
    flown = Flown(there, await there.running())
    await flown.begun()
    there.machine.say(request("m1", 10, lines.text("nearly")))
    await flown.until(lambda: there.machine.asked > 0)  # type: ignore[attr-defined]  # it is a Worker
    there.machine.say(lines.result("all done"))
    await flown.until(TaskState.ANSWERED)
    await flown.supervisor.close()
    assert (await flown.turns())[0].outcome is TurnOutcome.COMPLETED


async def test_the_same_call_ten_times_in_a_row_asks_a_person(there: World) -> None:
    flown = Flown(there, await there.running())
    await flown.begun()
    edits = lines.tool_use("e", "Edit", file_path="a.py", old_string="1", new_string="2")
    calls = [lines.tool_use(f"a{n}", "Bash", command="make test") for n in range(REPEATS - 1)]
    others = [lines.tool_use(f"b{n}", "Bash", command="make test") for n in range(REPEATS - 1)]
    for block in (*calls, edits, *others):
        there.machine.say(lines.assistant(block), lines.tool_result(block["id"], "no"))
    await flown.written("tool.ended", 2 * REPEATS - 2)
    assert await bodies(there, ProgressHalted.KIND) == [], "there was an edit in between"
    there.machine.say(lines.assistant(lines.tool_use("c", "Bash", command="make test")))
    there.machine.say(lines.tool_result("c", "no"))
    await flown.until(TaskState.STALLED)
    await flown.supervisor.close()
    (halted,) = await bodies(there, ProgressHalted.KIND)
    assert halted == {"cause": "repeats", "what": "Bash make test", "times": REPEATS}
    assert (await there.now(flown.task)).why == "halted: the same call 10 times in a row: Bash make test"


async def test_the_same_failure_without_a_new_file_asks_a_person(there: World) -> None:
    task = await there.running()
    session = await there.session(task)

    async def judged(*trees: str, ended: TurnOutcome = TurnOutcome.COMPLETED) -> str:
        def work(tx: Tx) -> None:
            for tree in trees:
                turn = sessions.create_turn(tx, session, TurnCause.REWORK, "p")
                sessions.update_turn(tx, turn.id, snapshot="c" * 40, tree=tree, ended_us=1, outcome=ended)

        await there.store.write(work)
        return await before_rework(there.services, task, session)

    assert await judged("1" * 40, "2" * 40) == ""
    assert await judged("2" * 40) == "the gates failed again, and no file was changed in between"
    await judged("2" * 40, ended=TurnOutcome.CONVERSATION_LOST)
    assert await judged("2" * 40) == "", "the new conversation has had no try of its own"
    assert await judged("2" * 40) == "the gates failed again, and no file was changed in between"
    assert [body["cause"] for body in await bodies(there, ProgressHalted.KIND)] == ["same-failure"] * 3


async def test_the_last_attempt_gets_no_rework(there: World) -> None:
    limit(there, attempts=1)
    task = await there.running()
    session = await there.session(task)
    assert await before_rework(there.services, task, session) == "1 attempt of 1 attempt for this task"


async def test_huge_figures_of_an_agent_stay_whole_numbers(there: World) -> None:
    task = await there.running()
    session = await there.session(task)

    def work(tx: Tx) -> None:
        for _ in range(3):
            record(tx, UsageReported(2**40, 2**40, 2**40), session)

    await there.store.write(work)
    limit(there, tokens=2**50)
    flown = Flown(there, task)
    await flown.begun()
    there.machine.say(request("m1", 2**50, lines.text("hm")))
    await flown.written(UsageReported.KIND, 4)
    await flown.supervisor.close()
    assert (await bodies(there, UsageReported.KIND))[-1]["input_tokens"] == 2**40


async def test_a_turn_that_stopped_early_is_not_tried_again_by_itself_beyond_the_last_attempt(there: World) -> None:
    task = await there.running()
    session = await there.session(task)
    turn = await there.store.read(lambda tx: sessions.turns(tx, session.id)[-1])
    assert await before_retry(there.services, task, session, turn) == ""
    limit(there, attempts=1)
    assert await before_retry(there.services, task, session, turn) == "1 attempt of 1 attempt for this task"
