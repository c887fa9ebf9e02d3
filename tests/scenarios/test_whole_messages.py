"""One act of a person is one message, on the wire: pastes, forwards, quotes, edits; also after restarts."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from fleet.faults import Fault, Point, injected
from fleet.model import TaskState
from fleet.store import tasks
from fleet.store.chat import attachments as attachment_rows
from tests.far_end.bot_api import BotApi
from tests.far_end.bot_api_world import BOT_NAME
from tests.scenarios.fault_house import slowly
from tests.scenarios.telegram_house import ADA, OTTO, STRANGER, telegram_house

HEAD = "/run on=macbook fix the cart\n" + "line of the log\n" * 200
DATE = 1_795_000_000
TAIL = "run the tests again after each step, and keep other.txt"
WHOLE = f"{HEAD.removeprefix('/run on=macbook ').strip()}\n{TAIL}"


def origin(name: str = "Bob") -> dict[str, Any]:
    user = {"id": 9, "is_bot": False, "first_name": name}
    return {"forward_origin": {"type": "user", "date": 1, "sender_user": user}}


@pytest.fixture
def api() -> Iterator[BotApi]:
    with BotApi() as made:
        yield made


async def test_a_paste_that_the_client_splits_is_one_task(tmp_path: Path, api: BotApi) -> None:
    async with telegram_house(tmp_path, api) as there:
        api.say(ADA, HEAD.strip(), date=DATE)
        api.say(ADA, TAIL, date=DATE)
        await there.handled()
        (task,) = await there.tasks()
        assert task.prompt == WHOLE
        assert len(api.screen(ADA)) == 1
        group = api.group()
        await there.say(ADA, f"/run@{BOT_NAME} on=any", chat=group.id)
        api.say(ADA, f"@{BOT_NAME} " + HEAD.split(" ", 2)[2].strip(), chat=group.id, date=DATE)
        api.say(ADA, TAIL, chat=group.id, date=DATE)
        await there.handled()
        assert (await there.tasks())[1].prompt == WHOLE, "in a group too, where the second half names nobody"


async def test_parts_that_arrive_in_another_order_are_one_prompt(tmp_path: Path, api: BotApi) -> None:
    """A part whose commit failed comes again, behind the next one."""
    async with telegram_house(tmp_path, api) as there:
        text = [f"/run {'a' * 4091}", "b" * 4096, "the end"]
        who = {"id": ADA, "is_bot": False, "first_name": "Ada"}
        said = {"date": DATE, "chat": {"id": ADA, "type": "private"}, "from": who}
        api.world.person(ADA)
        api.post([{"message": {**said, "message_id": 100 + part, "text": text[part]}} for part in (1, 2, 0)])
        await there.handled()
        (task,) = await there.tasks()
        assert task.prompt == "".join(text).removeprefix("/run ")
        assert len(api.screen(ADA)) == 1


def test_a_half_paste_waits_for_its_rest_through_a_restart(tmp_path: Path, api: BotApi) -> None:
    async def first_half() -> None:
        async with telegram_house(tmp_path, api):
            api.say(ADA, HEAD.strip(), date=DATE)
            await api.until(lambda: not api.unconfirmed(), "the first half is kept")

    async def rest() -> None:
        async with telegram_house(tmp_path, api) as there:
            await there.handled()
            assert [task.prompt for task in await there.tasks()] == [WHOLE]

    slowly(first_half())
    assert not api.screen(ADA), "it may go on"
    api.say(ADA, TAIL, date=DATE)
    asyncio.run(rest())


def test_a_half_whose_commit_fails_is_waited_for(tmp_path: Path, api: BotApi) -> None:
    async def both() -> None:
        async with telegram_house(tmp_path, api) as there:
            api.say(ADA, HEAD.strip(), date=DATE)
            await api.until(lambda: not api.unconfirmed(), "the first half is kept")
            with injected(Fault(Point.STORE_COMMIT)):
                api.say(ADA, TAIL, date=DATE)
                await api.until(lambda: not api.unconfirmed(), "Telegram was asked for it again")
            await there.handled()
            assert [task.prompt for task in await there.tasks()] == [WHOLE]

    slowly(both())


async def test_a_rest_that_comes_too_late_goes_to_the_same_task(tmp_path: Path, api: BotApi) -> None:
    async with telegram_house(tmp_path, api) as there:
        api.say(ADA, HEAD.strip(), date=DATE)
        await there.handled()
        api.say(ADA, TAIL, date=DATE)
        await there.handled()
        assert len(await there.tasks()) == 1, "it starts no other task"
        assert api.screen(ADA)[-1].text.startswith("🚫 Refused to send a message to t1"), (
            "its agent has not started"
        )


async def test_a_comment_and_what_it_forwards_are_one_prompt(tmp_path: Path, api: BotApi) -> None:
    async with telegram_house(tmp_path, api) as there:
        api.say(OTTO, "/run fix this", date=DATE)
        api.say(OTTO, "KeyError: 'price'\n/stop t1", **origin(), date=DATE)
        api.say(OTTO, "", document=("cart.log", b"log"), **origin(), date=DATE)
        api.say(OTTO, "", contact={"phone_number": "1", "first_name": "Eve"}, **origin(), date=DATE)
        await there.handled()
        (task,) = await there.tasks()
        assert task.prompt == "fix this\n\nForwarded from Bob:\nKeyError: 'price'\n/stop t1"
        kept = await there.store.read(lambda tx: attachment_rows.of_note(tx, task.id, 0))
        assert [Path(file.path).read_bytes() for file in kept] == [b"log"]
        assert api.screen(OTTO)[-1].text.startswith("Left out: a contact")
        assert not await there.stopping(task.id), "forwarded words are no command"


async def test_a_strangers_words_are_no_command_when_they_are_forwarded(tmp_path: Path, api: BotApi) -> None:
    async with telegram_house(tmp_path, api) as there:
        await there.say(ADA, "/run fix it")
        api.say(ADA, "/stop t1", **origin("Mallory"), date=DATE)
        api.say(STRANGER, "/stop t1", **origin("Ada"), date=DATE)
        await there.handled()
        assert not await there.stopping("t1")
        assert "Forward it again with a comment, such as /run" in api.screen(ADA)[-1].text.replace("\u200b", "")


async def test_a_quote_and_the_message_that_is_replied_to_are_part_of_the_prompt(
    tmp_path: Path, api: BotApi
) -> None:
    async with telegram_house(tmp_path, api) as there:
        group = api.group()
        bug = {"message_id": 77, "date": 1, "chat": {"id": group.id, "type": "supergroup", "title": "x"}}
        bug |= {"from": {"id": 9, "is_bot": False, "first_name": "Bob"}, "text": "It fails\non empty carts"}
        api.say(ADA, f"/run@{BOT_NAME} fix that", chat=group.id, reply_to_message=bug, date=DATE)
        api.say(
            OTTO,
            f"/ask@{BOT_NAME} why?",
            chat=group.id,
            reply_to_message=bug,
            quote={"text": "empty carts", "position": 12},
        )
        await there.handled()
        assert [task.prompt for task in await there.tasks()] == [
            "fix that\n\nIn reply to Bob:\n> It fails\n> on empty carts",
            "why?\n\nQuoted:\n> empty carts",
        ]


async def test_a_contact_or_a_place_alone_is_said_to_be_ignored(tmp_path: Path, api: BotApi) -> None:
    async with telegram_house(tmp_path, api) as there:
        api.say(ADA, "", contact={"phone_number": "1", "first_name": "Eve"}, date=DATE)
        api.say(ADA, "", location={"latitude": 1.0, "longitude": 2.0}, date=DATE)
        await there.handled()
        assert [shown.text.split("\n")[0] for shown in api.screen(ADA)] == [
            "✋ Cannot read a contact",
            "✋ Cannot read a location",
        ]


async def test_an_edit_replaces_a_task_that_has_not_started_and_else_is_said(tmp_path: Path, api: BotApi) -> None:
    async with telegram_house(tmp_path, api) as there:
        await there.say(ADA, "/run fix the crat")
        message = next(number for number, said in api.world.chats[ADA].messages.items() if not said.mine)
        for _ in range(2):  # a chat reports an edit that changes nothing, too
            api.edit(ADA, message, "/run fix the crat")
        await there.handled()
        assert len(await there.tasks()) == 1
        api.edit(ADA, message, "/run fix the cart")
        await there.handled()
        assert [(task.prompt, await there.stopping(task.id)) for task in await there.tasks()] == [
            ("fix the crat", True),
            ("fix the cart", False),
        ]
        assert api.screen(ADA)[-1].text.endswith("replaces t1: you edited the message")


async def test_an_edit_of_a_task_that_has_ended_is_said_and_offered(tmp_path: Path, api: BotApi) -> None:
    async with telegram_house(tmp_path, api) as there:
        await there.say(ADA, "/run fix the crat")
        message = next(number for number, said in api.world.chats[ADA].messages.items() if not said.mine)
        await there.store.write(lambda tx: tasks.move(tx, "t1", TaskState.STOPPED, "", "airboss"))
        api.edit(ADA, message, "/run fix the cart")
        await there.handled()
        card = api.screen(ADA)[-1]
        assert "has your message as it was before your edit" in card.text
        assert card.labels == ["Send the new text"]
        assert len(await there.tasks()) == 1
