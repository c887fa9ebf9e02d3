"""Ten thousand updates from anybody, on Telegram's wire: none stops the bot, none does what its sender may not.

They come as raw JSON over HTTP and go through the real library and the real adapter into the real core and store.
The quick profile plays 300 of them, ``AIRBOSS_CAMPAIGN=full`` all 10,000.
"""

from __future__ import annotations

import asyncio
import json
import os
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import aiohttp
import pytest
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st

from bot.chats.telegram.settings import Webhook
from tests.far_end.bot_api import BotApi
from tests.far_end.bot_api_world import BOT_NAME
from tests.far_end.ports import unused_port
from tests.scenarios.hostile_house import Siege, no_troubles
from tests.scenarios.telegram_house import ADA, House, telegram_house
from tests.scenarios.telegram_updates import Plan, crowds, plans

UPDATES = 10_000 if os.environ.get("AIRBOSS_CAMPAIGN") == "full" else 300
BATCH = 25

batches = st.sampled_from([*crowds, "all", "all"]).flatmap(
    lambda crowd: st.lists(plans(crowd), min_size=BATCH, max_size=BATCH)
)


@settings(
    max_examples=UPDATES // BATCH,
    deadline=None,
    database=None,
    phases=[Phase.explicit, Phase.generate],  # the house remembers, so a smaller example is another story
    suppress_health_check=list(HealthCheck),
)
@given(batches)
def test_anybody_may_send_anything(siege: dict[str, Any], batch: list[Plan]) -> None:
    loop: asyncio.AbstractEventLoop = siege["loop"]
    with no_troubles():
        loop.run_until_complete(siege["siege"].errand())
        loop.run_until_complete(siege["siege"].play(batch))


@pytest.fixture(scope="module")
def siege(tmp_path_factory: pytest.TempPathFactory) -> Iterator[dict[str, Any]]:
    loop = asyncio.new_event_loop()
    with BotApi() as api:
        opened = telegram_house(tmp_path_factory.mktemp("hostile"), api)
        house = loop.run_until_complete(opened.__aenter__())
        laid = loop.run_until_complete(Siege.lay(house))
        yield {"loop": loop, "siege": laid}
        print(dict(laid.played))
        loop.run_until_complete(opened.__aexit__(None, None, None))
    loop.close()


# --- what must hold up nobody -------------------------------------------------------------------------------

ADAS_CHAT = {"id": ADA, "type": "private"}
HERSELF = {"id": ADA, "is_bot": False, "first_name": "Ada"}
SAID = {"message_id": 1, "date": 1, "chat": ADAS_CHAT, "from": HERSELF}
UNREADABLE: dict[str, dict[str, Any]] = {
    "no date": {"message": {"message_id": 1, "chat": ADAS_CHAT, "from": HERSELF, "text": "/run a"}},
    "a date beyond all calendars": {"message": {**SAID, "date": 1 << 62, "text": "/run a"}},
    "a poll without a question": {"message": {**SAID, "poll": {"id": "1"}}},
    "a text that is none": {"message": {**SAID, "text": {"text": "/run a"}}},
    "a press by nobody": {"callback_query": {"id": "1", "chat_instance": "1", "data": "x", "message": SAID}},
    "a message that is a list": {"message": [SAID]},
}


@pytest.mark.parametrize("body", UNREADABLE.values(), ids=UNREADABLE)
async def test_an_update_that_cannot_be_read_holds_up_nobody(tmp_path: Path, body: dict[str, Any]) -> None:
    """It is confirmed and passed over: asked for again, it would stand before all others for ever."""
    with BotApi() as api:
        async with telegram_house(tmp_path, api) as there:
            api.world.person(ADA)
            with no_troubles(of_adapters=False):
                api.post([body, {"message": {**SAID, "text": "/run after it"}}, body])
                await there.handled()
            assert [task.prompt for task in await there.tasks()] == ["after it"]


