"""Limits as people write them, and what is used and left as people see it."""

from __future__ import annotations

from pathlib import Path

import pytest

from bot.cards import Card, shown
from bot.doctor.controller import check_controller
from bot.parse import run_request
from fleet.agent_events import TurnOutcome, Used
from fleet.budgets import SLOT_US, Allowance, Measure, dump_budget, load_budget, parse_budget, words
from fleet.config import parse_fleet
from fleet.config.budgets import BudgetConfig, Budgets
from fleet.errors import Misused
from fleet.events import BudgetGranted, BudgetNoted, TaskBudgeted, TurnStarted, UsageReported
from fleet.flight import budgeting, starting
from fleet.model import TaskState, TurnCause
from fleet.store import approvals, halts, ledger, sessions, tasks
from fleet.store.approvals import ApprovalDecision
from fleet.store.core import Tx
from fleet.store.halts import Halt
from fleet.store.recording import record
from fleet.store.states import HaltCause
from fleet.usage import Usage, turn_time
from tests.chat_flight import Flight, everything
from tests.chat_house import OTTO, House, house
from tests.unit import agent_lines as lines
from tests.unit.test_agents_claude import BEGUN, Talk

HOUR = 3_600_000_000


def labels(card: Card) -> list[str]:
    return [action.label for action in card.actions]


def limit(there: House, **budgets: BudgetConfig) -> None:
    there.configured(there.config.model_copy(update={"budgets": Budgets(**budgets)}))


