"""A turn that stopped short: what its card shows and offers, and what a person's word does."""

from __future__ import annotations

import re
from dataclasses import replace
from pathlib import Path

import pytest

from bot.cards import Card, Tone, shown
from bot.telling.sounds import SoundSettings
from fleet.agent_events import TurnOutcome
from fleet.errors import Refused
from fleet.flight import notes
from fleet.flight.notes import Reach
from fleet.model import STATUS_OF_STATE, Isolation, Task, TaskMode, TaskState, TurnCause, may_move, status_of
from fleet.store import approvals, sessions, stalls, tasks
from fleet.store.approvals import ApprovalDecision
from fleet.store.core import Tx
from tests.chat_flight import COMMIT, Flight, everything
from tests.chat_house import ADA, FLEET, OTTO, VERA, House, house

LIMIT = "You've hit your session limit · resets 5:10pm (Europe/Paris)"


def labels(card: Card) -> list[str]:
    return [action.label for action in card.actions]


async def stalled(there: House, outcome: TurnOutcome = TurnOutcome.LIMITED, error: str = LIMIT) -> Flight:
    flight = await Flight.begin(there)
    await flight.stall(outcome, error)
    return flight


async def task(there: House) -> Task:
    return await there.store.read(lambda tx: tasks.task(tx, "t1"))


async def choice(there: House) -> str:
    return await there.store.read(lambda tx: approvals.approval(tx, "a1").decision)


@pytest.mark.parametrize(
    ("outcome", "title"),
    [
        (TurnOutcome.FAILED, "the agent failed"),
        (TurnOutcome.LIMITED, "usage limit reached"),
        (TurnOutcome.NOT_LOGGED_IN, "the agent is not logged in"),
        (TurnOutcome.OVERLOADED, "the model did not answer"),
        (TurnOutcome.CONVERSATION_LOST, "the conversation is lost"),
        (TurnOutcome.CONTEXT_FULL, "the context is full"),
    ],
)
async def test_the_card_says_how_in_the_vendors_words_and_pings_once(
    tmp_path: Path, outcome: TurnOutcome, title: str
) -> None:
    async with house(tmp_path) as there:
        flight = await Flight.begin(there)
        await flight.stall(outcome, "words of the vendor", exit_="exit status 1", claim="half of it")
        (card,) = flight.pinged()
        assert shown(card.title) == f"t1 · a1 · {title}"
        for words in ("“words of the vendor”", "“half of it”", "exit status 1", "The work is kept", COMMIT[:10]):
            assert words in everything(card)
        log_in = ["How to log in"] if outcome is TurnOutcome.NOT_LOGGED_IN else []
        assert labels(card) == ["Go on", "Judge as it is", "Stop", "Diff", *log_in]
        assert card.tone is Tone.WAITING and card.mention == str(ADA)


async def test_a_killed_agents_card_names_the_usual_reason(tmp_path: Path) -> None:
    async with house(tmp_path) as there:
        flight = await Flight.begin(there)
        await flight.stall(TurnOutcome.FAILED, "the program ended: killed by SIGKILL", exit_="killed by SIGKILL")
        assert "ran out of memory" in everything(flight.pinged()[0])


async def test_where_no_file_changed_there_is_nothing_to_judge(tmp_path: Path) -> None:
    async with house(tmp_path) as there:
        flight = await Flight.begin(there)
        await flight.stall(TurnOutcome.FAILED, "no", commit="")
        (card,) = flight.pinged()
        assert labels(card) == ["Go on", "Stop"]
        assert "No file was changed" in everything(card)
        result, (refused,) = await there.say("/judge t1")
        assert result.status == 2 and "has not changed a file" in everything(refused)
        assert await choice(there) == ""