@pytest.mark.parametrize("offset", [-3, 0, 1, 2, 5, 1 << 40])
async def test_a_mention_of_half_a_letter_holds_up_nobody(tmp_path: Path, offset: int) -> None:
    with BotApi() as api:
        async with telegram_house(tmp_path, api) as there:
            group = api.group()
            spans = [{"type": "mention", "offset": offset, "length": length} for length in (1, 2, 3, 1 << 40)]
            body = {**SAID, "chat": {"id": group.id, "type": "supergroup"}, "text": "😀😀 hello", "entities": spans}
            with no_troubles():
                api.post([{"message": body}, {"message": {**body, "text": f"/run@{BOT_NAME} after it"}}])
                await there.handled()
            assert [task.prompt for task in await there.tasks()] == ["after it"]


async def test_a_message_to_others_is_not_for_us_when_it_comes_again(tmp_path: Path) -> None:
    """What comes with a command is for us too. What its sender wrote before it, in the same second, is not: neither
    at first nor when Telegram sends both again."""
    with BotApi() as api:
        async with telegram_house(tmp_path, api) as there:
            group, now = api.group().id, int(api.now())
            origin = {"type": "hidden_user", "date": 1, "sender_user_name": "Vera"}
            said = {**SAID, "date": now, "chat": {"id": group, "type": "supergroup"}}
            forwarded = {**said, "text": "look at this", "forward_origin": origin}
            command = {**said, "message_id": 2, "text": f"/run@{BOT_NAME} it"}
            numbers = api.post([{"message": forwarded}, {"message": command}])
            await there.handled()
            shown = [message.text for message in api.screen(group)]
            for number in numbers:
                api.redeliver(number)
            api.post([{}])  # confirmed only after them
            await there.handled()
            assert [message.text for message in api.screen(group)] == shown
            assert [task.prompt for task in await there.tasks()] == ["it"]


async def test_half_a_letter_is_no_bug_wherever_it_stands(tmp_path: Path) -> None:
    """A lone surrogate can be written in JSON, and neither stored nor sent."""
    with BotApi() as api:
        async with telegram_house(tmp_path, api) as there:
            (card,) = await there.say(ADA, "/run mend it")
            with no_troubles():
                (answer,) = await there.press(ADA, card, data="\ud83d")
                assert "not a button of this chat" in answer.text
                words = ("/run \ud83d!\x00", "\ud83d", "/st\ud83d", "/stop \ud83d", "/help \udc00")
                api.post([{"message": {**SAID, "text": text}} for text in words])
                await there.handled()
            assert [message.text for message in api.screen(ADA) if "bug" in message.text] == []
            assert [task.prompt for task in await there.tasks()] == ["mend it", "?!"]


async def test_a_page_of_nothing_holds_up_nobody(tmp_path: Path) -> None:
    """A pattern that tries every beginning of it would be at it for longer than a test may take."""
    with BotApi() as api:
        async with telegram_house(tmp_path, api) as there:
            api.post(
                [
                    {"message": {**SAID, "text": f"x{' ' * 1_000_000}y"}},
                    {"message": {**SAID, "text": "/run after it"}},
                ]
            )
            api.world.person(ADA)
            await there.handled()
            assert [task.prompt for task in await there.tasks()] == ["after it"]


# --- by webhook ---------------------------------------------------------------------------------------------

HEADER = "X-Telegram-Bot-Api-Secret-Token"
SECRET = "the-Secret_1"
FORGED: dict[str, dict[str, str]] = {
    "no secret": {},
    "an empty one": {HEADER: ""},
    "a guess": {HEADER: "guess"},
    "its beginning": {HEADER: SECRET[:-1]},
    "more than it": {HEADER: SECRET + "1"},
    "in other letters": {HEADER: SECRET.upper()},
    "beyond ASCII": {HEADER: "the-Secret_\u0661"},
    "under another name": {"Authorization": SECRET, "X-Telegram-Bot-Api-Secret": SECRET},
}
DEEP = b'{"update_id": 9, "message": ' + b"[" * 100_000 + b"]" * 100_000 + b"}"
NONSENSE = (
    b"", b"{", b"\xff\xfe", b"null", b"[]", b"7", b'"x"', b"{}", b'{"update_id": "7"}', b'{"update_id": null}',
    b'{"update_id": true}', b'{"message": {"text": "/run evil"}}', DEEP, b"x" * (5 << 20),
)  # fmt: skip


