"""Edited messages and late parts: what they come to, however the task was asked for."""

from __future__ import annotations

import asyncio
import itertools
from dataclasses import replace
from pathlib import Path
from typing import Any

from bot.cards import Card, shown
from bot.commands import every_command
from bot.hearing.lanes import Lane, WaitingMessage
from bot.hearing.sent import rest_of
from bot.message import Attachment, Cut, Message
from bot.registry import Registry
from fleet.model import Isolation
from fleet.store import sessions, tasks
from fleet.store.chat import attachments, inbox
from fleet.store.core import Tx
from tests.chat_house import ADA, CHAT, OTTO, House, house

REGISTRY = Registry(every_command())
SECOND = 1_795_000_000


class Typist:
    """Ada's phone: sends messages with ids, and edits them."""

    def __init__(self, there: House) -> None:
        self.there, self.ids = there, itertools.count(1)

    async def send(self, text: str, **more: Any) -> list[Card]:
        message = replace(self.there.message(text), own=f"p{next(self.ids)}", **more)
        return (await self.there.hand_over(message))[1]

    async def edit(self, own: str, text: str) -> list[Card]:
        return (await self.there.hand_over(replace(self.there.message(text), own=own, edited=True)))[1]

    async def open(self) -> dict[str, str]:
        """The tasks that nobody stopped, with their prompts."""

        def read(tx: Tx) -> dict[str, str]:
            return {task.id: task.prompt for task in tasks.open_tasks(tx) if not tasks.stop_requested(tx, task.id)}

        return await self.there.store.read(read)


async def test_an_edit_of_a_command_about_a_task_does_not_touch_the_task(tmp_path: Path) -> None:
    async with house(tmp_path) as there:
        ada = Typist(there)
        await ada.send("/run one")
        for command in ("/bump t1", "/session t1"):
            await ada.send(command)
        for own in ("p2", "p3"):
            (card,) = await ada.edit(own, "/run something else")
            assert shown(card.title).startswith("✋") or "edited message" in shown(card.title)
        assert await ada.open() == {"t1": "one"}


async def test_an_edited_message_can_be_edited_again_and_again(tmp_path: Path) -> None:
    async with house(tmp_path) as there:
        ada = Typist(there)
        await ada.send("/run fix the crat")
        for text in ("fix the cart", "fix the cart, and test it"):
            await ada.edit("p1", f"/run {text}")
        assert await ada.open() == {"t3": "fix the cart, and test it"}


async def test_an_edit_of_a_part_loses_nothing_of_the_rest(tmp_path: Path) -> None:
    async with house(tmp_path) as there:
        head = replace(there.message("/run first half"), own="p1", sent_s=SECOND, cut=Cut.AT_SPACE)
        tail = replace(there.message("second half"), own="p2", sent_s=SECOND)
        await asyncio.gather(there.core.call(head), there.core.call(tail))
        ada = Typist(there)
        assert await ada.open() == {"t1": "first half\nsecond half"}
        for _ in range(2):  # a chat may report an edit again: for a reaction, say
            cards = await ada.edit("p1", "/run better first half")
            assert await ada.open() == {"t1": "first half\nsecond half"}
        assert cards == [], "it is said once"
        assert sum("as it was before your edit" in title for title in there.phone.titles()) == 1


async def test_an_edit_that_leads_to_a_question_stops_nothing(tmp_path: Path) -> None:
    async with house(tmp_path) as there:
        ada = Typist(there)
        await ada.send("/run fix the crat")
        cards = await ada.edit("p1", "/run")
        assert await ada.open() == {"t1": "fix the crat"}
        assert shown(cards[-1].title) == "t1 keeps your first text"
        assert [action.label for action in cards[-1].actions] == ["Stop t1"]


async def test_an_edit_of_a_task_that_is_at_work_starts_no_other(tmp_path: Path) -> None:
    async with house(tmp_path) as there:
        ada = Typist(there)
        await ada.send("/run fix the crat")
        unsafe = Isolation.UNSAFE_SAME_USER
        await there.store.write(
            lambda tx: sessions.create_session(tx, task="t1", machine="m", agent="demo", base="a", isolation=unsafe)
        )
        (card,) = await ada.edit("p1", "/run fix the cart")
        assert "as it was before your edit" in shown(card.title)
        assert await ada.open() == {"t1": "fix the crat"}


