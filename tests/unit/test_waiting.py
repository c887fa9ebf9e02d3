"""A typed yes means what this chat was shown; what waits can be told apart, listed and brought up again."""

from __future__ import annotations

from pathlib import Path

import pytest
from sqlalchemy import update

from bot.cards import Card, shown
from fleet.model import ChatRef, TaskState
from fleet.questions import Option, Question
from fleet.store import approvals, tables, tasks
from fleet.store.core import Tx
from tests.chat_flight import COMMIT, TREE, Flight, everything
from tests.chat_house import ADA, House, house

ELSEWHERE = ChatRef("phone", "c2")


def labels(card: Card) -> list[str]:
    return [action.label for action in card.actions]


async def waiting(there: House) -> list[str]:
    return [question.id for question in await there.store.read(approvals.waiting)]


async def elsewhere(there: House, text: str) -> tuple[int, Card]:
    """Says it in another chat; the answer's status and the card that came there."""
    result, _ = await there.hand_over(there.message(text, ADA, chat=ELSEWHERE))
    await there.settle(ELSEWHERE)
    return result.status, [post.card for post in there.phone.sent if post.chat == ELSEWHERE][-1]


async def hold(there: House, flight: Flight) -> None:
    await flight.move(TaskState.JUDGING)

    def work(tx: Tx) -> None:
        approvals.open_hold(tx, session=flight.session, commit=COMMIT, tree=TREE, reason="changes tests/test_x.py")
        tasks.move(tx, "t1", TaskState.HELD, "changes tests/test_x.py", "airboss")

    await there.store.write(work)
    await there.settle()


@pytest.mark.parametrize("words", ["yes", "no", "/approve", "/deny"])
async def test_a_bare_word_decides_nothing_that_this_chat_was_not_shown(tmp_path: Path, words: str) -> None:
    async with house(tmp_path) as there:
        flight = await Flight.begin(there)
        await hold(there, flight)
        status, card = await elsewhere(there, words)
        assert status == 2
        assert await waiting(there) == ["a1"]
        assert labels(card) == ["Approve", "Deny", "Diff"]
        assert "Nothing decided yet" in everything(card)
        status, _ = await elsewhere(there, "yes")
        assert status == 0
        assert await waiting(there) == []


async def test_a_bare_yes_where_it_was_asked_counts(tmp_path: Path) -> None:
    async with house(tmp_path) as there:
        flight = await Flight.begin(there)
        await hold(there, flight)
        result, _ = await there.say("yes")
        assert result.status == 0
        assert await waiting(there) == []


async def test_of_several_the_answered_card_is_meant_else_each_is_told_apart(tmp_path: Path) -> None:
    async with house(tmp_path) as there:
        flight = await Flight.begin(there)
        await flight.ask("make clean", name="q1")
        await flight.ask("make deploy", name="q2")
        result, (which,) = await there.say("yes")
        assert result.status == 2
        assert [shown(row).split(" · until")[0] for row in which.lines] == [
            "a1 · t1 · Bash: make clean",
            "a2 · t1 · Bash: make deploy",
        ]
        assert labels(which) == ["a1", "a2"]
        second = next(n for n, post in enumerate(there.phone.sent, 1) if post.key == "ask:a2")
        edits = sum(bool(post.edits) for post in there.phone.sent[:second])
        result, _ = await there.hand_over(there.message("yes", reply_to=f"m{second - edits}"))
        assert result.status == 0
        assert await waiting(there) == ["a1"]


async def test_a_typed_yes_refuses_what_changed_since_it_was_shown(tmp_path: Path) -> None:
    async with house(tmp_path) as there:
        flight = await Flight.begin(there)
        await flight.ask("make deploy")
        change = update(tables.approvals).values(request="rm -rf /", command="rm -rf /")
        await there.store.write(lambda tx: tx.connection.execute(change))
        for words in ("/approve a1", "yes", "/approve t1"):
            result, (told,) = await there.say(words)
            assert result.status == 2
            assert "changed since it was shown" in everything(told)
        assert await waiting(there) == ["a1"]
        _, (again,) = await there.say("/waiting a1")
        assert "rm -rf /" in everything(again)
        result, _ = await there.say("/approve a1")
        assert result.status == 0


async def test_every_card_that_asks_shows_its_id(tmp_path: Path) -> None:
    async with house(tmp_path) as there:
        flight = await Flight.begin(there)
        await flight.ask("make deploy")
        await flight.ask("{}", questions=(Question("Which?", (Option("red"), Option("blue"))),), name="q2")
        await hold(there, flight)
        assert flight.pings() == [
            "t1 · a1 · Bash asks to run",
            "t1 · a2 · the agent asks you",
            "t1 · a3 · held for a person",
        ]


async def test_the_list_says_what_each_is_and_brings_it_up_again(tmp_path: Path) -> None:
    async with house(tmp_path) as there:
        flight = await Flight.begin(there)
        await flight.ask("make deploy")
        await hold(there, flight)
        first = flight.pinged()[0]
        _, (listed,) = await there.say("/waiting")
        rows = [shown(row) for row in listed.lines]
        assert rows[0].startswith("a1 · t1 · Bash: make deploy · until ")
        assert rows[1] == "a2 · t1 · held: changes tests/test_x.py"
        _, (again,) = await there.press(listed, "a1")
        assert labels(again) == ["Allow once", "Allow for this session", "Deny"]
        old = [post for post in there.phone.sent if post.edits and "Asked again" in everything(post.card)]
        assert [labels(post.card) for post in old] == [[]]
        result, (told,) = await there.press(first, "Allow once")
        assert result.status == 2
        assert "too old" in everything(told)
        result, _ = await there.press(again, "Allow once")
        assert result.status == 0
        assert await waiting(there) == ["a2"]
        result, (told,) = await there.press(listed, "a1")
        assert result.status == 2
        assert "no longer waiting" in everything(told)


async def test_a_decision_closes_the_cards_of_every_chat(tmp_path: Path) -> None:
    async with house(tmp_path) as there:
        flight = await Flight.begin(there)
        await flight.ask("make deploy")
        await elsewhere(there, "/waiting a1")
        result, _ = await there.press(flight.pinged()[0], "Deny")
        assert result.status == 0
        await there.settle(ELSEWHERE)
        for chat in (ELSEWHERE, there.phone.sent[0].chat):
            closed = [post.card for post in there.phone.sent if post.chat == chat and post.key == "ask:a1"][-1]
            assert "denied" in everything(closed)
            assert labels(closed) == []
