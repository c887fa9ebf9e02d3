"""The fake Bot API refuses what Telegram refuses: one test a rule, each over real HTTP with a plain client."""

from __future__ import annotations

import json
import urllib.error
import urllib.request
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest

from tests.far_end.bot_api import BotApi
from tests.far_end.bot_api_rates import Rates
from tests.far_end.bot_api_text import read, utf16

ADA = 503


@pytest.fixture
def api() -> Iterator[BotApi]:
    with BotApi() as made:
        made.world.person(ADA)
        yield made


def call(api: BotApi, method: str, token: str = "", **given: Any) -> tuple[int, Any]:
    """Status and answer of a call."""
    url = f"{api.url}/bot{token or api.token}/{method}"
    request = urllib.request.Request(url, json.dumps(given).encode(), {"content-type": "application/json"})
    try:
        with urllib.request.urlopen(request, timeout=60) as answer:
            return answer.status, json.load(answer)
    except urllib.error.HTTPError as error:
        return error.code, json.load(error)


def upload(api: BotApi, method: str, field: str, data: bytes, **given: str) -> tuple[int, Any]:
    """A multipart call."""
    lines = [
        b'--x\r\nContent-Disposition: form-data; name="%b"\r\n\r\n%b' % (k.encode(), v.encode())
        for k, v in given.items()
    ]
    name = f'--x\r\nContent-Disposition: form-data; name="{field}"; filename="a.bin"\r\n\r\n'
    body = b"\r\n".join([*lines, name.encode() + data, b"--x--", b""])
    request = urllib.request.Request(
        f"{api.url}/bot{api.token}/{method}", body, {"content-type": "multipart/form-data; boundary=x"}
    )
    try:
        with urllib.request.urlopen(request, timeout=60) as answer:
            return answer.status, json.load(answer)
    except urllib.error.HTTPError as error:
        return error.code, json.load(error)


def sent(api: BotApi, text: str = "hello", chat: int = ADA, **given: Any) -> Any:
    status, answer = call(api, "sendMessage", chat_id=chat, text=text, **given)
    assert status == 200, answer
    return answer["result"]


def refusal(api: BotApi, method: str, **given: Any) -> tuple[int, str]:
    status, answer = call(api, method, **given)
    assert not answer["ok"]
    assert answer["error_code"] == status
    return status, answer["description"]


def test_it_knows_itself(api: BotApi) -> None:
    assert call(api, "getMe")[1]["result"]["is_bot"]


def test_a_wrong_token_is_unauthorized(api: BotApi) -> None:
    assert call(api, "getMe", token="1:wrong")[0] == 401


def test_an_unknown_method_is_not_found(api: BotApi) -> None:
    assert refusal(api, "sendTelepathy") == (404, "Not Found")


def test_text_has_4096_utf16_units_after_entities(api: BotApi) -> None:
    sent(api, "<b>" + "x" * 4096 + "</b>", parse_mode="HTML")
    assert refusal(api, "sendMessage", chat_id=ADA, text="x" * 4097) == (400, "Bad Request: message is too long")
    sent(api, "🚀" * 2048)
    assert refusal(api, "sendMessage", chat_id=ADA, text="🚀" * 2049)[0] == 400


def test_text_is_not_empty(api: BotApi) -> None:
    assert refusal(api, "sendMessage", chat_id=ADA, text=" \n") == (400, "Bad Request: message text is empty")


def test_a_caption_has_1024_units(api: BotApi) -> None:
    status, answer = upload(api, "sendPhoto", "photo", b"x", chat_id=str(ADA), caption="x" * 1025)
    assert (status, answer["description"]) == (400, "Bad Request: message caption is too long")
    assert upload(api, "sendPhoto", "photo", b"x", chat_id=str(ADA), caption="x" * 1024)[0] == 200