async def test_a_question_is_offered_no_judging(tmp_path: Path) -> None:
    async with house(tmp_path) as there:
        await there.say("/ask why?")
        flight = await Flight.begin(there, begun=True)
        await flight.stall(TurnOutcome.OVERLOADED, "API Error: 529 Overloaded", commit="")
        (card,) = flight.pinged()
        assert labels(card) == ["Go on", "Stop"]
        assert "file" not in everything(card)
        assert status_of(await task(there)) == 3


@pytest.mark.parametrize(
    ("label", "typed", "decision", "told"),
    [
        ("Go on", "/go t1", ApprovalDecision.GO_ON, "continues"),
        ("Judge as it is", "/judge t1", ApprovalDecision.JUDGE, "judged as it is"),
    ],
)
async def test_a_button_and_a_typed_verb_decide_once(
    tmp_path: Path, label: str, typed: str, decision: ApprovalDecision, told: str
) -> None:
    for number, pressed in enumerate((True, False)):
        place = tmp_path / str(number)
        place.mkdir()
        async with house(place) as there:
            flight = await stalled(there)
            result, _ = await (there.press(flight.pinged()[0], label) if pressed else there.say(typed))
            assert result.status == 0
            assert await choice(there) == decision
            assert there.fleet.woken[-1] == "t1"
            card = flight.edits("ask:a1")[-1]
            assert told in shown(card.title) and labels(card) == []
            assert "Ada" in everything(card)
            again, (refused,) = await there.say(typed)
            assert again.status == 2 and "a person has decided that already" in everything(refused)


async def test_the_id_of_the_card_will_do(tmp_path: Path) -> None:
    async with house(tmp_path) as there:
        await stalled(there)
        result, _ = await there.say("/go a1")
        assert result.status == 0 and await choice(there) == ApprovalDecision.GO_ON


async def test_an_old_button_does_not_judge_what_came_later(tmp_path: Path) -> None:
    async with house(tmp_path) as there:
        flight = await stalled(there)
        (card,) = flight.pinged()
        token = next(action.token for action in card.actions if action.label == "Judge as it is")
        await there.store.write(lambda tx: stalls.withdraw(tx, "t1", by="airboss", why="it went on"))
        await flight.move(TaskState.RUNNING)
        await flight.stall(TurnOutcome.FAILED, "again", commit="e" * 40)
        result, (refused,) = await there.hand_over(there.message(pressed=token))
        assert result.status == 2 and "after this button was shown" in everything(refused)
        assert (await there.store.read(lambda tx: approvals.approval(tx, "a2"))).decision == ""


@pytest.mark.parametrize("words", ["yes", "/approve a1", "/deny a1"])
async def test_yes_and_no_are_no_answers_to_it(tmp_path: Path, words: str) -> None:
    async with house(tmp_path) as there:
        await stalled(there)
        result, (card,) = await there.say(words)
        assert result.status == 2
        assert "/go t1" in everything(card) and "/judge t1" in everything(card)
        assert await choice(there) == ""


async def test_who_may_only_look_decides_nothing(tmp_path: Path) -> None:
    async with house(tmp_path) as there:
        flight = await stalled(there)
        for label in ("Go on", "Judge as it is", "Stop"):
            result, _ = await there.press(flight.pinged()[0], label, VERA)
            assert result.status == 2
        assert await choice(there) == ""
        result, _ = await there.press(flight.pinged()[0], "Go on", OTTO)
        assert result.status == 0


async def test_words_go_on_with_it_and_the_card_says_so(tmp_path: Path) -> None:
    async with house(tmp_path) as there:
        flight = await stalled(there)
        result, (card,) = await there.say("/say t1 try the other account")
        assert result.status == 0
        assert "the agent continues with your message" in shown(card.title)
        assert await choice(there) == "withdrawn"
        assert "continues: you sent a message" in shown(flight.edits("ask:a1")[-1].title)


async def test_words_after_a_decision_wait_their_turn(tmp_path: Path) -> None:
    async with house(tmp_path) as there:
        await stalled(there)
        await there.say("/judge t1")

        def leave(tx: Tx) -> notes.Added:
            return notes.add(tx, tasks.task(tx, "t1"), "wait", str(ADA))

        assert (await there.store.write(leave)).reach is Reach.BEFORE_LANDING
        assert await choice(there) == ApprovalDecision.JUDGE


