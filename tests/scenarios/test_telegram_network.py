"""What befalls a network between Telegram and us, and how a controller begins and ends there."""

from __future__ import annotations

import asyncio
import logging
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from bot.cards import Action, Card, line
from bot.chats.telegram.chat import from_secrets
from bot.chats.telegram.http import AiohttpRequest, NotSent
from bot.registry import Registry
from fleet.config import Secrets
from fleet.errors import Misused, Refused
from fleet.model import ChatRef
from fleet.store.chat import moves, outbox
from fleet.supervise import alongside, first
from tests.far_end.bot_api import TOKEN, BotApi
from tests.far_end.bot_api_refusals import Refusal, too_many_requests, webhook_is_set
from tests.scenarios.telegram_house import ADA, OTTO, VERA, House, telegram_house


@pytest.fixture
def api() -> Iterator[BotApi]:
    with BotApi() as made:
        yield made


async def _post(there: House, chat: ChatRef, text: str) -> None:
    await there.store.write(lambda tx: there.outbox.open(tx).post(chat, Card(line(text))))


async def test_an_outage_is_survived_in_order_and_nothing_is_double(tmp_path: Path, api: BotApi) -> None:
    async with telegram_house(tmp_path, api) as there:
        api.world.person(ADA)
        api.break_down()
        group = api.group()
        chats = [str(ADA), str(group.id)]
        for number in range(250):
            for chat in chats:
                await _post(there, ChatRef("telegram", chat), f"n{number}")
        await api.until(lambda: api.turned_away >= 4, "polls and both chats' first messages are turned away")
        assert there.adapter.contact.why
        api.forward(3600)
        api.break_down("")
        for chat in chats:
            await asyncio.wait_for(there.deliverer.drained(ChatRef("telegram", chat)), 60)
        for chat in chats:
            assert [message.text.split("\n")[0] for message in api.screen(int(chat))] == [
                f"n{n}" for n in range(250)
            ]
        (answer,) = await there.say(ADA, "/help")
        assert answer.text
        assert there.adapter.contact.away_seconds == 0


async def test_an_answer_that_was_lost_makes_the_second_one_marked(tmp_path: Path, api: BotApi) -> None:
    async with telegram_house(tmp_path, api) as there:
        api.world.person(ADA)
        api.lose_answers(1)
        await there.send(Card(line("once")))
        first, second = api.screen(ADA)
        assert (first.text, second.text) == ("once", "once\nshown again")


async def test_patience_is_kept_for_one_chat_while_others_go_on_and_receiving_too(
    tmp_path: Path, api: BotApi
) -> None:
    async with telegram_house(tmp_path, api) as there:
        api.world.person(ADA)
        api.refuse(ADA, 5.0)
        here = ChatRef("telegram", str(ADA))
        await there.store.write(
            lambda tx: [there.outbox.open(tx).post(here, Card(line(text))) for text in ("a", "b")]
        )
        await api.until(lambda: len(api.called("sendMessage")) == 1, "the first try is refused")
        api.say(OTTO, "/help")
        await api.until(lambda: api.screen(OTTO), "another chat is answered")
        assert api.screen(ADA) == []
        await there.deliverer.drained(here)
        assert [message.text for message in api.screen(ADA)] == ["a", "b"]
        assert len(api.called("sendMessage")) == 4, "while Telegram asked for patience, nothing was tried"


async def test_a_chat_that_threw_us_out_is_given_up_and_holds_up_nobody(tmp_path: Path, api: BotApi) -> None:
    async with telegram_house(tmp_path, api) as there:
        api.world.person(ADA).gone = "blocked"
        await there.send(Card(line("lost")))
        await there.send(Card(line("nowhere")), chat=12345)
        (answer,) = await there.say(OTTO, "/help")
        assert answer.text


async def test_a_group_that_became_a_supergroup_takes_its_tasks_and_buttons_along(
    tmp_path: Path, api: BotApi
) -> None:
    async with telegram_house(tmp_path, api) as there:
        group = api.group(kind="group")
        await there.say(OTTO, "/run something", chat=group.id)
        (task,) = await there.tasks()
        new = api.upgrade(group)
        await there.handled()
        assert await there.store.read(lambda tx: moves.now_at(tx, "telegram", str(group.id))) == str(new.id)
        await there.send(Card(line("news")), chat=group.id, task=task.id)
        await api.until(lambda: api.screen(new.id))
        card = Card(line("moved"), actions=(Action("Stop", "/stop t1"),))
        await there.change(card, f"task:{task.id}", chat=new.id)
        news, shown = api.screen(new.id)
        assert (news.text, shown.text) == ("news", "moved")
        await there.press(OTTO, shown, "Stop")
        assert await there.stopping(task.id)


