"""Long lists: never over a phone's screen, and every row within reach of a thumb."""

from __future__ import annotations

import re
from functools import partial
from pathlib import Path

import pytest

from bot.cards import Card, shown
from fleet.machines.watch import MachineSeen, MachineState
from fleet.model import ChatRef, TaskState
from fleet.store import tasks
from fleet.store.core import Tx
from tests.chat_flight import Flight, everything
from tests.chat_house import FLEET, House, PlayedFleet, house
from tests.rows import asked, placed

MANY = FLEET + "".join(f'[machines.box-{n:02}]\nexecutor = "local"\nslots = 3\n' for n in range(100))


def labels(card: Card) -> list[str]:
    return [button.label for button in card.actions]


async def turned(there: House, card: Card) -> list[Card]:
    """The card and all that its More button leads to, one after the other."""
    pages = [card]
    while "More" in labels(pages[-1]):
        _, (following,) = await there.press(pages[-1], "More")
        pages.append(following)
        assert len(pages) < 40
    return pages


def fill(tx: Tx, live: int, ended: int = 0) -> None:
    for number in range(live + ended):
        task = asked(tx, prompt=f"number {number}", origin=ChatRef("phone", "elsewhere"))
        if number >= live:
            tasks.move(tx, task.id, TaskState.STOPPED, "", "airboss")
            continue
        placed(tx, task.id, "macbook")
        tasks.move(tx, task.id, TaskState.PREPARING, "", "airboss")


async def test_every_machine_can_be_reached(tmp_path: Path) -> None:
    async with house(tmp_path, fleet_toml=MANY) as there:
        _, (status,) = await there.say("/status")
        _, (first,) = await there.press(status, "Machines")
        assert shown(first.title) == "102 machines · 1-10"
        assert "macbook" in shown(first.lines[0]), "what does not answer comes first"
        pages = await turned(there, first)
        assert all(len(page.lines) + 1 <= 12 for page in pages)
        found = [shown(row).split()[1] for page in pages for row in page.lines]
        assert sorted(found) == sorted(there.config.machines)
        assert labels(pages[-1]) == ["Back"]
        _, (typed,) = await there.say("/machines 11")
        assert shown(typed.title) == shown(pages[-1].title) == "102 machines · 101-102"
        _, (beyond,) = await there.say("/machines 99999999999999999999")
        assert beyond.lines == typed.lines
        _, (back,) = await there.press(typed, "Back")
        assert shown(back.title) == "102 machines · 91-100"


async def test_every_session_can_be_reached_and_then_what_ended(tmp_path: Path) -> None:
    async with house(tmp_path) as there:
        await there.store.write(lambda tx: fill(tx, live=23, ended=3))
        _, (first,) = await there.say("/sessions")
        assert shown(first.title) == "23 sessions at work · 1-10"
        pages = await turned(there, first)
        assert [len(page.lines) for page in pages] == [10, 10, 6]
        rows = [shown(row) for page in pages for row in page.lines]
        assert sorted(row.split()[1] for row in rows[:23]) == sorted(f"t{n}" for n in range(1, 24))
        assert [row.split()[0] for row in rows[23:]] == ["t26", "t25", "t24"]
        _, (second,) = await there.say("/sessions 2")
        assert [shown(row).split()[1] for row in second.lines] == [row.split()[1] for row in rows[10:20]]


async def test_a_session_that_waits_for_a_person_hides_none_that_works(tmp_path: Path) -> None:
    async with house(tmp_path) as there:
        await there.store.write(lambda tx: fill(tx, live=3))
        for state in (TaskState.RUNNING, TaskState.STALLED):
            await there.store.write(partial(tasks.move, task_id="t1", new=state, why="it failed", actor="airboss"))
        _, (card,) = await there.say("/sessions")
        assert shown(card.title) == "2 sessions at work, 1 waiting"
        assert [shown(row).split()[1] for row in card.lines] == ["t1", "t2", "t3"]
        assert "stalled" in shown(card.lines[0]) and "it failed" in shown(card.lines[0])


async def test_a_task_is_named_where_its_line_is_shown(tmp_path: Path) -> None:
    async with house(tmp_path) as there:
        await there.store.write(lambda tx: fill(tx, live=2, ended=1))
        for text, task in (("/status t3", "t3"), ("/sessions t1", "t1"), ("/sessions 2", "t2")):
            _, (card,) = await there.say(text)
            assert shown(card.title).startswith(f"{task} · shop · number "), text
        _, (rows,) = await there.say("/sessions 9")
        assert shown(rows.title) == "2 sessions at work", "no such page and no such task"
        assert [shown(row).partition(" · preparing ")[0] for row in rows.lines] == [
            "▸ t1 shop · number 0 · macbook",
            "▸ t2 shop · number 1 · macbook",
            "t3 shop · stopped · number 2",
        ]