@pytest.mark.parametrize(
    ("text", "budget"),
    [
        ("5usd", Allowance(money=5_000_000)),
        ("$2.50", Allowance(money=2_500_000)),
        ("5$,2h", Allowance(money=5_000_000, time=2 * HOUR)),
        ("30min,2Mtokens", Allowance(time=HOUR // 2, tokens=2_000_000)),
        ("1.5ktok, 300calls, 4attempts", Allowance(tokens=1_500, calls=300, attempts=4)),
    ],
)
def test_limits_are_read_as_people_write_them(text: str, budget: Allowance) -> None:
    assert parse_budget(text) == budget
    assert load_budget(dump_budget(budget)) == budget


@pytest.mark.parametrize(
    "text",
    [
        "5",
        "five",
        "0usd",
        "-5usd",
        "5eur",
        "$5usd",
        "0.0000001usd",
        "1.5calls",
        "99999999999d",
        ",",
        "5usd;2h",
        "5usd,6usd",
    ],
)
def test_what_limits_nothing_is_refused_in_words(text: str) -> None:
    with pytest.raises(Misused) as refused:
        parse_budget(text)
    assert "Write for example 5usd, 2h" in str(refused.value.hint)


def test_amounts_are_short_and_no_limit_is_never_zero() -> None:
    assert [words(Measure.MONEY, amount) for amount in (0, 40, 4_100_000)] == ["$0.00", "$0.0000", "$4.10"]
    assert [words(Measure.TOKENS, amount) for amount in (7, 1_200, 1_250_000)] == [
        "7 tokens",
        "1.2k tokens",
        "1.2M tokens",
    ]
    assert [words(Measure.TIME, us) for us in (5_000_000, HOUR, HOUR * 2 + HOUR // 6)] == [
        "5 s",
        "1 h",
        "2 h 10 min",
    ]
    assert [words(Measure.ATTEMPTS, n) for n in (1, 2)] == ["1 attempt", "2 attempts"]
    assert {words(measure, 0, limit=True) for measure in Measure} == {"unlimited"}


async def test_a_limit_of_money_that_would_hold_nothing_is_refused_and_a_late_one_is_told(tmp_path: Path) -> None:
    async with house(tmp_path) as there:
        result, (card,) = await there.say("/run budget=5usd mend it")
        assert result.status == 2 and "reports no cost" in everything(card) and await there.tasks() == []
        assert (await there.say("/run budget=2h mend it"))[0].status == 0
        limit(there, day=BudgetConfig(money="5"))
        told = [found.what for found in check_controller(there.config, tmp_path) if "limit of money" in found.what]
        assert told == ["a limit of money ends a turn of demo never"]


def test_run_takes_a_budget_before_its_words() -> None:
    asked = run_request("budget=5usd,2h repo=shop budget the trip")
    assert (asked.budget, asked.repo, asked.prompt) == ("5usd,2h", "shop", "budget the trip")


@pytest.mark.parametrize(
    ("wrong", "said"),
    [
        ('task = { money = "0" }', "is no amount of money"),
        ('task = { money = "1e3000000" }', "is no amount of money"),
        ("task = { money = 5.0 }", "budgets.task.money"),
        ("day = { tokens = 0 }", "budgets.day.tokens"),
        ('day = { time = "2" }', "budgets.day.time"),
    ],
)
def test_a_wrong_limit_in_fleet_toml_is_named(wrong: str, said: str) -> None:
    with pytest.raises(Misused) as found:
        parse_fleet(f"[budgets]\n{wrong}\n", "fleet.toml")
    assert said in str(found.value)


def test_claudes_tokens_are_reported_once_as_they_stream_and_the_rest_with_the_cost() -> None:
    def request(name: str, output: int, parent: str | None = None) -> lines.Message:
        made = lines.assistant(lines.text("hm"), parent=parent)
        usage = {"input_tokens": 10, "cache_read_input_tokens": 5, "output_tokens": output}
        made["message"] |= {"id": name, "usage": usage}
        return made

    talk = Talk(*BEGUN, request("m1", 1), request("m1", 1), request("s1", 2, parent="c1"), request("m1", 4))
    assert talk.of(Used) == [Used(15, 1, 0), Used(15, 2, 0), Used(0, 3, 0)]
    talk.hear(lines.result(cost=0.5, tokens=(30, 20)))
    assert talk.of(Used)[-1] == Used(0, 14, 500_000)
    for odd in ({"id": 5, "usage": {}}, {"id": "m2", "usage": None}, {"id": "m3", "usage": {"input_tokens": "9"}}):
        made = lines.assistant(lines.text("hm"))
        made["message"] |= odd
        talk.hear(made)
    assert len(talk.of(Used)) == 4


async def used(there: House, *reports: UsageReported) -> None:
    """The agent of ``t1`` reports these."""

    def work(tx: Tx) -> None:
        for report in reports:
            record(tx, report, sessions.session(tx, "t1.1"))

    await there.store.write(work)
    await there.settle()


async def halted(there: House, flight: Flight, cause: HaltCause = HaltCause.BUDGET) -> Card:
    """The task's turn was halted; the card that asks."""
    said = (
        "$6.00 of $5.00 for this task" if cause is HaltCause.BUDGET else "the same call 10 times in a row: Bash ls"
    )
    why = Halt(cause, said)
    session = flight.session
    await there.store.write(lambda tx: halts.halt(tx, session, "t1.1.1", why))
    await flight.stall(TurnOutcome.HALTED, why.words)
    return flight.pinged()[-1]


async def test_more_gives_the_whole_amount_again_and_goes_on(tmp_path: Path) -> None:
    async with house(tmp_path) as there:
        limit(there, task=BudgetConfig(money="5"))
        flight = await Flight.begin(there)
        await used(there, UsageReported(10, 10, 6_000_000))
        card = await halted(there, flight)
        assert shown(card.title) == "t1 · a1 · budget used up"
        assert "$6.00 of $5.00 for this task." in everything(card) and "The work is kept." in everything(card)
        assert labels(card) == ["More", "Land what passes", "Stop", "Diff"]
        result, (refused,) = await there.say("/go t1")
        assert result.status == 2 and "its budget is used up: $6.00 of $5.00 for this task" in everything(refused)
        assert "/go t1 more adds $5.00" in everything(refused)
        _, (told,) = await there.say("/say t1 hurry up")
        assert "its budget is used up" in everything(told)
        result, _ = await there.press(card, "More")
        assert result.status == 0
        granted = await there.store.read(lambda tx: ledger.read(tx, kinds=(BudgetGranted.KIND,)))
        assert [each.event for each in granted] == [BudgetGranted("task", "t1", "money", 6_000_000)]
        assert (granted[0].source, granted[0].actor) == ("person", "phone::ada")
        assert await there.store.read(lambda tx: approvals.approval(tx, "a1").decision) == ApprovalDecision.GO_ON
        await there.press(card, "More")
        assert len(await there.store.read(lambda tx: ledger.read(tx, kinds=(BudgetGranted.KIND,)))) == 1, "once"
        _, (shows,) = await there.say("/budget t1")
        assert "t1 · $6.00 of $11.00" in everything(shows)


async def test_what_passes_can_land_and_no_progress_can_go_on(tmp_path: Path) -> None:
    async with house(tmp_path) as there:
        limit(there, task=BudgetConfig(money="5"))
        flight = await Flight.begin(there)
        await used(there, UsageReported(10, 10, 6_000_000))
        await there.press(await halted(there, flight), "Land what passes")
        assert await there.store.read(lambda tx: approvals.approval(tx, "a1").decision) == ApprovalDecision.JUDGE
    async with house(tmp_path / "2") as there:
        flight = await Flight.begin(there)
        card = await halted(there, flight, HaltCause.REPEATS)
        assert shown(card.title) == "t1 · a1 · no progress" and labels(card)[:3] == [
            "Go on",
            "Judge as it is",
            "Stop",
        ]
        assert "The same call 10 times in a row: Bash ls." in everything(card)
        assert (await there.press(card, "Go on"))[0].status == 0


async def test_more_for_a_day_needs_the_right_to_manage(tmp_path: Path) -> None:
    async with house(tmp_path) as there:
        limit(there, day=BudgetConfig(money="5"))
        flight = await Flight.begin(there)
        await used(there, UsageReported(10, 10, 6_000_000))
        await halted(there, flight)
        result, (refused,) = await there.say("/go t1 more", OTTO)
        assert result.status == 2 and "add to a budget of a day" in everything(refused)
        result, _ = await there.say("/go t1 more")
        assert result.status == 0
        _, (shows,) = await there.say("/budget")
        assert "all · $6.00 of $11.00" in everything(shows)


async def test_budget_shows_what_is_used_by_person_repository_and_task(tmp_path: Path) -> None:
    async with house(tmp_path) as there:
        await there.say("/run budget=2Mtokens,9calls mend it")
        flight = await Flight.begin(there, begun=True)
        assert await there.store.read(lambda tx: ledger.read(tx, kinds=(TaskBudgeted.KIND,))) != []
        await used(there, UsageReported(900_000, 100_000, 0))
        result, (card,) = await there.say("/budget")
        said = [shown(row) for row in card.lines]
        assert said[:3] == [
            "all · $0.00, unlimited · 0 s, unlimited",
            "Ada · $0.00, unlimited · 0 s, unlimited",
            "shop · $0.00, unlimited · 0 s, unlimited",
        ]
        assert said[3] == ("t1 · $0.00, unlimited · 1M tokens of 2M tokens · 0 calls of 9 calls · 0 s, unlimited")
        assert said[4].startswith("Cost unknown for 1M tokens")
        assert result.data is not None
        rows = [row for row in result.data["budgets"] if (row["scope"], row["measure"]) == ("task", "tokens")]  # type: ignore[attr-defined]  # a list of rows
        assert rows == [
            {
                "scope": "task",
                "name": "t1",
                "measure": "tokens",
                "used": 1_000_000,
                "limit": 2_000_000,
                "left": 1_000_000,
                "unpriced_tokens": 0,
                "list_price": False,
            }
        ]
        assert (await there.store.read(lambda tx: tasks.task(tx, "t1"))).state is TaskState.RUNNING
        await flight.note(BudgetNoted("task", "t1", "tokens", 1_700_000, 2_000_000))
        assert "budget: 1.7M tokens of 2M tokens for this task" in everything(flight.edits("task:t1")[-1])


async def test_a_budget_nobody_understands_starts_nothing(tmp_path: Path) -> None:
    async with house(tmp_path) as there:
        result, (card,) = await there.say("/run budget=5eur mend it")
        assert result.status == 2 and "its unit is unknown" in everything(card)
        assert await there.store.read(tasks.open_tasks) == []


async def test_a_days_last_attempt_keeps_the_next_task_back_and_ends_no_turn(tmp_path: Path) -> None:
    async with house(tmp_path) as there:
        limit(there, day=BudgetConfig(attempts=1))
        flight = await Flight.begin(there)
        session = flight.session
        started = TurnStarted(1, TurnCause.REQUEST, "mend it")
        await there.store.write(lambda tx: record(tx, started, session, turn="t1.1.1"))
        _, (card,) = await there.say("/run another")
        assert "waiting: budget used up: 1 attempt of 1 attempt today in all" in everything(card)
        task = await there.store.read(lambda tx: tasks.task(tx, "t1"))
        counts = await there.store.read(
            lambda tx: budgeting.counts_of_task(tx, there.config, budgeting.controllers_zone, task)
        )
        assert [(count.spent, count.reached) for count in counts] == [(True, False)]


async def test_more_lets_a_task_start_that_a_used_up_day_keeps_back(tmp_path: Path) -> None:
    async with house(tmp_path) as there:
        limit(there, day=BudgetConfig(money="5"))
        await Flight.begin(there)
        await used(there, UsageReported(10, 10, 6_000_000))
        _, (card,) = await there.say("/run another")
        assert labels(card) == ["More", "Log", "Stop"]
        assert (await there.press(card, "More", OTTO))[0].status == 2
        result, (told,) = await there.press(card, "More")
        assert result.status == 0 and everything(told).split("\n")[:2] == [
            "t2 may start",
            "$5.00 more today in all",
        ]
        known = there.fleet.placing()
        assert await there.store.write(lambda tx: starting.reserve(tx, known)) == ["t2"]
        assert "no budget keeps it back" in everything((await there.say("/go t2 more"))[1][0])


def test_a_turn_over_midnight_counts_for_both_days_and_one_whose_clock_was_set_back_for_none() -> None:
    began = 96 * SLOT_US - 10
    assert list(turn_time(began, 97 * SLOT_US + 5)) == [
        (95, Usage(time_us=10)),
        (96, Usage(time_us=SLOT_US)),
        (97, Usage(time_us=5)),
    ]
    assert list(turn_time(began, began - 1)) == []
    months = list(turn_time(0, 9_000 * SLOT_US))
    assert len(months) == 1 + 2 * 96 and sum(taken.time_us for _, taken in months) == 9_000 * SLOT_US