async def test_what_cannot_be_kept_is_not_confirmed_and_comes_again(tmp_path: Path, api: BotApi) -> None:
    async with telegram_house(tmp_path, api) as there:
        with there.store.transaction() as tx:
            refusal = "create trigger full before insert on inbox begin select raise(abort, 'no'); end"
            tx.connection.exec_driver_sql(refusal)
        update = api.say(OTTO, "/run keep me")
        polls = len(api.called("getUpdates"))
        await api.until(lambda: len(api.called("getUpdates")) > polls, "it is asked for again")
        assert api.unconfirmed() == [update]
        with there.store.transaction() as tx:
            tx.connection.exec_driver_sql("drop trigger full")
        await there.handled()
        assert [task.prompt for task in await there.tasks()] == ["keep me"]


# --- beginnings ---------------------------------------------------------------------------------------------


def test_without_a_token_telegram_is_off_and_one_line_says_so(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO)
    assert from_secrets(Secrets({}), tmp_path, Registry()) is None
    assert len(caplog.records) == 1
    assert "AIRBOSS_TELEGRAM_TOKEN" in caplog.text


async def test_a_wrong_token_stops_with_a_remedy_and_is_told_to_nobody(
    tmp_path: Path, api: BotApi, caplog: pytest.LogCaptureFixture
) -> None:
    env = Secrets({"AIRBOSS_TELEGRAM_TOKEN": "1:wrong-token", "AIRBOSS_TELEGRAM_API": api.url})
    adapter = from_secrets(env, tmp_path, Registry())
    assert adapter is not None

    async def receive(_: object) -> bool:
        return True

    with pytest.raises(Misused, match="BotFather") as raised:
        await adapter.start(receive)
    await adapter.close()
    assert "wrong-token" not in f"{raised.value!r} {raised.value.__cause__} {caplog.text}"