async def test_everything_that_waits_can_be_reached(tmp_path: Path) -> None:
    async with house(tmp_path) as there:
        flight = await Flight.begin(there)
        for number in range(13):
            await flight.ask(f"make {number}", name=f"q{number}")
        _, (first,) = await there.say("/waiting")
        pages = await turned(there, first)
        assert [len(page.lines) for page in pages] == [10, 3]


async def test_a_short_list_has_no_pages(tmp_path: Path) -> None:
    async with house(tmp_path) as there:
        _, (card,) = await there.say("/machines")
        assert (shown(card.title), labels(card)) == ("2 machines", [])
        _, (same,) = await there.say("/machines 7")
        assert same.lines == card.lines


class Partly(PlayedFleet):
    """A fleet of which one machine answers, one does not, and the others were not asked yet."""

    def machines(self) -> dict[str, MachineSeen]:
        return {
            "box-03": MachineSeen(MachineState.WELL, 9, cpus=4),
            "macbook": MachineSeen(MachineState.AWAY, why="no route to host"),
        }


async def test_what_nobody_has_seen_is_not_well(tmp_path: Path) -> None:
    async with house(tmp_path, fleet_toml=MANY) as there:
        there.fleet.__class__ = Partly
        _, (card,) = await there.say("/status")
        assert "1 well · 100 not seen yet · 0/304 slots" in everything(card)
        assert "101 well" not in everything(card)


async def test_the_guided_choice_reaches_every_machine_and_marks_who_does_not_answer(tmp_path: Path) -> None:
    async with house(tmp_path, fleet_toml=MANY) as there:
        _, (first,) = await there.say("/run")
        pages = await turned(there, first)
        options = [label for page in pages for label in labels(page) if label not in ("More", "Back")]
        assert options[0] == "any"
        assert options[-1] == "⚠ macbook"
        assert sorted(options[1:-1]) == sorted(there.config.machines.keys() - {"macbook"})
        _, (words,) = await there.press(pages[-1], "⚠ macbook")
        assert "demo · shop · macbook" in everything(words)


@pytest.mark.parametrize("words", ["", " mend it"])
async def test_a_page_of_a_choice_is_no_name_of_a_machine(tmp_path: Path, words: str) -> None:
    async with house(tmp_path, fleet_toml=MANY) as there:
        _, (card,) = await there.say(f"/run on=?3{words}")
        assert shown(card.title) == "Which machine? · 17-24"
        _, (answer,) = await there.press(card, labels(card)[0])
        assert ("Send the prompt." in everything(answer)) == (not words)
        assert len(await there.tasks()) == (1 if words else 0)


async def test_a_sessions_line_says_how_its_gates_went(tmp_path: Path) -> None:
    async with house(tmp_path) as there:
        flight = await Flight.begin(there)

        async def row() -> str:
            _, (card,) = await there.say("/status")
            found = next(shown(row) for row in card.lines if shown(row).startswith("▸"))
            return re.sub(r"\b\d+ s\b", "N s", found)

        assert not set("✗✓…") & set((await row()).partition(" · ")[2])
        await flight.move(TaskState.JUDGING)
        assert "judging N s …" in await row()
        await flight.red()
        await flight.move(TaskState.RUNNING)
        assert "· N s ✗1" in await row()
        await flight.move(TaskState.JUDGING)
        assert "judging N s ✗1…" in await row()
        await flight.green()
        await flight.move(TaskState.LANDING)
        assert "landing N s ✓" in await row()


async def test_the_first_line_has_no_sign_even_when_something_waits(tmp_path: Path) -> None:
    from bot.chats.console import render as console_render
    from bot.chats.slack import render as slack_render
    from bot.chats.telegram import render as telegram_render

    async with house(tmp_path) as there:
        flight = await Flight.begin(there)
        await flight.ask()
        _, (card,) = await there.say("/status")
        first = shown(card.title)
        assert first.startswith("fleet: ")
        assert telegram_render.render(card).html.startswith("<b>fleet: ")
        assert slack_render.draw(card).blocks[0]["text"]["text"] == first
        assert "│ fleet: " in console_render.render(card, lambda _: 1, colour=False)
        (asked,) = flight.pinged()
        drawn = slack_render.draw(asked)
        heading = next(block["text"]["text"] for block in drawn.blocks if block["type"] == "header")
        assert heading.startswith("✋ "), "a question mark would read as doubt"
        assert "✋ " in console_render.render(asked, lambda _: 1, colour=False)
