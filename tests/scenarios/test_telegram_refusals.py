"""A refusal of Telegram's never swallows the words, refusal by refusal, on the wire; and answers of odd servers."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from bot.cards import Action, Card, line
from bot.outbox.port import Outgoing
from fleet.errors import Unavailable
from fleet.model import ChatRef
from fleet.untrusted import Untrusted
from tests.far_end.bot_api import BotApi
from tests.far_end.bot_api_refusals import Refusal
from tests.far_end.bot_api_world import BOT_NAME, Chat, Said
from tests.scenarios.telegram_house import ADA, House, telegram_house


@pytest.fixture
def api() -> Iterator[BotApi]:
    with BotApi() as made:
        yield made


def card(directory: Path, **more: Any) -> Card:
    """A card with everything that a chat may refuse."""
    picture = directory / "digest.png"
    picture.write_bytes(b"\x89PNG")
    return Card(
        line("t1 · landed"),
        (line("All tests pass."),),
        actions=(Action("Receipt", "/receipt t1"),),
        mention=f"telegram::{ADA}",
        mentioned="Ada",
        **{"picture": str(picture), **more},
    )


async def shown(there: House, chat: Chat, sent: Card, **more: Any) -> Said:
    """The message that has the words: with its buttons, its mention and its sound."""
    await there.send(sent, chat=chat.id, ping=True, **more)
    message = there.api.screen(chat.id)[-1]
    assert "t1 · landed" in message.text
    assert "All tests pass." in message.text
    assert message.labels == ["Receipt"]
    assert not message.silent
    assert any(live.startswith("text_mention:") for live in message.formatted.live())
    return message


async def test_a_forbidden_picture_is_a_file_and_a_forbidden_file_is_said(tmp_path: Path, api: BotApi) -> None:
    async with telegram_house(tmp_path, api) as there:
        group = api.group()
        group.forbidden = {"photos"}
        assert (await shown(there, group, card(tmp_path))).file_name == "digest.png"
        group.forbidden = {"photos", "documents"}
        message = await shown(there, group, card(tmp_path))
        assert not message.has_media
        assert "digest.png: could not be sent: Not enough rights to send documents" in _plain(message)


async def test_the_rest_of_a_long_text_whose_file_is_forbidden_is_said(tmp_path: Path, api: BotApi) -> None:
    async with telegram_house(tmp_path, api) as there:
        group = api.group()
        group.forbidden = {"documents"}
        body = Untrusted("\n".join(f"line {number}" for number in range(3_000)))
        await there.send(card(tmp_path, picture="", body=body), chat=group.id, ping=True)
        (message,) = api.screen(group.id)
        assert "line 40" in message.text
        assert "could not be sent: Not enough rights to send documents" in _plain(message)


async def test_a_closed_topic_moves_the_card_to_general_and_a_closed_general_to_the_person(
    tmp_path: Path, api: BotApi
) -> None:
    async with telegram_house(tmp_path, api) as there:
        forum = api.group(forum=True)
        await there.say(ADA, "/run@airboss_test_bot fix it", chat=forum.id)
        (topic,) = forum.topics
        forum.closed = {topic}
        message = await shown(there, forum, card(tmp_path), task="t1")
        assert (message.thread, "Its topic is closed." in message.text) == (0, True)
        forum.closed = {topic, 0}
        known = len(api.screen(forum.id))
        sent = card(tmp_path)
        await there.send(sent, chat=forum.id, ping=True, task="t1", key="k")
        assert len(api.screen(forum.id)) == known
        assert "t1 · landed" in api.screen(ADA)[-1].text
        await there.change(sent, "k", chat=forum.id)
        assert len(api.screen(ADA)) == 1, "it is not edited there, nor sent again and again"


async def test_a_group_where_we_may_not_write_does_not_swallow_what_mentions_a_person(
    tmp_path: Path, api: BotApi
) -> None:
    async with telegram_house(tmp_path, api) as there:
        group = api.group()
        group.forbidden = {"documents", "photos", "text messages"}
        api.world.person(ADA)
        await there.send(card(tmp_path), chat=group.id, ping=True)
        await there.send(card(tmp_path), chat=group.id)
        (message,) = api.screen(ADA)
        assert "t1 · landed" in message.text, "only what mentions them"


@pytest.mark.parametrize("kind", ["picture", "document"])
async def test_a_file_that_telegram_never_takes_holds_up_nothing(tmp_path: Path, api: BotApi, kind: str) -> None:
    async with telegram_house(tmp_path, api) as there:
        api.world.person(ADA)
        file = card(tmp_path).picture
        sent = card(tmp_path, **{"picture": "", kind: file}).with_actions(())
        api.refusing = dict.fromkeys(("sendPhoto", "sendDocument"), [Refusal(500, "Internal Server Error")] * 99)
        row = Outgoing(7, ChatRef("telegram", str(ADA)), sent, edits="", ping=True, again=False, task="", key="")
        for _ in range(4):
            with pytest.raises(Unavailable):
                await there.adapter.deliver(row)
        assert await there.adapter.deliver(row)
        (message,) = api.screen(ADA)
        assert "t1 · landed" in message.text
        assert "digest.png: could not be sent" in _plain(message)


async def test_what_was_never_sent_is_not_marked_as_shown_again(tmp_path: Path, api: BotApi) -> None:
    async with telegram_house(tmp_path, api) as there:
        forum = api.group(forum=True)
        away = Refusal(502, "Bad Gateway")
        api.refusing = {"getChat": [away], "createForumTopic": [away]}
        await there.say(ADA, f"/run@{BOT_NAME} fix it", chat=forum.id)
        (message,) = api.screen(forum.id)
        assert not any(api.refusing.values()), "both were met"
        assert "shown again" not in "".join([message.text, *message.before])
        assert message.thread in forum.topics


async def test_in_an_outage_no_file_is_left_out(tmp_path: Path, api: BotApi) -> None:
    async with telegram_house(tmp_path, api) as there:
        api.world.person(ADA)
        sent = card(tmp_path).with_actions(())
        row = Outgoing(7, ChatRef("telegram", str(ADA)), sent, edits="", ping=True, again=False, task="", key="")
        api.break_down()
        for _ in range(6):
            with pytest.raises(Unavailable):
                await there.adapter.deliver(row)
        api.break_down("")
        assert await there.adapter.deliver(row)
        assert api.screen(ADA)[0].photo


async def test_who_is_mentioned_hears_of_it_where_the_bot_was_thrown_out_of_the_group(
    tmp_path: Path, api: BotApi
) -> None:
    async with telegram_house(tmp_path, api) as there:
        group = api.group()
        group.gone = "kicked"
        api.world.person(ADA)
        await there.send(card(tmp_path), chat=group.id, ping=True)
        await there.send(card(tmp_path), chat=group.id)
        (message,) = api.screen(ADA)
        assert "Airboss is no longer in the group." in message.text


async def test_the_buttons_of_a_card_work_where_the_card_was_sent(tmp_path: Path, api: BotApi) -> None:
    async with telegram_house(tmp_path, api) as there:
        group, other = api.group(), api.group()
        await there.say(ADA, f"/run@{BOT_NAME} fix it", chat=group.id)
        group.forbidden = {"text messages"}
        stop = replace(card(tmp_path, picture=""), actions=(Action("Stop", "/stop t1"),))
        await there.send(stop, chat=group.id, ping=True)
        message = api.screen(ADA)[-1]
        (refused,) = await there.press(ADA, replace(message, chat=other.id), "Stop")
        assert "not a button of this chat" in refused.text
        assert not await there.stopping("t1")
        answers = await there.press(ADA, message, "Stop")
        assert "t1 · stopping" in answers[0].text
        assert await there.stopping("t1")


# --- answers that the library cannot parse ----------------------------------------------------------------------

MANGLED = {
    "without the date and the chat": lambda result: {"message_id": result["message_id"]},
    "with a chat of a kind of tomorrow": lambda result: {**result, "chat": {"kind": "of-tomorrow"}},
    "with a reply that is no message": lambda result: {**result, "reply_to_message": 7, "entities": "x"},
    "cut off": lambda result: b'{"ok":true,"result":{"message_id":%d,"chat":{"id' % result["message_id"],
}


@pytest.mark.parametrize("mangle", MANGLED.values(), ids=MANGLED.keys())
async def test_an_accepted_message_with_an_odd_answer_is_delivered_once(
    tmp_path: Path, api: BotApi, mangle: Any
) -> None:
    async with telegram_house(tmp_path, api) as there:
        api.mangled = {"sendMessage": mangle, "editMessageText": mangle}
        await there.send(Card(line("first")), key="k")
        await there.change(Card(line("second")), "k")
        (message,) = api.screen(ADA)
        assert message.text == "second"


async def test_a_server_without_some_methods_and_fields_still_carries_messages(tmp_path: Path, api: BotApi) -> None:
    api.unknown_methods = {"deleteWebhook", "getChat", "sendPhoto", "sendDocument"}
    api.mangled = {
        "getMe": lambda me: {"id": me["id"], "username": me["username"]},
        "setMyCommands": lambda _: b"<html>no JSON</html>",
    }
    async with telegram_house(tmp_path, api) as there:
        (answer,) = await there.say(ADA, "/status")
        assert answer.text.startswith("fleet:")
        await shown(there, api.group(), card(tmp_path))


async def test_a_button_under_a_message_that_telegram_no_longer_shows_works_in_a_topic(
    tmp_path: Path, api: BotApi
) -> None:
    async with telegram_house(tmp_path, api) as there:
        forum = api.group(forum=True)
        await there.say(ADA, "/run@airboss_test_bot fix it", chat=forum.id)
        (begun,) = api.screen(forum.id)
        under = {"chat": {"id": forum.id, "type": "supergroup", "title": "x"}, "message_id": begun.id, "date": 0}
        pressed = {"id": "q1", "from": {"id": ADA, "is_bot": False, "first_name": "Ada"}, "chat_instance": "1"}
        api.post([{"callback_query": {**pressed, "message": under, "data": begun.data("Stop")}}])
        await there.handled()
        assert await there.stopping("t1")
        assert api.screen(forum.id)[-1].thread == begun.thread


def _plain(message: Said) -> str:
    return message.text.replace("\u200b", "")