async def test_a_stop_takes_the_buttons_away(tmp_path: Path) -> None:
    async with house(tmp_path) as there:
        flight = await stalled(there)
        result, _ = await there.press(flight.pinged()[0], "Stop")
        assert result.status == 0
        await flight.move(TaskState.STOPPED)
        assert labels(flight.edits("ask:a1")[-1]) == []
        assert await choice(there) == "withdrawn"


async def test_it_is_seen_where_people_look(tmp_path: Path) -> None:
    async with house(tmp_path) as there:
        await stalled(there)
        _, (listed,) = await there.say("/waiting")
        assert "a1 · t1 · stalled: You've hit your session limit" in everything(listed)
        _, (status,) = await there.say("/status")
        assert "a1 · t1 stalled: You've hit" in everything(status)
        _, (card,) = await there.say("/session t1")
        assert "stalled: You've hit your session limit" in everything(card)
        assert re.search(r"turn 1 · request · \d+ s · limited", everything(card))
        _, (again,) = await there.say("/waiting a1")
        assert labels(again) == ["Go on", "Judge as it is", "Stop", "Diff"]


async def test_a_limit_with_an_hour_parks_the_task_and_a_person_may_let_it_go_on_then(tmp_path: Path) -> None:
    async with house(tmp_path) as there:
        flight = await Flight.begin(there)
        await flight.stall(TurnOutcome.LIMITED, LIMIT, state=TaskState.PARKED)
        (card,) = flight.pinged()
        assert "Parked until " in everything(card)
        resume = next(label for label in labels(card) if label.startswith("Resume "))
        parked = [resume, "Resume in my hours", "Other agent", "Drop"]
        assert labels(card) == ["Go on", *parked, "Judge as it is", "Diff"]
        assert status_of(await task(there)) == 4
        _, (said,) = await there.say("/go t1 later")
        assert "the agent continues at the reset hour" in everything(said)
        decided = await there.store.read(lambda tx: stalls.decision(tx, "t1"))
        assert decided is not None and decided.reason == stalls.AT_RESET


async def test_only_what_a_limit_parked_goes_on_later(tmp_path: Path) -> None:
    async with house(tmp_path) as there:
        await stalled(there)
        _, (said,) = await there.say("/go t1 later")
        assert "no usage limit parked it" in everything(said)


def test_only_a_task_that_an_agent_works_on_stalls_and_nothing_lands_from_there() -> None:
    assert [state for state in TaskState if may_move(state, TaskState.STALLED)] == [
        *(TaskState.RUNNING, TaskState.STALLED, TaskState.PARKED, TaskState.JUDGING, TaskState.LANDING),
        *(TaskState.FAILED, TaskState.REFUSED, TaskState.UNAVAILABLE, TaskState.LOST, TaskState.STOPPED),
    ]
    for state in (TaskState.LANDING, TaskState.LANDED, TaskState.HELD, TaskState.ANSWERED):
        assert not may_move(TaskState.STALLED, state)
    assert STATUS_OF_STATE[TaskState.STALLED] == 4


async def test_what_was_decided_is_kept_until_it_is_acted_on(tmp_path: Path) -> None:
    async with house(tmp_path) as there:
        await stalled(there)
        await there.say("/judge t1")

        def settle(tx: Tx) -> None:
            decided = stalls.decision(tx, "t1")
            assert decided is not None and (decided.commit, decided.by) == (COMMIT, str(ADA))
            approvals.settle(tx, decided.id)
            assert stalls.decision(tx, "t1") is None

        await there.store.write(settle)
        assert (await task(there)).mode is TaskMode.CHANGE
        with pytest.raises(Refused):
            await there.store.write(_judge_nothing)


