"""No button lies: what a card offers can be done, once, and what was done is offered by no card."""

from __future__ import annotations

from functools import partial
from pathlib import Path

import pytest

from bot.cards import Card, shown
from fleet.events import TaskMoved
from fleet.model import TaskState
from fleet.store import tasks
from tests.chat_flight import Flight, everything
from tests.chat_house import FLEET, House, house

TWO = FLEET + '[repos.zoo]\nurl = "/srv/zoo.git"\n'


def labels(card: Card) -> list[str]:
    return [action.label for action in card.actions]


def now(there: House, key: str) -> Card:
    """What the card of this key shows now."""
    return [post.card for post in there.phone.sent if post.key == key][-1]


def titled(there: House, title: str) -> Card:
    """The newest form of the message whose title begins so."""
    return [post.card for post in there.phone.sent if shown(post.card.title).startswith(title)][-1]


@pytest.mark.parametrize("end", [TaskState.FAILED, TaskState.LANDED, TaskState.STOPPED])
async def test_at_its_end_a_tasks_red_card_offers_to_read_only(tmp_path: Path, end: TaskState) -> None:
    async with house(tmp_path) as there:
        flight = await Flight.begin(there)
        await flight.red()
        if end is TaskState.LANDED:
            await flight.move(TaskState.JUDGING, TaskState.LANDING)
        await flight.move(end)
        red = now(there, "red:t1")
        assert labels(red) == ["Log", "Diff"]
        assert "assert 1 == 2" in everything(red)
        assert "Stop" not in labels(now(there, "task:t1"))


async def test_a_retry_is_begun_once_from_whichever_card(tmp_path: Path) -> None:
    async with house(tmp_path) as there:
        flight = await Flight.begin(there)
        await flight.red()
        red = now(there, "red:t1")
        await flight.move(TaskState.FAILED, why="tests: exit status 1")
        cards = [red, titled(there, "t1 · failed"), now(there, "task:t1")]
        for card in cards:
            assert "Retry" in labels(card)
        result, _ = await there.press(cards[1], "Retry")
        assert (result.status, result.task) == (0, "t2")
        for card in (cards[0], cards[2]):
            result, (told,) = await there.press(card, "Retry")
            assert result.status == 2
            assert "already retried as t2" in everything(told)
        assert [task.id for task in await there.tasks()] == ["t2", "t1"]
        for card in (now(there, "red:t1"), titled(there, "t1 · failed"), now(there, "task:t1")):
            assert "Retry" not in labels(card)
            assert "Log" in labels(card)


async def test_a_used_retry_does_not_come_back_when_its_card_is_drawn_again(tmp_path: Path) -> None:
    async with house(tmp_path) as there:
        flight = await Flight.begin(there)
        await flight.move(TaskState.FAILED, why="tests: exit status 1")
        await there.press(now(there, "task:t1"), "Retry")
        await there.store.write(partial(tasks.explain, task_id="t1", why="said anew"))
        await flight.note(TaskMoved("running", "running", ""))
        progress = now(there, "task:t1")
        assert "said anew" in everything(progress)
        assert "Retry" not in labels(progress)


async def test_a_typed_retry_points_to_the_one_under_way_and_begins_another_when_that_has_ended(
    tmp_path: Path,
) -> None:
    async with house(tmp_path) as there:
        flight = await Flight.begin(there)
        await flight.move(TaskState.FAILED)
        result, _ = await there.say("/retry t1")
        assert result.task == "t2"
        result, (told,) = await there.say("/retry t1")
        assert result.status == 2
        assert "already retried as t2" in everything(told)
        await there.store.write(partial(tasks.move, task_id="t2", new=TaskState.STOPPED, why="", actor="airboss"))
        result, _ = await there.say("/retry t1")
        assert (result.status, result.task) == (0, "t3")


async def test_a_stop_that_was_asked_for_is_offered_nowhere(tmp_path: Path) -> None:
    async with house(tmp_path) as there:
        flight = await Flight.begin(there)
        await flight.red()
        await there.press(now(there, "red:t1"), "Stop")
        assert labels(now(there, "red:t1")) == ["Retry", "Log", "Diff"]
        assert labels(now(there, "task:t1")) == ["Log"]
        await flight.red("E   again")
        assert "Stop" not in labels(now(there, "red:t1"))


async def test_a_guided_question_takes_one_answer_and_says_which(tmp_path: Path) -> None:
    async with house(tmp_path, fleet_toml=TWO) as there:
        _, (question,) = await there.say("/run mend it")
        assert labels(question) == ["shop", "zoo"]
        result, _ = await there.press(question, "zoo")
        assert result.status == 0
        answered = titled(there, "Which repository?")
        assert labels(answered) == []
        assert "✓ zoo" in everything(answered)
        result, (told,) = await there.press(question, "shop")
        assert result.status == 2
        assert "pressed it already" in everything(told)
        assert [task.repo for task in await there.tasks()] == ["zoo"]
