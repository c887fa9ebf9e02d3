"""What agents used is kept with the events, and is what the ledger gives, on both databases."""

from __future__ import annotations

import random

import pytest

from fleet.budgets import SLOT_US, Scope
from fleet.events import (
    BudgetGranted,
    PipeEnded,
    Refs,
    SessionPlaced,
    Source,
    ToolCallStarted,
    TurnClosed,
    TurnStarted,
    UsageReported,
)
from fleet.exits import Exited
from fleet.model import ChatRef, Isolation, Session, TaskMode, TurnCause
from fleet.store import ledger, sessions, tasks, usage
from fleet.store.core import Store, Tx
from fleet.store.recording import record
from fleet.usage import Usage
from tests import recount

NOON_US = 1_795_000_000_000_000 // SLOT_US * SLOT_US
ADA, BOB = "console:h:ada", "telegram::7"
ENDED = PipeEnded("p", Exited(0), 0, True, 0)


def at(tx: Tx, us: int) -> Tx:
    """The transaction at a time of the test's."""
    tx._now_us = us
    return tx


def placed(tx: Tx, repo: str = "shop", person: str = ADA, agent: str = "helper") -> Session:
    """A session at work."""
    task = tasks.create_task(
        tx,
        repo=repo,
        agent=agent,
        machine="",
        prompt="p",
        mode=TaskMode.ASK,
        requester=person,
        origin=ChatRef("console", "main"),
    )
    fields = {"task": task.id, "machine": "box", "agent": agent, "base": "b" * 40}
    session = sessions.create_session(tx, isolation=Isolation.UNSAFE_SAME_USER, **fields)
    record(tx, SessionPlaced("box", agent, "b" * 40, "unsafe-same-user", ()), session)
    return session


def begin(tx: Tx, session: Session, cause: TurnCause = TurnCause.REQUEST) -> str:
    """The session's next turn."""
    turn = sessions.create_turn(tx, session, cause, "p")
    record(tx, TurnStarted(turn.number, str(cause), "p"), session, turn=turn.id)
    return turn.id


def close(tx: Tx, session: Session, turn: str) -> None:
    """Ends it."""
    record(tx, TurnClosed("", "completed", "", ""), session, turn=turn, source=Source.AGENT)


def test_a_later_report_of_a_cost_prices_the_tokens_before_it_where_they_were_counted(store: Store) -> None:
    with store.transaction() as tx:
        session = placed(at(tx, NOON_US))
        record(tx, UsageReported(100, 10, 0), session)
        assert usage.used(tx, Scope.TASK, [session.task])["helper"] == Usage(0, 100, 10, 100, 10)
    with store.transaction() as tx:
        record(at(tx, NOON_US + SLOT_US), UsageReported(50, 5, 700_000), session)
        assert usage.used(tx, Scope.TASK, [session.task])["helper"] == Usage(700_000, 150, 15)
        since = NOON_US + SLOT_US
        assert usage.used(tx, Scope.PERSON, [ADA], since)["helper"] == Usage(700_000, 50, 5), (
            "not less than nothing"
        )
        assert usage.used(tx, Scope.REPO, ["shop"], NOON_US)["helper"] == Usage(700_000, 150, 15)
        assert recount.kept(tx) == recount.computed(tx)


def test_what_an_ended_process_left_unpriced_stays_so(store: Store) -> None:
    with store.transaction() as tx:
        session = placed(tx)
        record(tx, UsageReported(100, 10, 0), session)
        record(tx, ENDED, session, source=Source.SUPERVISOR)
        record(tx, UsageReported(1, 1, 5), session)
        assert usage.used(tx, Scope.DAY, [""])["helper"] == Usage(5, 101, 11, 100, 10)
        assert recount.kept(tx) == recount.computed(tx)


def test_time_and_attempts_are_those_of_turns(store: Store) -> None:
    with store.transaction() as tx:
        session = placed(at(tx, NOON_US))
        turn = begin(tx, session)
    with store.transaction() as tx:
        close(at(tx, NOON_US + 7_000_000), session, turn)
        begin(tx, session, TurnCause.SAID)
        begin(tx, session, TurnCause.REWORK)
        assert usage.used(tx, Scope.TASK, [session.task])["helper"] == Usage(attempts=2, time_us=7_000_000)


def test_grants_of_a_task_last_and_those_of_a_day_are_of_that_day(store: Store) -> None:
    def grant(tx: Tx, scope: Scope, name: str, amount: int) -> None:
        event = BudgetGranted(str(scope), name, "money", amount)
        ledger.append(tx, event, actor=ADA, source=Source.PERSON, refs=Refs())

    with store.transaction() as tx:
        grant(at(tx, NOON_US), Scope.TASK, "t1", 3)
        grant(tx, Scope.PERSON, ADA, 4)
        grant(tx, Scope.PERSON, BOB, 5)
    with store.transaction() as tx:
        grant(at(tx, NOON_US + SLOT_US), Scope.TASK, "t1", 3)
        grant(tx, Scope.PERSON, ADA, 6)
        assert usage.granted(tx, Scope.TASK, ["t1"]) == {"money": 6}
        assert usage.granted(tx, Scope.PERSON, [ADA], NOON_US) == {"money": 10}
        assert usage.granted(tx, Scope.PERSON, [ADA, BOB], NOON_US + SLOT_US) == {"money": 6}
        assert recount.kept(tx) == recount.computed(tx)


@pytest.mark.parametrize("seed", range(4))
def test_what_is_kept_is_what_the_ledger_gives(store: Store, seed: int) -> None:
    chance, now = random.Random(seed), NOON_US
    with store.transaction() as tx:
        every = [placed(at(tx, now), *of) for of in (("shop", ADA), ("api", BOB), ("shop", BOB, "codex"))]
        open_ = {session.id: begin(tx, session) for session in every}
    for _ in range(40):
        now += chance.randint(1, SLOT_US)
        with store.transaction() as tx:
            for _ in range(chance.randint(1, 6)):
                session = chance.choice(every)
                match chance.randrange(6):
                    case 0:
                        record(at(tx, now), UsageReported(chance.randrange(99), 1, chance.choice([0, 9])), session)
                    case 1:
                        record(at(tx, now), ToolCallStarted("c", "Bash", "x"), session)
                    case 2:
                        close(at(tx, now), session, open_[session.id])
                        open_ |= {session.id: begin(tx, session, chance.choice(list(TurnCause)))}
                    case 3:
                        record(at(tx, now), ENDED, session)
                    case _:
                        record(at(tx, now), UsageReported(chance.randrange(99), 2, 0), session)
    with store.transaction() as tx:
        kept = recount.kept(tx)
        assert kept.used and kept.used == recount.computed(tx).used
        assert kept.unpriced == recount.computed(tx).unpriced
        day = usage.used(tx, Scope.DAY, [""])
        people = [usage.used(tx, Scope.PERSON, [name]) for name in usage.names_since(tx, Scope.PERSON, 0)]
        for agent, whole in day.items():
            assert sum((each.get(agent, Usage()) for each in people), Usage()) == whole