async def test_a_proxy_in_the_environment_is_the_way_and_an_exception_from_it_is_kept(
    api: BotApi, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("http_proxy", api.url)  # it takes any host's name, as a proxy does
    for exempt, arrives in (("elsewhere.invalid", True), ("telegram.invalid", False)):
        monkeypatch.setenv("no_proxy", exempt)
        request = AiohttpRequest("http://telegram.invalid")
        await request.initialize()
        try:
            asked = request.do_request(f"http://telegram.invalid/bot{api.token}/getMe", "POST")
            if arrives:
                assert (await asked)[0] == 200
            else:
                with pytest.raises(NotSent):
                    await asked
        finally:
            await request.shutdown()
    assert len(api.called("getMe")) == 1


async def test_telegram_away_at_the_start_is_waited_for(tmp_path: Path, api: BotApi) -> None:
    api.break_down()
    async with telegram_house(tmp_path, api) as there:
        assert there.adapter.contact.why
        api.break_down("")
        (answer,) = await there.say(ADA, "/help")
        assert answer.text
        assert not there.adapter.contact.why


async def test_a_beginning_that_is_cut_short_in_the_middle_is_made_again(tmp_path: Path, api: BotApi) -> None:
    """Telegram answers who we are, and then nothing for as long as a start waits."""
    env = Secrets({"AIRBOSS_TELEGRAM_TOKEN": TOKEN, "AIRBOSS_TELEGRAM_API": api.url})
    adapter = from_secrets(env, tmp_path, Registry())
    assert adapter is not None
    heard, go_on = asyncio.Event(), threading.Event()

    async def receive(_: object) -> bool:
        heard.set()
        return True

    api.mangled["deleteWebhook"] = lambda result: (go_on.wait(60), result)[1]
    async with alongside(adapter.start(receive), "start"):
        while not api.called("deleteWebhook"):
            await asyncio.sleep(0.01)
    go_on.set()
    api.say(ADA, "hello")
    async with alongside(adapter.keep_up(), "keep up") as keeping:
        await first(heard.wait(), keeping)
        assert heard.is_set()
    await adapter.close()


@pytest.mark.parametrize("seconds", [10**15, "soon"])
async def test_a_wait_that_makes_no_sense_loses_no_message_and_ends(
    tmp_path: Path, api: BotApi, seconds: Any
) -> None:
    async with telegram_house(tmp_path, api) as there:
        api.world.person(ADA)
        api.refusing["sendMessage"] = [Refusal(429, "Too Many Requests", retry_after=seconds)]
        await _post(there, ChatRef("telegram", str(ADA)), "later")
        await api.until(lambda: not api.refusing["sendMessage"], "it is refused")
        due = None
        while due is None:
            await asyncio.sleep(0.01)
            due = await there.store.read(lambda tx: outbox.next_due_us(tx, "telegram"))
        assert 0 < due <= 3_600_000_000


@pytest.mark.parametrize(
    "answer",
    [
        b'{"ok":false,"error_code":500,"description":"Internal Server Error"}',
        b'{"ok":true}',
        b"[]",
    ],
)
async def test_an_error_that_is_sent_as_a_success_loses_no_message(
    tmp_path: Path, api: BotApi, answer: bytes, caplog: pytest.LogCaptureFixture
) -> None:
    async with telegram_house(tmp_path, api) as there:
        bad = [answer]
        api.mangled["sendMessage"] = lambda result: bad.pop() if bad else result
        await there.send(Card(line("kept")))
        assert [message.text for message in api.screen(ADA)] == ["kept", "kept\nshown again"]
        api.mangled["getUpdates"] = lambda _: answer
        api.post([{}])  # ends the poll
        while not there.adapter.contact.why:
            await asyncio.sleep(0.01)
        polls = len(api.called("getUpdates"))
        api.mangled["getUpdates"] = lambda _: b'{"ok":true,"result":[7]}'
        await api.until(lambda: len(api.called("getUpdates")) > polls + 1, "it is asked for again")
        assert "Received data was" not in caplog.text, "the library would ask again at once, for ever"
        del api.mangled["getUpdates"]
        assert await there.say(ADA, "/help")


async def test_a_second_poller_is_ended_in_words_and_the_first_goes_on(tmp_path: Path, api: BotApi) -> None:
    (tmp_path / "a").mkdir()
    (tmp_path / "b").mkdir()
    async with telegram_house(tmp_path / "a", api, newcomer=0) as first:
        going_on = asyncio.ensure_future(first.adapter.contact.running())
        async with telegram_house(tmp_path / "b", api) as second:
            with pytest.raises(Refused, match="another program polls"):
                await asyncio.wait_for(second.adapter.contact.running(), 60)
            while "another program polls" not in first.adapter.contact.why:
                await asyncio.sleep(0.01)
        (answer,) = await first.say(ADA, "/help")
        assert answer.text
        assert not going_on.done()


async def test_a_webhook_of_another_program_is_named(tmp_path: Path, api: BotApi) -> None:
    async with telegram_house(tmp_path, api) as there:
        api.refusing["getUpdates"] = [webhook_is_set()]
        api.say(ADA, "/help")
        while "has set a webhook" not in there.adapter.contact.why:
            await asyncio.sleep(0.01)


async def test_a_page_from_between_us_and_telegram_says_nothing_of_token_chat_or_card(
    tmp_path: Path, api: BotApi
) -> None:
    """The login page of a network, the refusal of a proxy."""
    async with telegram_house(tmp_path, api) as there:
        going_on = asyncio.ensure_future(there.adapter.contact.running())
        pages = {"400": VERA, "401": OTTO, "403": ADA}
        for status, person in pages.items():
            api.world.person(person)
            before = api.turned_away
            api.break_down(status)
            await _post(there, ChatRef("telegram", str(person)), "hello")
            await api.until(lambda before=before: api.turned_away >= before + 2, "poll and card meet it")  # type: ignore[misc] # a lambda's default has no type
        assert "something else than Telegram answers" in there.adapter.contact.why
        api.break_down("")
        for person in pages.values():
            await there.deliverer.drained(ChatRef("telegram", str(person)))
            assert [message.text for message in api.screen(person)] == ["hello"]
        assert await there.say(ADA, "/help")
        assert not going_on.done()


async def test_polls_that_telegram_refuses_are_seen_and_a_revoked_token_ends_it(
    tmp_path: Path, api: BotApi
) -> None:
    async with telegram_house(tmp_path, api) as there:
        api.refusing["getUpdates"] = [too_many_requests(1)]
        api.say(ADA, "/help")
        await api.until(lambda: there.adapter.contact.why or not api.refusing["getUpdates"])
        while not there.adapter.contact.why:
            await asyncio.sleep(0.01)
        assert "429" in there.adapter.contact.why
        await there.handled()
        api.token = "1:another"
        api.post([{}])  # ends the poll, and is answered with nothing
        with pytest.raises(Misused, match="BotFather"):
            await asyncio.wait_for(there.adapter.contact.running(), 60)
        api.token = TOKEN


async def test_the_token_is_in_no_log(tmp_path: Path, api: BotApi, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO)
    async with telegram_house(tmp_path, api) as there:
        for how in ("drop", "502"):
            api.break_down(how)
            api.break_down("")
            await there.say(ADA, "/help")
    assert "Telegram does not answer" in caplog.text
    assert TOKEN not in caplog.text
    assert not [record for record in caplog.records if record.name.startswith("httpx")]


async def test_a_button_works_after_a_restart(tmp_path: Path, api: BotApi) -> None:
    async with telegram_house(tmp_path, api) as there:
        (card,) = await there.say(OTTO, "/run something")
    async with telegram_house(tmp_path, api) as there:
        await there.press(OTTO, card, "Stop")
        assert await there.stopping("t1")