@pytest.mark.parametrize(
    ("markup", "why"),
    [
        ("<b>open", 'Can\'t find end tag corresponding to start tag "b"'),
        ("<br>", 'Unsupported start tag "br" at byte offset 0'),
        ("é<p>", 'Unsupported start tag "p" at byte offset 2'),
        ("<b>x</i>", 'Unmatched end tag at byte offset 4, expected "</b>", found "</i>"'),
        ("x</b>", "Unexpected end tag at byte offset 1"),
        ("<b", "Unclosed start tag at byte offset 0"),
        ("<b>x</b", "Unclosed end tag at byte offset 4"),
        ('<span class="x">y</span>', 'Tag "span" must have class "tg-spoiler"'),
        ("a < b", 'Unsupported start tag ""'),
    ],
)
def test_markup_outside_the_subset_is_not_parsed(api: BotApi, markup: str, why: str) -> None:
    status, said = refusal(api, "sendMessage", chat_id=ADA, text=markup, parse_mode="HTML")
    assert status == 400
    assert said.startswith("Bad Request: can't parse entities: " + why)


def test_markup_of_the_subset_becomes_entities() -> None:
    found = read(
        '<b>a &lt;&#33;</b> <a href="tg://user?id=5">me</a> <pre><code class="language-diff">@x</code></pre> @you',
        "HTML",
    )
    assert found.text == "a <! me @x @you"
    assert found.live() == ["text_mention:me", "mention:@you"]
    assert utf16("a🚀") == 3


@pytest.mark.parametrize(
    ("text", "kind"),
    [
        ("see https://a.example/x", "url"),
        ("see a.example", "url"),
        ("tg://resolve?domain=x", "url"),
        ("hi @somebody", "mention"),
        ("do /stop", "bot_command"),
        ("a #tag", "hashtag"),
        ("a $TON", "cashtag"),
        ("a $1INCH", "cashtag"),
        ("a toml.example", "url"),
        ("a.toml.com", "url"),
        ("me@a.example", "email"),
        ("+49 171 1234567", "phone_number"),
    ],
)
def test_plain_text_comes_alive_by_itself(text: str, kind: str) -> None:
    assert any(entity.startswith(f"{kind}:") for entity in read(text, None).live())


@pytest.mark.parametrize("text", ["$0.00 today", "$0", "$usd", "$$TON", "é$TON", "edit fleet.toml.", "a.b.toml"])
def test_a_price_and_the_name_of_a_setting_file_stay_plain(text: str) -> None:
    assert read(text, None).live() == []


def test_an_edit_that_changes_nothing_is_not_modified(api: BotApi) -> None:
    number = sent(api)["message_id"]
    code, said = refusal(api, "editMessageText", chat_id=ADA, message_id=number, text="hello")
    assert code == 400
    assert said.startswith("Bad Request: message is not modified: specified new message content and reply markup")
    assert refusal(api, "editMessageReplyMarkup", chat_id=ADA, message_id=number)[1] == said
    assert call(api, "editMessageText", chat_id=ADA, message_id=number, text="new")[0] == 200


def test_a_message_that_is_gone_cannot_be_edited_or_deleted(api: BotApi) -> None:
    number = sent(api)["message_id"]
    assert call(api, "deleteMessage", chat_id=ADA, message_id=number)[0] == 200
    gone = {"chat_id": ADA, "message_id": number}
    assert refusal(api, "editMessageText", text="x", **gone)[1] == "Bad Request: message to edit not found"
    assert refusal(api, "deleteMessage", **gone)[1] == "Bad Request: message to delete not found"
    assert refusal(api, "sendMessage", chat_id=ADA, text="x", reply_parameters={"message_id": number})[1] == (
        "Bad Request: message to be replied not found"
    )
    sent(api, reply_parameters={"message_id": number, "allow_sending_without_reply": True})


def test_only_its_own_messages_can_be_edited(api: BotApi) -> None:
    api.say(ADA, "mine")
    number = max(api.world.chats[ADA].messages)
    said = refusal(api, "editMessageText", chat_id=ADA, message_id=number, text="x")[1]
    assert said == "Bad Request: message can't be edited"