@asynccontextmanager
async def hooked(directory: Path, api: BotApi) -> AsyncIterator[tuple[House, Callable[..., Awaitable[int]]]]:
    """A house that is called by webhook, and a way to call it: body and headers in, status out."""
    port = unused_port()
    hook = Webhook(f"http://127.0.0.1:{port}/telegram", "127.0.0.1", port, SECRET)
    async with telegram_house(directory, api, webhook=hook) as there, aiohttp.ClientSession() as session:

        async def call(body: Any, headers: dict[str, str] | None = None, *, path: str = "") -> int:
            data = body if isinstance(body, bytes) else json.dumps(body).encode()
            told = {HEADER: SECRET} if headers is None else headers
            async with session.post(hook.url + path, data=data, headers=told) as answer:
                return answer.status

        yield there, call


async def test_a_webhook_that_is_forged_reaches_nothing(tmp_path: Path) -> None:
    with BotApi() as api:
        async with hooked(tmp_path, api) as (there, call):
            forged = {"update_id": 7, "message": {**SAID, "text": "/run evil"}}
            for name, headers in FORGED.items():
                assert await call(forged, headers) == 403, name
            assert await call(forged, path="/other") == 404
            assert (
                await there.store.read(lambda tx: tx.connection.exec_driver_sql("select * from inbox").all()) == []
            )
            await there.say(ADA, "/run the real one")
            assert [task.prompt for task in await there.tasks()] == ["the real one"]


async def test_a_webhook_that_is_replayed_has_one_effect(tmp_path: Path) -> None:
    """At once, later, with other words under the same number, and among others."""
    with BotApi() as api:
        async with hooked(tmp_path, api) as (there, call):
            api.world.person(ADA)
            bodies = [{"update_id": n, "message": {**SAID, "text": f"/run errand {n}"}} for n in range(1, 6)]
            assert set(await asyncio.gather(*(call(body) for body in bodies * 4))) == {200}
            await there.handled()
            changed = [{**body, "message": {**SAID, "text": "/run evil"}} for body in bodies]
            assert {await call(body) for body in (*bodies, *changed)} == {200}
            await there.handled()
            assert sorted(task.prompt for task in await there.tasks()) == [f"errand {n}" for n in range(1, 6)]
            assert len(api.screen(ADA)) == 5
            card = api.screen(ADA)[0]
            query = {"id": "1", "from": HERSELF, "chat_instance": "1", "data": card.data("Stop")}
            pressed = {"callback_query": {**query, "message": {**SAID, "message_id": card.id}}}
            stops = [{**pressed, "update_id": number} for number in (90, 90, 91, 90)]
            assert set(await asyncio.gather(*(call(body) for body in stops))) == {200}
            await there.handled()
            said = [message.text for message in api.screen(ADA)[5:]]
            assert len(said) == 2 and sum("pressed it already" in message for message in said) == 1


@pytest.mark.parametrize("body", UNREADABLE.values(), ids=UNREADABLE)
async def test_a_webhook_that_cannot_be_read_is_not_asked_for_again(tmp_path: Path, body: dict[str, Any]) -> None:
    with BotApi() as api:
        async with hooked(tmp_path, api) as (there, call):
            with no_troubles(of_adapters=False):
                assert await call({"update_id": 7, **body}) == 200
            assert await there.tasks() == []


async def test_nonsense_by_webhook_is_refused_in_order(tmp_path: Path) -> None:
    with BotApi() as api:
        async with hooked(tmp_path, api) as (there, call):
            with no_troubles():
                assert {await call(body) for body in NONSENSE} == {400, 413}
            await there.say(ADA, "/run after it")
            assert [task.prompt for task in await there.tasks()] == ["after it"]
