"""Turns that stop for one cause share a card: one message, one sound, and buttons for all of them."""

from __future__ import annotations

from functools import partial
from pathlib import Path

import pytest
from sqlalchemy import update

from bot.cards import Card, shown
from bot.telling.reminders import Reminders
from fleet.model import ChatRef, TaskState
from fleet.store import approvals, stalls, tables, tasks
from fleet.store.core import Tx
from tests.chat_flight import everything
from tests.chat_house import ADA, CHAT, House, house
from tests.night import LIMITED, Night


async def limited(there: House) -> Card:
    """Four tasks meet the limit, each noticed alone; their card."""
    night = Night(there.store, there.core.context, there.outbox, ADA, CHAT, there.settle)
    flights = await there.store.write(night.begin)
    for task in LIMITED:
        await there.store.write(partial(night.meets_limit, task=task, session=flights[task]))
        await there.settle()
    return cards(there)[-1]


def cards(there: House, *, edits: bool = True) -> list[Card]:
    posts = [post for post in there.phone.sent if edits or not post.edits]
    return [post.card for post in posts if "usage limit reached" in shown(post.card.title)]


async def decisions(there: House) -> list[str]:
    def read(tx: Tx) -> list[str]:
        every = [approvals.approval(tx, f"a{number}") for number in range(1, len(LIMITED) + 1)]
        return [f"{asked.decision} {asked.decided_why}".strip() for asked in every]

    return await there.store.read(read)


async def test_they_share_one_card_and_one_sound(tmp_path: Path) -> None:
    async with house(tmp_path) as there:
        await there.say("/zone Europe/Berlin")
        card = await limited(there)
        assert len(cards(there, edits=False)) == 1
        assert [shown(post.card.title) for post in there.phone.sent if post.ping] == [shown(card.title)]
        assert "Also waiting: t2 shop, t4 shop, t5 shop" in everything(card)
        assert card.actions[0].label == "Go on with all 4"
        assert card.actions[1].label.endswith(("04:00 CET", "05:00 CEST")), "in the person's own zone"
        _, (again,) = await there.say("/waiting a1")
        assert again.actions[1].label == card.actions[1].label
        answered, _ = await there.press(again, again.actions[1].label)
        assert answered.status == 0
        assert await decisions(there) == [f"go-on {stalls.AT_RESET}"] * 4


@pytest.mark.parametrize(("text", "gone"), [("/go t1", 1), ("/go t1 all", 4), ("/go t2 all", 4)])
async def test_a_person_may_let_one_or_all_go_on(tmp_path: Path, text: str, gone: int) -> None:
    async with house(tmp_path) as there:
        await limited(there)
        await there.say(text)
        assert (await decisions(there)).count("go-on") == gone


async def test_when_the_task_of_the_card_ends_the_others_get_one_without_a_sound(tmp_path: Path) -> None:
    async with house(tmp_path) as there:
        await limited(there)
        await there.say("/stop t1")

        def stopped(tx: Tx) -> None:
            approvals.withdraw(tx, task="t1", why="the task was stopped")
            tasks.move(tx, "t1", TaskState.STOPPED, "", "airboss")

        await there.store.write(stopped)
        await there.settle()
        _, second = cards(there, edits=False)
        assert shown(second.title).startswith("t2") and "Also waiting: t4 shop, t5 shop" in everything(second)
        assert len([post for post in there.phone.sent if post.ping]) == 1


async def test_a_task_of_another_chat_does_not_join(tmp_path: Path) -> None:
    async with house(tmp_path) as there:
        await limited(there)
        there_too = Night(there.store, there.core.context, there.outbox, ADA, ChatRef("phone", "c2"), there.settle)

        def elsewhere(tx: Tx) -> None:
            flights = there_too.begin(tx)
            there_too.meets_limit(tx, "t21", flights["t21"])

        await there.store.write(elsewhere)
        await there.settle(ChatRef("phone", "c2"))
        assert len(cards(there, edits=False)) == 2


async def test_when_the_limit_is_reset_nobody_gets_another_card(tmp_path: Path) -> None:
    async with house(tmp_path) as there:
        await limited(there)
        for task in LIMITED:

            def resumed(tx: Tx, task: str = task) -> None:
                stalls.withdraw(tx, task, by="airboss", why="the limit was reset")
                tasks.move(tx, task, TaskState.RUNNING, "", "airboss")

            await there.store.write(resumed)
            await there.settle()
        assert len(cards(there, edits=False)) == 1


async def test_after_quiet_hours_they_are_reminded_of_once(tmp_path: Path) -> None:
    async with house(tmp_path) as there:
        await there.say("/mute 2h")
        await limited(there)
        await there.say("/mute off")
        table = tables.approvals

        def earlier(tx: Tx) -> None:
            tx.connection.execute(update(table).values(opened_us=table.c.opened_us - 300_000_000))

        await there.store.write(earlier)
        reminders = Reminders(there.outbox, lambda: there.config, tmp_path)
        await reminders.look()
        await there.settle()
        assert len([post for post in there.phone.sent if post.ping]) == 1
