"""Ends a turn that may not go on: a limit is used up, or the agent repeats one tool call and changes nothing.

What is due is committed first. The turn ends at the next safe point, between two tool calls, and the agent is asked
to end it; after that a person decides, and the work is kept.
"""

from __future__ import annotations

from functools import partial
from typing import Final

from fleet.agent_events import ToolStarted, Used
from fleet.budgets import Count, Measure, Scope
from fleet.config.paying import at_list_price
from fleet.events import BudgetNoted, BudgetReached, ProgressHalted
from fleet.failpoints import failpoint
from fleet.flight import budgeting
from fleet.flight.services import Services
from fleet.model import Session, Task, Turn
from fleet.ports import Step
from fleet.store import halts, ledger, sessions
from fleet.store.core import Tx
from fleet.store.halts import Halt
from fleet.store.recent import in_a_call, last_events
from fleet.store.recording import record
from fleet.store.states import HaltCause

REPEATS: Final = 10
SAFE_POINT_US: Final = 60_000_000
"""How long an open tool call may go on before its turn is ended all the same."""

_SOON_US: Final = 1_000_000
_IDLE_US: Final = 5_000_000


class Halting:
    """Watches the turns of one process."""

    def __init__(self, services: Services, task: Task) -> None:
        self._services, self._task = services, task
        self._looked_us = self._since_us = 0
        self._news = True

    def begin(self) -> None:
        """Another turn is followed from now on."""
        self._looked_us = self._since_us = 0
        self._news = True

    def took(self, step: Step) -> None:
        """A step was committed."""
        self._news = self._news or any(isinstance(item, Used | ToolStarted) for item in step.happened)

    async def due(self, session: Session, turn: Turn) -> bool:
        """Whether to end the turn now. Looks at the limits after something was used, and every few seconds."""
        now = self._services.clock.now_us()
        if self._since_us:
            late = now - self._since_us >= SAFE_POINT_US
            return late or not await self._services.store.read(lambda tx: in_a_call(tx, session))
        if self._looked_us and now - self._looked_us < (_SOON_US if self._news else _IDLE_US):
            return False
        self._looked_us, self._news = now or 1, False
        if await self._services.store.read(partial(self._quiet, session=session, turn=turn)):
            return False
        if not await self._services.store.write(partial(self._look, session=session, turn=turn)):
            return False
        failpoint("turn-halted")
        self._since_us = now or 1
        return await self.due(session, turn)

    def _quiet(self, tx: Tx, session: Session, turn: Turn) -> bool:
        """Whether there is nothing to commit."""
        if halts.of_turn(tx, session.id, turn.id) or halts.repeated(tx, session.id) >= REPEATS:
            return False
        return not any(count.near or count.reached for count in _counts(tx, self._services, self._task))

    def _look(self, tx: Tx, session: Session, turn: Turn) -> bool:
        """Whether the turn must end; commits why, and which limits are nearly used up."""
        if halts.of_turn(tx, session.id, turn.id):
            return True  # committed before a restart
        times = halts.repeated(tx, session.id)
        if times >= REPEATS:
            last = last_call(tx, session)
            record(tx, ProgressHalted(HaltCause.REPEATS, last, times), session, turn=turn.id)
            words = f"the same call {times} times in a row: {last}"
            halts.halt(tx, session, turn.id, Halt(HaltCause.REPEATS, words))
            return True
        counts = _counts(tx, self._services, self._task)
        reached = [count for count in counts if count.reached]
        for count in counts:
            if count.near and not count.reached and not _noted(tx, self._task, count):
                record(tx, BudgetNoted(*_body(count)), session, turn=turn.id)
        if reached:
            _halt_for(tx, self._services, session, turn, reached)
        return bool(reached)


async def before_rework(services: Services, task: Task, session: Session) -> str:
    """Why the agent gets no further turn although a gate failed, committed; empty: it gets one."""

    def work(tx: Tx) -> str:
        *earlier, turn = sessions.turns(tx, session.id)
        lost = [number for number, known in enumerate(earlier) if known.outcome and known.outcome.ends_conversation]
        earlier = earlier[lost[-1] + 1 :] if lost else earlier  # a new conversation gets its own first try
        before = next((judged for judged in reversed(earlier) if judged.tree), None)
        if before is not None and before.tree == turn.tree:
            words = "the gates failed again, and no file was changed in between"
            record(tx, ProgressHalted(HaltCause.SAME_FAILURE, words, 2), session, turn=turn.id)
            halts.halt(tx, session, turn.id, Halt(HaltCause.SAME_FAILURE, words))
            return words
        return _halt_if_spent(tx, services, task, session, turn)

    return await services.store.write(work)


async def before_retry(services: Services, task: Task, session: Session, turn: Turn) -> str:
    """Why a turn that stopped early is not tried again without a person, committed; empty: it is."""
    if not budgeting.limited(services.config(), task):
        return ""
    return await services.store.write(lambda tx: _halt_if_spent(tx, services, task, session, turn))


def last_call(tx: Tx, session: Session) -> str:
    """The tool call that the session started last, in a line."""
    for recorded in last_events(tx, 1, kinds=("tool.started",), task=session.task):
        body = recorded.event.body()
        return f"{body['tool']} {body['summary']}"[:160]
    return ""


def whose(count: Count) -> str:
    """For whom a limit is: ``for this task``, ``today in shop``."""
    match count.scope:
        case Scope.TASK:
            return "for this task"
        case Scope.PERSON:
            return "today for this person"
        case Scope.REPO:
            return f"today in {count.name}"
        case Scope.DAY:
            return "today in all"


def _counts(tx: Tx, services: Services, task: Task) -> list[Count]:
    config = services.config()
    return budgeting.counts_of_task(tx, config, services.zone, task) if budgeting.limited(config, task) else []


def _halt_if_spent(tx: Tx, services: Services, task: Task, session: Session, turn: Turn) -> str:
    one_more = [count for count in _counts(tx, services, task) if count.spent]
    return _halt_for(tx, services, session, turn, one_more) if one_more else ""


def _halt_for(tx: Tx, services: Services, session: Session, turn: Turn, reached: list[Count]) -> str:
    for count in reached:
        record(tx, BudgetReached(*_body(count)), session, turn=turn.id)
    listed = " (list price)" if at_list_price(services.config(), session.agent) else ""
    said = [f"{count}{listed if count.measure is Measure.MONEY else ''} {whose(count)}" for count in reached]
    words = "; ".join(said)
    halts.halt(tx, session, turn.id, Halt(HaltCause.BUDGET, words))
    return words


def _noted(tx: Tx, task: Task, count: Count) -> bool:
    """Whether the task's card says so already, for this limit."""
    same = _body(count)
    found = ledger.read(tx, kinds=(BudgetNoted.KIND,), task=task.id)
    bodies = [each.event.body() for each in found]
    return any(
        (body["scope"], body["name"], body["measure"], body["limit"]) == (same[0], same[1], same[2], same[4])
        for body in bodies
    )


def _body(count: Count) -> tuple[str, str, str, int, int]:
    return str(count.scope), count.name, str(count.measure), count.used, count.limit
