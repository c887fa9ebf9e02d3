"""Telegram from a thumb to an effect and back: the real library over HTTP, and what befalls a phone."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from bot.cards import Action, Card, Tone, line
from bot.chats.telegram.rates import Budget, Pace
from bot.commands import every_command
from bot.registry import Registry
from fleet.faults import Fault, Point, injected
from fleet.model import ChatRef
from fleet.store.chat import attachments as attachment_rows
from fleet.untrusted import Untrusted
from tests.far_end.bot_api import BotApi
from tests.far_end.bot_api_world import BOT_NAME
from tests.scenarios.fault_house import slowly
from tests.scenarios.telegram_house import ADA, OTTO, STRANGER, VERA, telegram_house


@pytest.fixture
def api() -> Iterator[BotApi]:
    with BotApi() as made:
        yield made


# --- words in, cards out ------------------------------------------------------------------------------------


async def test_help_shows_a_group_in_the_same_message(tmp_path: Path, api: BotApi) -> None:
    async with telegram_house(tmp_path, api) as there:
        await there.say(ADA, "/help")
        for label, start in (
            ("Set up", "Set up\n/zone · show or set your time zone\n"),
            ("Back", "airboss\nWork: /run change"),
        ):
            (message,) = api.screen(ADA)
            assert await there.press(ADA, message, label) == []
            await there.deliverer.drained(ChatRef("telegram", str(ADA)))
            (message,) = api.screen(ADA)
            assert message.text.startswith(start)


async def test_every_way_of_asking_reaches_the_same_command(tmp_path: Path, api: BotApi) -> None:
    async with telegram_house(tmp_path, api) as there:
        group = api.group()
        for text in (f"/status@{BOT_NAME}", "/status", f"@{BOT_NAME} status", f"status @{BOT_NAME}"):
            (answer,) = await there.say(ADA, text, chat=group.id)
            assert answer.text.startswith("fleet:"), text
        for text in ("/status", "Status", "/STATUS"):
            (answer,) = await there.say(ADA, text)
            assert answer.text.startswith("fleet:"), text


async def test_chatter_in_a_group_is_neither_kept_nor_answered(tmp_path: Path, api: BotApi) -> None:
    async with telegram_house(tmp_path, api) as there:
        group = api.group()
        for text in ("status of my lunch?", "/status@another_bot", "/unheardof", "look at example.org"):
            assert await there.say(ADA, text, chat=group.id) == [], text
        hidden: dict[str, Any] = {"sender_chat": {"id": group.id, "type": "supergroup", "title": "x"}}
        bot: dict[str, Any] = {"from": {"id": 9, "is_bot": True, "first_name": "b"}}
        for raw in (hidden, bot):
            api.say(ADA, "/status", chat=group.id, **raw)
        await there.handled()
        assert api.screen(group.id) == []
        kept = await there.store.read(
            lambda tx: tx.connection.exec_driver_sql(
                "select count(*) from inbox where payload like '%lunch%' or payload like '%another_bot%'"
            ).scalar_one()
        )
        assert kept == 0


async def test_a_stranger_gets_one_line_with_their_id_and_nothing_else(tmp_path: Path, api: BotApi) -> None:
    async with telegram_house(tmp_path, api) as there:
        (answer,) = await there.say(STRANGER, "/run on=macbook rm -rf")
        assert answer.text == f"You are not registered here.\nYour id: telegram::{STRANGER}"
        api.say(STRANGER, "here", document=("x.txt", b"x" * 10))
        await there.handled()
        assert not await there.tasks()
        assert api.called("getFile") == []


async def test_the_menu_holds_every_frequent_command(tmp_path: Path, api: BotApi) -> None:
    async with telegram_house(tmp_path, api) as there:
        commands = await api.until(lambda: api.methods.commands, "a menu")
        listed = [command["command"].replace("_", "-") for command in commands]
        assert listed == [command.verb for command in Registry(every_command()).menu]
        (card,) = await there.say(ADA, "/fleet whoami")
        assert "Ada · admin" in card.text, "what the menu leaves out"


async def test_a_task_is_a_reply_chain_that_is_steered_and_stopped_by_words(tmp_path: Path, api: BotApi) -> None:
    async with telegram_house(tmp_path, api) as there:
        (card,) = await there.say(ADA, "/run repo=shop mend it")
        assert card.labels == ["Log", "Stop"]
        (task,) = await there.tasks()
        (answer,) = await there.say(ADA, "please look at the tests too", reply_to=card.id)
        assert "has not started" in answer.text
        (stopping,) = await there.say(ADA, "stop", reply_to=card.id)
        assert await there.stopping(task.id)
        assert stopping.reply_to == card.id


async def test_a_forum_gives_each_task_a_topic(tmp_path: Path, api: BotApi) -> None:
    async with telegram_house(tmp_path, api) as there:
        forum = api.group(forum=True)
        await there.say(OTTO, f"/run@{BOT_NAME} first", chat=forum.id)
        await there.say(OTTO, f"/run@{BOT_NAME} second", chat=forum.id)
        first, second = await there.tasks()
        topics = list(forum.topics)
        assert [name.split(" · ")[0] for name in forum.topics.values()] == [first.id, second.id]
        (begun,) = api.screen(forum.id, thread=topics[1])
        assert begun.text.startswith(f"{second.id} · shop · second")
        (answer,) = await there.say(OTTO, "stop", chat=forum.id, thread=topics[1])
        assert (answer.thread, await there.stopping(second.id)) == (topics[1], True)
        assert not await there.stopping(first.id)
        await there.change(Card(line("edited")), f"task:{second.id}", chat=forum.id)
        assert begun.text == "edited"
        (status,) = await there.say(OTTO, "/status", chat=forum.id)
        assert status.thread == 0, "General has no thread id"
        await there.store.write(
            lambda tx: there.outbox.open(tx).post(
                ChatRef("telegram", str(forum.id)), Card(line("news")), task=first.id
            )
        )
        await there.handled()
        assert [message.text for message in api.screen(forum.id, thread=topics[0])][-1] == "news"


async def test_without_the_right_to_make_topics_a_forum_is_used_like_any_group(tmp_path: Path, api: BotApi) -> None:
    async with telegram_house(tmp_path, api) as there:
        forum = api.group(forum=True)
        forum.may_make_topics = False
        (card,) = await there.say(OTTO, "/run something", chat=forum.id)
        assert card.thread == 0


# --- buttons ------------------------------------------------------------------------------------------------


async def test_a_button_works_once_here_and_for_who_may(tmp_path: Path, api: BotApi) -> None:
    async with telegram_house(tmp_path, api) as there:
        group, other = api.group(), api.group()
        (card,) = await there.say(OTTO, "/run something", chat=group.id)
        (elsewhere,) = await there.say(OTTO, "/run another thing", chat=other.id)
        first, second = await there.tasks()
        (neighbour,) = await there.say(OTTO, "/run a third thing", chat=group.id)
        stop = card.data("Stop")
        refused = [
            await there.press(VERA, card, "Stop"),  # no right
            await there.press(STRANGER, card, "Stop"),
            await there.press(OTTO, elsewhere, data=stop),  # of another chat
            await there.press(OTTO, neighbour, data=stop),  # of another message
            await there.press(OTTO, card, data="/stop t1"),  # forged
        ]
        assert not await there.stopping(first.id)
        assert not await there.stopping(second.id)
        assert all(len(reasons) == 1 for reasons in refused)
        await there.press(OTTO, card, "Stop")
        assert await there.stopping(first.id)
        (again,) = await there.press(OTTO, card, data=stop)
        assert "pressed it already" in again.text
        assert all(query.answered for query in api.methods.queries.values()), "no button spins for ever"


async def test_a_double_tap_and_a_redelivered_update_have_one_effect(tmp_path: Path, api: BotApi) -> None:
    async with telegram_house(tmp_path, api) as there:
        update = api.say(OTTO, "/run once")
        await there.handled()
        api.redeliver(update)
        (card,) = api.screen(OTTO)
        press = api.press(OTTO, card, "Stop")
        await there.handled()
        api.redeliver(press)
        await there.say(OTTO, "/status")
        assert len(await there.tasks()) == 1
        assert len(api.screen(OTTO)) == 3, "the task, stopping, the status"


# --- what agents say ----------------------------------------------------------------------------------------

HOSTILE = (
    "@durov #tag $TON /stop https://evil.example/x evil.example tg://resolve?domain=x a@evil.example "
    "+49 171 1234567 <b>bold</b> <a href='https://evil.example'>x</a> &lt; \x1b[31m \u202e ``` */stop"
)


async def test_words_of_agents_are_dead_wherever_they_stand(tmp_path: Path, api: BotApi) -> None:
    async with telegram_house(tmp_path, api) as there:
        hostile = Untrusted(HOSTILE)
        card = Card(
            title=line("t1 · ", hostile), lines=(line(hostile),), fields=(), body=hostile, footer="by an agent"
        )
        await there.send(card)
        (shown,) = api.screen(ADA)
        assert shown.live == []
        assert not shown.previewed
        assert "<b>bold</b>" in shown.text
        assert "\x1b" not in shown.text
        assert "\u202e" not in shown.text


async def test_only_pings_sound_and_mention(tmp_path: Path, api: BotApi) -> None:
    async with telegram_house(tmp_path, api) as there:
        card = Card(line("held"), mention=f"telegram::{ADA}", mentioned="Ada", tone=Tone.WAITING)
        await there.send(card)
        await there.send(card, ping=True)
        quiet, loud = api.screen(ADA)
        assert (quiet.silent, quiet.live) == (True, [])
        assert (loud.silent, loud.live) == (False, ["text_mention:🔔 Ada"])


async def test_a_message_of_100_kb_comes_as_a_file_and_one_goes_in(tmp_path: Path, api: BotApi) -> None:
    async with telegram_house(tmp_path, api) as there:
        long = "\n".join(f"line {number} <&>" for number in range(7000))
        await there.send(Card(line("t1 · answered"), body=Untrusted(long), footer="⚠️ unsafe-same-user"), task="t1")
        (shown,) = api.screen(ADA)
        assert shown.file.decode() == long
        assert shown.file_name == "t1.txt"
        assert shown.text.startswith("t1 · answered\nline 0 <&>\n")
        assert shown.text.endswith("⚠️ unsafe-same-user")
        await there.say(ADA, "/run " + "word " * 20_000)
        (task,) = await there.tasks()
        assert len(task.prompt) > 99_000


async def test_a_long_title_and_a_long_body_come_as_a_message_and_a_file_below_it(
    tmp_path: Path, api: BotApi
) -> None:
    async with telegram_house(tmp_path, api) as there:
        lines = tuple(line("word " * 60) for _ in range(8))
        diff = "diff --git a/x b/x\n" + "+new\n" * 3000
        await there.send(Card(line("t1"), lines, body=Untrusted(diff), actions=(Action("Log", "/logs t1"),)))
        text, file = api.screen(ADA)
        assert text.labels == ["Log"]
        assert (file.file_name, file.reply_to) == ("message.diff", text.id)
        assert file.file.decode() == diff.rstrip("\n")


async def test_pictures_come_as_photos_and_documents_as_files(tmp_path: Path, api: BotApi) -> None:
    async with telegram_house(tmp_path, api) as there:
        (tmp_path / "plot.png").write_bytes(b"\x89PNG picture")
        (tmp_path / "receipt.json").write_text("{}")
        await there.send(Card(line("digest"), picture=str(tmp_path / "plot.png")))
        await there.send(Card(line("receipt"), document=str(tmp_path / "receipt.json")))
        await there.send(Card(line("lost"), document=str(tmp_path / "gone.json")))
        photo, file, lost = api.screen(ADA)
        assert (photo.photo, photo.text) == (True, "digest")
        assert (file.file_name, file.file) == ("receipt.json", b"{}")
        assert "gone.json cannot be read" in lost.text


async def test_a_file_with_a_prompt_is_on_the_disk_when_it_is_handled(tmp_path: Path, api: BotApi) -> None:
    async with telegram_house(tmp_path, api) as there:
        api.say(OTTO, "/run read this", document=("../../etc/pass wd.txt", b"notes"))
        api.say(OTTO, "/run look at this", photo=b"\xff\xd8jpeg")
        await there.handled()
        first, second = await there.tasks()
        (notes,) = await there.store.read(lambda tx: attachment_rows.of_note(tx, first.id, 0))
        (photo,) = await there.store.read(lambda tx: attachment_rows.of_note(tx, second.id, 0))
        assert Path(notes.path).read_bytes() == b"notes"
        assert Path(notes.path).name.endswith("-pass-wd.txt"), "after what keeps files of one name apart"
        assert Path(notes.path).is_relative_to(tmp_path / "files")
        assert Path(photo.path).read_bytes() == b"\xff\xd8jpeg"


async def test_on_a_full_disk_a_file_is_refused_in_words_and_the_digest_comes_without_its_picture(
    tmp_path: Path, api: BotApi
) -> None:
    async with telegram_house(tmp_path, api) as there:
        with injected(Fault(Point.FILE_WRITE, times=2)) as struck:
            api.say(OTTO, "/run read this", document=("notes.txt", b"notes"))
            await there.handled()
            (digest,) = await there.say(OTTO, "/digest")
            answer = api.screen(OTTO)[0]
        assert struck.raised == 2
        assert "Could not keep your file (notes.\u200btxt)" in answer.text
        assert "No space left" in answer.text
        assert "No space left" in digest.text
        assert not digest.photo
        assert not await there.tasks()
        assert not [path for path in (tmp_path / "files").rglob("*") if path.is_file()]
        (digest,) = await there.say(OTTO, "/digest")
        assert digest.photo


@pytest.mark.parametrize("where", ["private", "group"])
async def test_an_album_is_one_prompt_with_all_its_pictures(tmp_path: Path, api: BotApi, where: str) -> None:
    async with telegram_house(tmp_path, api) as there:
        chat = api.group().id if where == "group" else 0
        words = f"/run@{BOT_NAME} compare these" if where == "group" else "/run compare these"
        for number, said in enumerate(("", words, "")):
            api.say(OTTO, said, chat=chat, photo=b"\xff\xd8%d" % number, media_group_id="g1")
        api.say(OTTO, "/run something else", chat=chat)
        await there.handled()
        first, second = await there.tasks()
        assert (first.prompt, second.prompt) == ("compare these", "something else")
        kept = await there.store.read(lambda tx: attachment_rows.of_note(tx, first.id, 0))
        assert [Path(file.path).read_bytes() for file in kept] == [b"\xff\xd80", b"\xff\xd81", b"\xff\xd82"]
        assert not await there.store.read(lambda tx: attachment_rows.of_note(tx, second.id, 0))


async def test_files_of_one_name_in_one_message_stay_apart(tmp_path: Path, api: BotApi) -> None:
    """Named in letters of four bytes: a file system takes 255 bytes."""
    name = "\U00020000" * 90 + ".txt"
    async with telegram_house(tmp_path, api) as there:
        api.say(OTTO, "/run compare these", document=(name, b"before"), media_group_id="g1")
        api.say(OTTO, "", document=(name, b"after"), media_group_id="g1")
        await there.handled()
        (task,) = await there.tasks()
        kept = await there.store.read(lambda tx: attachment_rows.of_note(tx, task.id, 0))
        assert [(Path(file.path).read_bytes(), Path(file.path).suffix) for file in kept] == [
            (b"before", ".txt"),
            (b"after", ".txt"),
        ]


def test_an_album_that_a_restart_cut_short_is_one_prompt_all_the_same(tmp_path: Path, api: BotApi) -> None:
    async def first() -> None:
        async with telegram_house(tmp_path, api):
            api.say(OTTO, "/run compare these", photo=b"\xff\xd80", media_group_id="g1")
            await api.until(lambda: not api.unconfirmed(), "the first is kept")

    async def second() -> None:
        async with telegram_house(tmp_path, api) as there:
            await there.handled()
            (task,) = await there.tasks()
            kept = await there.store.read(lambda tx: attachment_rows.of_note(tx, task.id, 0))
            assert len(kept) == 2

    slowly(first())
    assert not api.screen(OTTO), "the album may go on"
    api.say(OTTO, "", photo=b"\xff\xd81", media_group_id="g1")
    asyncio.run(second())


async def test_a_file_that_is_too_large_is_refused_in_words(tmp_path: Path) -> None:
    with BotApi(download_limit=10) as api:
        async with telegram_house(tmp_path, api) as there:
            api.say(OTTO, "/run read this", document=("big.txt", b"x" * 11))
            await there.handled()
            assert "20 MB" in api.screen(OTTO)[0].text
            assert not await there.tasks()


# --- edits --------------------------------------------------------------------------------------------------


async def test_an_edit_changes_the_message_and_its_buttons(tmp_path: Path, api: BotApi) -> None:
    async with telegram_house(tmp_path, api) as there:
        await there.send(Card(line("asks"), actions=(Action("Approve", "/approve a1"),)), key="ask:a1")
        await there.change(Card(line("approved by Ada")), "ask:a1")
        await there.change(Card(line("approved by Ada")), "ask:a1")  # not modified
        (shown,) = api.screen(ADA)
        assert (shown.text, shown.labels, shown.before) == ("approved by Ada", [], ["asks"])


async def test_an_edit_that_answers_a_press_is_not_put_off_with_the_others(tmp_path: Path, api: BotApi) -> None:
    spent = Budget(chat_pace=Pace(0.001, 4), overall_pace=Pace(1e6, 1_000_000))  # as after a burst of notes
    async with telegram_house(tmp_path, api, budget=spent) as there:
        for key in ("progress", "asked"):
            await there.send(Card(line(f"{key} now")), key=key)
        where = ChatRef("telegram", str(ADA))
        await there.store.write(
            lambda tx: there.outbox.open(tx).repost(where, Card(line("progress later")), key="progress")
        )
        await there.store.write(
            lambda tx: there.outbox.open(tx).repost(where, Card(line("allowed by Ada")), key="asked", soon=True)
        )
        await api.until(lambda: [message.text for message in api.screen(ADA)] == ["progress now", "allowed by Ada"])


async def test_an_edit_of_a_deleted_message_comes_anew_and_lives_on(tmp_path: Path, api: BotApi) -> None:
    async with telegram_house(tmp_path, api) as there:
        await there.send(Card(line("one")), key="k")
        api.delete(api.screen(ADA)[0])
        await there.change(Card(line("two")), "k")
        await there.change(Card(line("three")), "k")
        (shown,) = api.screen(ADA)
        assert (shown.text, shown.before) == ("three", ["two"])


async def test_a_card_that_came_as_a_file_is_edited_in_its_caption(tmp_path: Path, api: BotApi) -> None:
    async with telegram_house(tmp_path, api) as there:
        await there.send(Card(line("red"), body=Untrusted("x\n" * 3000)), key="red:t1")
        await there.change(Card(line("green"), body=Untrusted("y\n" * 3000)), "red:t1")
        (shown,) = api.screen(ADA)
        assert shown.text.startswith("green\ny\n")