def test_text_and_caption_are_edited_by_their_own_methods(api: BotApi) -> None:
    photo = upload(api, "sendPhoto", "photo", b"x", chat_id=str(ADA), caption="c")[1]["result"]["message_id"]
    assert refusal(api, "editMessageText", chat_id=ADA, message_id=photo, text="x")[1] == (
        "Bad Request: there is no text in the message to edit"
    )
    assert call(api, "editMessageCaption", chat_id=ADA, message_id=photo, caption="d")[0] == 200
    text = sent(api)["message_id"]
    assert refusal(api, "editMessageCaption", chat_id=ADA, message_id=text, caption="x")[1] == (
        "Bad Request: there is no caption in the message to edit"
    )


def test_a_chat_it_never_met_is_not_found(api: BotApi) -> None:
    assert refusal(api, "sendMessage", chat_id=1, text="x") == (400, "Bad Request: chat not found")


def test_who_blocked_it_or_threw_it_out_gets_nothing(api: BotApi) -> None:
    api.world.chats[ADA].gone = "blocked"
    assert refusal(api, "sendMessage", chat_id=ADA, text="x") == (403, "Forbidden: bot was blocked by the user")
    group = api.group()
    group.gone = "kicked"
    assert refusal(api, "sendMessage", chat_id=group.id, text="x")[0] == 403


def test_an_upgraded_group_says_where_it_went(api: BotApi) -> None:
    group = api.group(kind="group")
    new = api.upgrade(group)
    status, answer = call(api, "sendMessage", chat_id=group.id, text="x")
    assert (status, answer["parameters"]) == (400, {"migrate_to_chat_id": new.id})
    assert answer["description"] == "Bad Request: group chat was upgraded to a supergroup chat"


@pytest.mark.parametrize("data", ["", "x" * 65, "ü" * 33])
def test_callback_data_has_1_to_64_bytes(api: BotApi, data: str) -> None:
    keyboard = {"inline_keyboard": [[{"text": "x", "callback_data": data}]]}
    assert refusal(api, "sendMessage", chat_id=ADA, text="x", reply_markup=keyboard) == (
        400, "Bad Request: BUTTON_DATA_INVALID"
    )  # fmt: skip


def test_a_query_is_answered_once_and_soon(api: BotApi) -> None:
    keyboard = {"inline_keyboard": [[{"text": "x", "callback_data": "d"}]]}
    sent(api, reply_markup=keyboard)
    (message,) = api.screen(ADA)
    api.press(ADA, message, "x")
    assert call(api, "answerCallbackQuery", callback_query_id="1")[0] == 200
    too_old = "Bad Request: query is too old and response timeout expired or query ID is invalid"
    assert refusal(api, "answerCallbackQuery", callback_query_id="1") == (400, too_old)
    api.press(ADA, message, "x")
    api.forward(120)
    assert refusal(api, "answerCallbackQuery", callback_query_id="2") == (400, too_old)
    assert refusal(api, "answerCallbackQuery", callback_query_id="99") == (400, too_old)


def test_a_newer_poller_ends_the_older_one(api: BotApi) -> None:
    with ThreadPoolExecutor(1) as pool:
        older = pool.submit(call, api, "getUpdates", timeout=20)
        api.wait(lambda: api.called("getUpdates"))
        assert call(api, "getUpdates", timeout=0)[1]["result"] == []
        status, answer = older.result(20)
    assert status == 409
    assert answer["description"].startswith("Conflict: terminated by other getUpdates request")


def test_polling_and_a_webhook_exclude_each_other(api: BotApi) -> None:
    assert call(api, "setWebhook", url="https://bot.example.org/x", secret_token="abc")[0] == 200
    assert refusal(api, "getUpdates")[0] == 409
    assert call(api, "deleteWebhook")[0] == 200
    assert call(api, "getUpdates")[0] == 200
    assert refusal(api, "setWebhook", url="http://bot.example.org/x")[1].endswith("must be provided for webhook")
    assert refusal(api, "setWebhook", url="https://a.example", secret_token="a b")[0] == 400