async def test_a_task_that_replaces_another_keeps_its_files_where_the_edit_names_none(tmp_path: Path) -> None:
    async with house(tmp_path) as there:
        ada, drawing = Typist(there), Attachment("cart.png", "/files/cart.png", "image/png", 3)
        await ada.send("/run fix the crat", files=(drawing,))
        await ada.edit("p1", "/run fix the cart")
        kept = await there.store.read(lambda tx: attachments.of_note(tx, "t2", attachments.REQUEST))
        assert [(file.name, file.path) for file in kept] == [("cart.png", "/files/cart.png")]


async def test_a_message_that_was_refused_is_heard_anew_when_it_is_edited(tmp_path: Path) -> None:
    async with house(tmp_path) as there:
        ada = Typist(there)
        for wrong in ("/satus", "/run repos=shop fix", "/stop t9"):
            await ada.send(wrong)
        await ada.edit("p2", "/run repo=shop fix")
        assert await ada.open() == {"t1": "fix"}
        await ada.edit("p2", "/run repo=shop fix it")
        assert await ada.open() == {"t2": "fix it"}, "now it is a task's, and replaces it"
        (still,) = await ada.edit("p1", "/sttus")
        assert "there is no such command" in shown(still.lines[0])
        assert shown((await ada.edit("p1", "/status"))[0].title).startswith("fleet:")
        for text in ("/stop all", "/stop all yes", "/stop t2"):
            (over,) = await ada.edit("p1", text)
            assert "Cannot use your edited message" in shown(over.title), "it has come to something"
        await there.hand_over(replace(there.message("/stop all yes", OTTO), own="p3", edited=True))
        assert await ada.open() == {"t2": "fix it"}, "nobody edits another person's message"
        await there.say("/stop t2")
        for text in ("/run repo=shop again", "/run repo=shop and again"):
            await ada.edit("p2", text)
        assert await ada.open() == {}, "the task that it came to is being stopped: nothing replaces it"
        assert shown((await ada.edit("p3", "/stop t2"))[0].title) == "t2 · already stopping"


async def test_only_a_forward_or_the_rest_of_a_split_text_belongs_to_what_was_sent_before(tmp_path: Path) -> None:
    async with house(tmp_path) as there:
        late = replace(there.message("and more"), sent_s=SECOND)
        await Typist(there).send("/run one", sent_s=SECOND)
        read = there.store.read
        assert await read(lambda tx: rest_of(tx, late)) == ""
        assert await read(lambda tx: rest_of(tx, replace(late, forwarded=True))) == "t1"
        assert await read(lambda tx: rest_of(tx, replace(late, forwarded=True, sent_s=SECOND + 2))) == ""
        assert await read(lambda tx: rest_of(tx, replace(late, forwarded=True, reply_to="m1"))) == ""
        await Typist(there).send("/bump t1", sent_s=SECOND + 5)
        bumped = replace(late, forwarded=True, sent_s=SECOND + 5)
        assert await read(lambda tx: rest_of(tx, bumped)) == "", "that was no message to its agent"


# --- how long an act is waited for ------------------------------------------------------------------------------


def waiting(message: Message, came_s: float) -> WaitingMessage:
    return WaitingMessage(inbox.Received(1, message.adapter, message.update_id, b""), message, None, came_s=came_s)


async def at_once(lane: Lane) -> bool:
    """Whether the lane's act is complete without any waiting."""
    act = lane.next_act(REGISTRY)
    try:
        act.send(None)
    except StopIteration:
        return True
    act.close()
    return False


async def test_an_act_is_waited_for_since_it_came_not_since_its_turn() -> None:
    now = asyncio.get_running_loop().time()
    paste = Message("phone", "u1", ADA, CHAT, "/run x", own="1", sent_s=SECOND, cut=Cut.IN_WORD)
    lane = Lane()
    lane.waiting.append(waiting(paste, now))
    assert not await at_once(lane), "its rest may still come"
    lane.waiting[0] = waiting(paste, now - 1.5)
    assert await at_once(lane), "it waited behind others' messages meanwhile"
    lane.coming = 1
    assert not await at_once(lane), "a message is being committed: it may be the rest"
    lane.waiting[0] = waiting(paste, now - 6)
    assert await at_once(lane), "but not for ever"
    lane.missed.add("u2")
    assert not await at_once(lane), "Telegram sends again what could not be committed"
    lane.waiting[0] = waiting(paste, now - 16)
    assert await at_once(lane)
