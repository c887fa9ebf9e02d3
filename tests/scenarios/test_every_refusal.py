"""Every refusal that Telegram is known to give, to every kind of message: the words arrive, or the chat is gone;
and whatever it was, the next message arrives."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from bot.cards import Action, Card, line
from fleet.untrusted import Untrusted
from tests.conftest import sampled
from tests.far_end.bot_api import BotApi
from tests.far_end.bot_api_refusals import Refusal, bad
from tests.scenarios.telegram_house import ADA, telegram_house

ONCE = [
    *map(bad, (
        "can't parse entities: Unsupported start tag \"x\" at byte offset 3",
        "message is too long", "MESSAGE_TOO_LONG", "message text is empty", "text must be non-empty",
        "message thread not found", "TOPIC_DELETED", "TOPIC_CLOSED", "TOPIC_ID_INVALID", "MESSAGE_THREAD_INVALID",
        "message to be replied not found", "reply message not found", "REPLY_MESSAGE_ID_INVALID",
        "not enough rights to send text messages to the chat", "have no rights to send a message",
        "CHAT_RESTRICTED", "CHAT_SEND_PLAIN_FORBIDDEN", "CHAT_WRITE_FORBIDDEN", "CHAT_SEND_MEDIA_FORBIDDEN",
        "BUTTON_DATA_INVALID", "BUTTON_TYPE_INVALID", "BUTTON_USER_PRIVACY_RESTRICTED",
        "can't parse reply keyboard markup JSON object", "reply markup is too long", "REPLY_MARKUP_TOO_LONG",
        "IMAGE_PROCESS_FAILED", "PHOTO_INVALID_DIMENSIONS", "PHOTO_SAVE_FILE_INVALID", "DOCUMENT_INVALID",
        "wrong file identifier/HTTP URL specified", "message caption is too long", "MEDIA_CAPTION_TOO_LONG",
        "not enough rights to send photos to the chat", "not enough rights to send documents to the chat",
        "ENTITY_MENTION_USER_INVALID", "USER_ID_INVALID", "a refusal of tomorrow",
    )),
    Refusal(403, "Forbidden: CHAT_WRITE_FORBIDDEN"),
    Refusal(403, "Forbidden: not enough rights to send messages"),
    Refusal(413, "Request Entity Too Large"),
    Refusal(429, "Too Many Requests: retry after 0", retry_after=0),
    Refusal(429, "Too Many Requests"),
    Refusal(500, "Internal Server Error"),
    Refusal(502, "Bad Gateway"),
    Refusal(404, "Not Found"),
    Refusal(400, "Bad Request"),
    Refusal(400, ""),
]  # fmt: skip
GONE = [
    bad("chat not found"), bad("PEER_ID_INVALID"), bad("USER_IS_BLOCKED"), bad("INPUT_USER_DEACTIVATED"),
    Refusal(403, "Forbidden: bot was blocked by the user"), Refusal(403, "Forbidden: user is deactivated"),
    Refusal(403, "Forbidden: bot was kicked from the supergroup chat"),
    Refusal(403, "Forbidden: the group chat was deleted"),
    Refusal(403, "Forbidden: bot is not a member of the supergroup chat"),
    Refusal(403, "Forbidden: bot can't initiate conversation with a user"),
]  # fmt: skip


@pytest.fixture
def api() -> Iterator[BotApi]:
    with BotApi() as made:
        yield made


def cards(directory: Path) -> dict[str, Card]:
    """A card of each kind of message, by its method."""
    file = directory / "digest.png"
    file.write_bytes(b"\x89PNG")
    words = Card(
        line("t1 · landed"), (line("All tests pass."),), body=Untrusted("E   assert 1 == 2"),
        actions=(Action("Receipt", "/receipt t1"),), mention=f"telegram::{ADA}", mentioned="Ada",
    )  # fmt: skip
    return {
        "sendMessage": words,
        "sendPhoto": Card(words.title, words.lines, actions=words.actions, picture=str(file)),
        "sendDocument": Card(words.title, words.lines, actions=words.actions, document=str(file)),
    }


async def test_words_arrive_whatever_was_refused_once(tmp_path: Path, api: BotApi) -> None:
    async with telegram_house(tmp_path, api) as there:
        group = api.group()
        lost = []
        for method, card in cards(tmp_path).items():
            for refusal in ONCE if method == "sendMessage" else ONCE[::6]:
                api.refusing = {method: [refusal]}
                known = [len(api.screen(chat)) for chat in (group.id, ADA)]
                await there.send(card, chat=group.id, ping=True)
                new = [*api.screen(group.id)[known[0] :], *api.screen(ADA)[known[1] :]]
                words = [message for message in new if "t1 · landed" in message.text]
                if api.refusing[method] or not words or words[0].silent:
                    lost.append((method, refusal.description, [message.text for message in new]))
        assert not lost, "\n".join(map(repr, lost))


async def test_a_chat_that_is_gone_stops_nothing(tmp_path: Path, api: BotApi) -> None:
    async with telegram_house(tmp_path, api) as there:
        group = api.group()
        for method, card in cards(tmp_path).items():
            for refusal in GONE if method == "sendMessage" else GONE[::5]:
                api.refusing = {method: [refusal] * 20}
                await there.send(card, chat=group.id, ping=True)
                asked = 2 if card.mention else 1  # the group, and whom it is for
                assert len(api.refusing[method]) == 20 - asked, f"asked again after {refusal.description}"
                api.refusing = {}
                await there.send(Card(line(refusal.description)), chat=group.id)
                assert refusal.description in api.screen(group.id)[-1].text.replace("\u200b", "")


EDITS = ["a refusal of tomorrow", "can't parse entities: x", "MESSAGE_ID_INVALID", "message can't be edited",
         "message to edit not found", "TOPIC_CLOSED", "TOPIC_DELETED", "MESSAGE_TOO_LONG", "BUTTON_DATA_INVALID",
         "MESSAGE_AUTHOR_REQUIRED", "MESSAGE_EDIT_TIME_EXPIRED", "message thread not found"]  # fmt: skip


async def test_an_edit_that_is_refused_loses_nothing(tmp_path: Path, api: BotApi) -> None:
    async with telegram_house(tmp_path, api) as there:
        lost = []
        for number, why in enumerate(sampled([*map(bad, EDITS), *ONCE[-9:]], 4)):
            key = f"k{number}"
            await there.send(Card(line(f"first {number}")), key=key)
            often = 1 if why.code in (429, 500, 502) else number % 4 + 1  # those are tried again later and later
            api.refusing = {"editMessageText": [why] * often}
            words = Card(line(f"second {number}"), (line("All of it."),), actions=(Action("Log", "/logs t1"),))
            await there.change(words, key)
            message = api.screen(ADA)[-1]
            if (
                f"second {number}" not in message.text
                or "All of it." not in message.text
                or not (message.labels or "buttons could not be shown" in message.text)
            ):
                lost.append((why.description, message.text))
        assert not lost, "\n".join(map(repr, lost))