def test_an_update_comes_until_it_is_confirmed(api: BotApi) -> None:
    first, second = api.say(ADA, "one"), api.say(ADA, "two")
    for _ in range(2):
        assert [update["update_id"] for update in call(api, "getUpdates")[1]["result"]] == [first, second]
    assert [update["update_id"] for update in call(api, "getUpdates", offset=second)[1]["result"]] == [second]
    assert call(api, "getUpdates", offset=second + 1)[1]["result"] == []
    api.edit(ADA, 101, "changed")
    (edited,) = call(api, "getUpdates", offset=second + 1)[1]["result"]
    assert edited["edited_message"]["text"] == "changed"


def test_only_a_forum_has_topics_and_general_is_left_out(api: BotApi) -> None:
    group, forum = api.group(), api.group(forum=True)
    assert refusal(api, "createForumTopic", chat_id=group.id, name="x")[1] == "Bad Request: the chat is not a forum"
    assert (
        refusal(api, "createForumTopic", chat_id=forum.id, name="x" * 129)[1] == "Bad Request: TOPIC_NAME_INVALID"
    )
    topic = call(api, "createForumTopic", chat_id=forum.id, name="t1")[1]["result"]["message_thread_id"]
    assert sent(api, chat=forum.id, message_thread_id=topic)["is_topic_message"]
    for thread in (1, topic + 1000):
        assert refusal(api, "sendMessage", chat_id=forum.id, text="x", message_thread_id=thread)[1] == (
            "Bad Request: message thread not found"
        )
    forum.may_make_topics = False
    assert refusal(api, "createForumTopic", chat_id=forum.id, name="x")[1].startswith(
        "Bad Request: not enough rights"
    )


def test_files_have_limits_both_ways() -> None:
    with BotApi(upload_limit=10, download_limit=5) as api:
        api.world.person(ADA)
        assert upload(api, "sendDocument", "document", b"x" * 11, chat_id=str(ADA))[0] == 413
        assert upload(api, "sendDocument", "document", b"x" * 10, chat_id=str(ADA))[0] == 200
        api.say(ADA, document=("a.txt", b"12345"))
        api.say(ADA, document=("b.txt", b"123456"))
        small, large = list(api.world.files)[-2:]
        path = call(api, "getFile", file_id=small)[1]["result"]["file_path"]
        with urllib.request.urlopen(f"{api.url}/file/bot{api.token}/{path}", timeout=60) as answer:
            assert answer.read() == b"12345"
        assert refusal(api, "getFile", file_id=large) == (400, "Bad Request: file is too big")
        assert refusal(api, "getFile", file_id="none")[0] == 400


def test_commands_are_short_and_in_lower_case(api: BotApi) -> None:
    good = {"command": "run", "description": "do"}
    assert call(api, "setMyCommands", commands=[good])[0] == 200
    for bad in ({**good, "command": "gate-try"}, {**good, "command": "Run"}, {**good, "description": ""}):
        assert refusal(api, "setMyCommands", commands=[bad])[0] == 400
    assert refusal(api, "setMyCommands", commands=[good] * 101)[1] == "Bad Request: BOT_COMMANDS_TOO_MUCH"


def test_the_rates_are_one_a_second_twenty_a_minute_and_thirty_overall() -> None:
    with BotApi(rates=Rates()) as api:
        api.world.person(ADA)
        group = api.group()
        number = sent(api)["message_id"]
        status, answer = call(api, "editMessageText", chat_id=ADA, message_id=number, text="edits count")
        assert (status, answer["parameters"]) == (429, {"retry_after": 1})
        assert answer["description"] == "Too Many Requests: retry after 1"
        api.forward(1.1)
        sent(api)
        for _ in range(20):
            sent(api, chat=group.id)
            api.forward(1.1)
        status, answer = call(api, "sendMessage", chat_id=group.id, text="21st")
        assert status == 429
        assert 30 < answer["parameters"]["retry_after"] <= 60
        api.forward(60)
        for user in range(30):
            api.world.person(user + 1)
            sent(api, chat=user + 1)
        assert call(api, "sendMessage", chat_id=ADA, text="31st")[0] == 429
