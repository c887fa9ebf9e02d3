"""What a person reads has names in it, not a platform's ids, and counts that are true."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

from bot.cards import shown
from bot.telling import sounds
from fleet.config import parse_fleet
from fleet.events import AgentSaid
from fleet.model import ChatRef, PersonId, TaskState
from fleet.store import approvals, tasks
from tests.chat_flight import Flight, everything
from tests.chat_house import ADA, FLEET, OTTO, house


def test_only_a_whole_id_becomes_a_name() -> None:
    config = parse_fleet(FLEET, "fleet.toml")
    assert sounds.named(config, "stopped by phone::ada, not phone::adam or xphone::ada") == (
        "stopped by Ada, not phone::adam or xphone::ada"
    )
    assert sounds.named(config, "paused by phone::ada: lunch, phone::ada:x") == "paused by Ada: lunch, phone::ada:x"


async def test_no_card_says_an_id_where_a_person_has_a_name(tmp_path: Path) -> None:
    async with house(tmp_path) as there:
        flight = await Flight.begin(there)
        await flight.ask("make deploy")
        asking = flight.pinged()[0]
        await there.press(asking, "Allow once", OTTO)
        told = [card for _, cards in (
            await there.press(asking, "Allow once"),
            await there.say("/approve a1"),
        ) for card in cards]  # fmt: skip
        assert "Otto pressed it already" in everything(told[0])
        assert "Otto already allowed it" in everything(told[1])
        await there.store.write(lambda tx: tasks.request_stop(tx, "t1", str(ADA)))
        await flight.move(TaskState.STOPPED, why=f"stopped by {ADA}")
        for words in ("/session t1", "/logs t1", "/sessions", "/status", "/waiting", "/gates t1"):
            await there.say(words)
        assert "stopped by Ada" in "".join(
            everything(post.card) for post in there.phone.sent if post.key == "task:t1"
        )
        for post in there.phone.sent:
            assert "phone::" not in everything(post.card), shown(post.card.title)


async def test_the_log_counts_the_lines_that_it_shows(tmp_path: Path) -> None:
    async with house(tmp_path) as there:
        flight = await Flight.begin(there)
        for number in range(40):
            await flight.note(AgentSaid(f"{number} " + "word " * 45))
        _, (card,) = await there.say("/logs t1")
        assert card.body is not None
        rows = card.body.text(10_000).splitlines()
        assert len(rows) < 24
        assert shown(card.lines[0]).endswith(f" lines; the last {len(rows)}:")
        assert all(" word" in row and row[2] == ":" for row in rows), "every line is whole"


async def test_without_an_id_the_newest_task_of_the_chat_is_meant_once_none_is_open(tmp_path: Path) -> None:
    async with house(tmp_path) as there:
        flight = await Flight.begin(there)
        await flight.move(TaskState.FAILED, why="tests: exit status 1")
        away = replace(there.message("/run elsewhere"), chat=ChatRef("phone", "c2"))
        await there.hand_over(away)
        _, (card,) = await there.say("/logs")
        assert shown(card.title) == "t1 · log"
        for words in ("/diff", "/receipt"):
            _, (card,) = await there.say(words)
            assert "t1" in everything(card)
            assert "no task is named" not in everything(card)
        result, _ = await there.say("/retry")
        assert (result.status, result.task) == (0, "t3")
        assert (await there.tasks())[0].retry_of == "t1"


async def test_an_empty_line_of_the_agent_is_no_line_of_the_card(tmp_path: Path) -> None:
    async with house(tmp_path) as there:
        flight = await Flight.begin(there)
        await flight.note(AgentSaid("first\n\n  \nlast"))
        told = everything(flight.edits("task:t1")[-1])
        assert "“first”\n“last”" in told


async def test_a_retired_persons_id_stays_as_it_is(tmp_path: Path) -> None:
    gone = PersonId("phone", "", "gone")
    async with house(tmp_path) as there:
        flight = await Flight.begin(there)
        await flight.ask()
        await there.store.write(lambda tx: approvals.decide(tx, "a1", False, str(gone), ""))
        _, (card,) = await there.say("/approve a1")
        assert "phone::gone already denied it" in everything(card)