def _judge_nothing(tx: Tx) -> None:
    nothing = replace(approvals.approval(tx, "a1"), commit="")
    stalls.decide(tx, nothing, ApprovalDecision.JUDGE, str(ADA))


async def second_parked(there: House) -> None:
    """Another task of the same account and chat that meets the limit."""
    await there.say("/run mend it too")

    def work(tx: Tx) -> None:
        session = sessions.create_session(
            tx, task="t2", machine="macbook", agent="demo", base="b" * 40, isolation=Isolation.UNSAFE_SAME_USER
        )
        turn = sessions.create_turn(tx, session, TurnCause.REQUEST, "mend it too")
        sessions.update_turn(tx, turn.id, ended_us=tx.now_us(), outcome=TurnOutcome.LIMITED, error=LIMIT)
        approvals.open_stall(tx, session=session, commit="", tree="", reason=LIMIT)
        for state in (TaskState.PREPARING, TaskState.RUNNING, TaskState.PARKED):
            tasks.move(tx, "t2", state, LIMIT, "airboss")

    await there.store.write(work)
    await there.settle()


async def test_one_card_for_an_account_lists_its_tasks_and_decides_about_all(tmp_path: Path) -> None:
    async with house(tmp_path) as there:
        one = await Flight.begin(there)
        await one.stall(TurnOutcome.LIMITED, LIMIT, state=TaskState.PARKED)
        await second_parked(there)
        assert len(one.pinged()) == 1, "the second task changes the card of the first"
        both = one.edits("ask:a1")[-1]
        assert "Also waiting: t2 shop" in everything(both)
        _, (listed,) = await there.say("/parked")
        assert "2 tasks parked" in everything(listed) and "t1 shop" in everything(listed)
        result, _ = await there.press(both, "Resume in my hours")
        assert result.status == 0
        found = await there.store.read(lambda tx: [stalls.decision(tx, name) for name in ("t1", "t2")])
        assert [each.reason for each in found if each] == [stalls.IN_HOURS] * 2
        _, (later,) = await there.say("/parked demo@macbook")
        assert everything(later).count("resumes in my hours after the reset") == 2
        await there.press(later, "Drop")
        stopped = await there.store.read(lambda tx: [tasks.stop_requested(tx, name) for name in ("t1", "t2")])
        assert stopped == [True, True]


def test_in_my_hours_is_the_first_time_outside_the_quiet_ones() -> None:
    wish = SoundSettings(quiet_from=22 * 60, quiet_to=7 * 60, zone="UTC")
    night = 1_795_921_200_000_000  # 2026-11-29 03:00 UTC
    assert wish.first_loud(night) == night + 4 * 3_600_000_000
    assert wish.first_loud(night + 5 * 3_600_000_000) == night + 5 * 3_600_000_000


async def test_a_task_that_is_being_stopped_is_not_decided_about(tmp_path: Path) -> None:
    async with house(tmp_path) as there:
        flight = await stalled(there)
        (card,) = flight.pinged()
        await there.say("/stop t1", OTTO)
        for said in (await there.press(card, "Go on"), await there.say("/judge t1")):
            assert said[0].status == 2
            assert "t1 is being stopped" in everything(said[1][0])
        assert await choice(there) == ""


async def test_another_agent_gets_a_parked_task_with_all_that_it_was_given(tmp_path: Path) -> None:
    other = '[agents.other]\ndriver = "command"\nprogram = ["cat"]\n'
    async with house(tmp_path, fleet_toml=FLEET + other) as there:
        await there.say("/run agent=demo needs=linux budget=9calls lock=src/** mend it")
        flight = await Flight.begin(there, begun=True)
        await flight.stall(TurnOutcome.LIMITED, LIMIT, state=TaskState.PARKED)
        await there.say("/parked agent demo@macbook other")
        again, first = await there.tasks()
        assert (again.agent, again.retry_of) == ("other", first.id)
        assert (again.needs, again.budget, again.locks) == (first.needs, first.budget, first.locks)
        assert again.needs and again.budget and again.locks
