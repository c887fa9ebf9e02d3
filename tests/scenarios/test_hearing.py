"""What is said to us, and what is not: slips, chatter in threads, floods, voices; the same on every platform."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import pytest

from bot.cards import shown
from bot.chats.slack.manifest import dialect
from bot.commands import every_command
from bot.hearing.core import ChatCore
from bot.hearing.rates import PerPerson
from bot.registry import Registry
from fleet.model import ChatRef, TaskState
from fleet.store import queue, tasks
from fleet.store.chat import attachments as attachment_rows
from tests.chat_flight import everything
from tests.chat_house import ADA, OTTO, STRANGER, House, house
from tests.far_end.bot_api import BotApi
from tests.far_end.bot_api_world import BOT_NAME
from tests.far_end.slack import OTTO as SLACK_OTTO
from tests.far_end.slack import shows
from tests.scenarios import slack_house
from tests.scenarios import telegram_house as on_telegram

GROUP = ChatRef("phone", "g1")


@pytest.fixture
def api() -> Iterator[BotApi]:
    with BotApi() as made:
        yield made


# --- slips and floods -----------------------------------------------------------------------------------------


SLIPS = {"statys": "status", "Statys": "status", "stp t1": "stop", "stop, please": "stop", "machins?": "machines"}


@pytest.mark.parametrize(("words", "verb"), SLIPS.items())
async def test_a_slip_without_a_slash_is_told_the_nearest_command(tmp_path: Path, words: str, verb: str) -> None:
    async with house(tmp_path) as there:
        result, (told,) = await there.say(words)
        assert result.status == 2
        assert f"Did you mean /{verb}?" in everything(told)


async def test_plain_words_are_not_taken_for_slips(tmp_path: Path) -> None:
    async with house(tmp_path) as there:
        for words in ("thanks", "good morning", "statys of my lunch please"):
            _, (told,) = await there.say(words)
            assert "Did you mean" not in everything(told)


async def test_a_flood_never_swallows_a_stop_a_no_or_a_press(tmp_path: Path) -> None:
    async with house(tmp_path) as there:
        _, (card,) = await there.say("/run mend it", OTTO)
        before = len(there.phone.sent)
        core = ChatCore(
            there.core.context, there.outbox, there.supervisor, rate=PerPerson(limit=0, now=lambda: 0.0)
        )
        log = next(action.token for action in card.actions if action.label == "Log")
        for message in (
            there.message("/status", OTTO),
            there.message("/status", OTTO),
            there.message(pressed=log, sender=OTTO),
            there.message("No.", OTTO),
            there.message("/kill t1", OTTO),
            there.message("/pause"),
            there.message("/drain evo-x2"),
        ):
            result = await core.call(message)
            assert result is not None
        await there.settle()
        told = [everything(post.card) for post in there.phone.sent[before:] if not post.edits]
        assert "you sent too many in a short time" in told[0]
        assert told[1].startswith("t1 ·"), "the log, by its button"
        assert "nothing is waiting for a person" in told[2]
        assert await there.store.read(lambda tx: tasks.stop_requested(tx, "t1"))
        assert set(await there.store.read(queue.pauses)) == {"", "evo-x2"}
        await core.close()


# --- who is spoken to -----------------------------------------------------------------------------------------


async def ended_in(there: House, chat: ChatRef) -> None:
    await there.core.call(there.message("/run mend it", chat=chat, private=False))
    await there.store.write(lambda tx: tasks.move(tx, "t1", TaskState.STOPPED, "", "airboss"))
    await there.settle(chat)


async def test_chatter_in_the_thread_of_an_ended_task_is_nobodys_error(tmp_path: Path) -> None:
    thread = ChatRef("phone", "g1", "7")
    async with house(tmp_path) as there:
        await ended_in(there, thread)
        before = len(there.phone.sent)
        for sender in (ADA, OTTO, STRANGER):
            chatter = there.message("thanks, that was quick", sender, chat=thread, direct=False, private=False)
            result = await there.core.call(chatter)
            assert result is not None
            assert (result.status, result.posted) == (0, [])
        await there.settle(thread)
        assert len(there.phone.sent) == before
        turned = there.message("one more thing", chat=thread, direct=False, private=False)
        for said in (
            replace(turned, direct=True, update_id="mention"),
            replace(turned, reply_to="m1", update_id="reply"),
            replace(turned, private=True, update_id="alone"),
        ):
            result = await there.core.call(said)
            assert result is not None
            assert result.status == 2, f"{said.update_id}: turned to us, and told that it has ended"


async def test_words_in_the_thread_of_a_task_go_to_its_agent_and_a_strangers_nowhere(
    tmp_path: Path,
) -> None:
    thread = ChatRef("phone", "g1", "7")
    async with house(tmp_path) as there:
        await there.core.call(there.message("/run mend it", chat=thread, private=False))
        await there.settle(thread)
        for words in ("use tabs", "/stop", "stop"):
            result = await there.core.call(there.message(words, STRANGER, chat=thread, direct=False, private=False))
            assert result is not None
            assert result.posted == []
        result = await there.core.call(there.message("use tabs", chat=thread, direct=False, private=False))
        assert result is not None
        assert result.status == 2, "its agent has not begun, and the person is told so"
        mention = await there.core.call(there.message("use tabs", STRANGER, chat=thread, private=False))
        assert mention is not None
        await there.settle(thread)
        assert everything(there.phone.sent[-1].card).startswith(
            "You are not registered here.\nYour id: phone::mallory"
        )


# --- the guided question where others talk too ---------------------------------------------------------------


async def test_in_a_telegram_group_an_answer_to_the_question_is_the_task(tmp_path: Path, api: BotApi) -> None:
    async with on_telegram.telegram_house(tmp_path, api) as there:
        group = api.group()
        ada, otto = on_telegram.ADA, on_telegram.OTTO
        (question,) = await there.say(ada, f"/run@{BOT_NAME} on=any", chat=group.id)
        assert "Reply to this message or mention me: that is the task; /cancel discards it." in question.text
        assert await there.say(ada, "lunch?", chat=group.id) == [], "plain words are the group's"
        assert await there.say(otto, "not mine", chat=group.id, reply_to=question.id) == []
        await there.say(ada, "mend the login", chat=group.id, reply_to=question.id)
        await there.say(ada, f"/ask@{BOT_NAME} on=any", chat=group.id)
        await there.say(ada, f"@{BOT_NAME} why is it slow?", chat=group.id)
        assert [task.prompt for task in await there.tasks()] == ["mend the login", "why is it slow?"]
        (private,) = await there.say(ada, "/run on=any")
        assert "Your next message here is the task" in private.text


async def test_a_photo_that_came_with_run_in_telegram_waits_for_the_words(tmp_path: Path, api: BotApi) -> None:
    async with on_telegram.telegram_house(tmp_path, api) as there:
        api.say(on_telegram.ADA, "/run", photo=b"\x89PNG one", media_group_id="7")
        api.say(on_telegram.ADA, "", photo=b"\x89PNG two", media_group_id="7")
        await there.handled()
        machine = api.screen(on_telegram.ADA)[-1]
        assert "2 files attached." in machine.text
        (question,) = await there.press(on_telegram.ADA, machine, "any")
        assert "2 files attached." in question.text
        await there.say(on_telegram.ADA, "make it look like this")
        (task,) = await there.tasks()
        kept = await there.store.read(lambda tx: attachment_rows.of_note(tx, task.id, attachment_rows.REQUEST))
        assert [Path(file.path).read_bytes() for file in kept] == [b"\x89PNG one", b"\x89PNG two"]


async def test_in_a_slack_channel_an_answer_in_the_questions_thread_is_the_task(tmp_path: Path) -> None:
    async with slack_house.house(tmp_path) as there:
        await there.slack.command("/run")
        (machine,) = await there.slack.until(lambda said: said)
        await there.slack.press(machine, "any")
        question = await there.slack.until(
            lambda said: next((message for message in said if "Send the prompt" in shows(message)), None)
        )
        assert "Reply to this message or mention me: that is the task; /fleet cancel discards it." in shows(
            question
        )
        coffee = await there.slack.message("lunch?")
        await there.slack.message("at noon", thread=coffee)
        await there.slack.message("not mine", thread=question["ts"], user=SLACK_OTTO)
        await there.slack.message("mend the login", thread=question["ts"])
        await there.handled()
        await there.slack.command("/ask", "on=any")
        await there.handled()
        await there.slack.message("<@U0BOT> why is it slow?")
        await there.handled()
        assert [task.prompt for task in await there.tasks()] == ["mend the login", "why is it slow?"]


# --- the words of each chat -----------------------------------------------------------------------------------


def tells(words: str, said: list[dict[str, Any]]) -> bool:
    return any(words in shows(message) for message in said)


async def test_slack_is_answered_in_slacks_words(tmp_path: Path) -> None:
    async with slack_house.house(tmp_path) as there:
        for words, answer in (
            ("statsu", "Did you mean /fleet status?"),
            ("xyzzy", "/fleet help shows them all."),
            ("mute", "Muted until /fleet mute off"),
            ("cancel", "/fleet stop TASK ends a task."),
            ("mute long", "Cannot do /fleet mute"),
            ("mute short", "Usage: /fleet mute [30m"),
        ):
            await there.slack.command("/fleet", words)
            await there.slack.until(partial(tells, answer))


def test_a_text_of_ours_is_spelled_as_the_chat_types_it() -> None:
    registry = Registry(every_command())
    registry.dialects["slack"] = dialect(registry, "")
    ours = "/retry t1, or /help; see /srv/status and a/status, not /statusx; /fleet status stays."
    said = "/retry t1, or /fleet help; see /srv/status and a/status, not /statusx; /fleet status stays."
    assert registry.spelled("slack", ours) == said
    assert registry.spelled("telegram", ours) == ours


# --- what cannot be read ---------------------------------------------------------------------------------------


async def test_a_voice_alone_with_us_is_told_what_can_be_read(tmp_path: Path, api: BotApi) -> None:
    voice = {"file_id": "v1", "file_unique_id": "v1", "duration": 3}
    async with on_telegram.telegram_house(tmp_path, api) as there:
        group = api.group()
        before = len(api.screen(on_telegram.ADA))
        api.say(on_telegram.ADA, "", voice=voice)
        api.say(
            on_telegram.ADA, "", video={**voice, "width": 1, "height": 1}, caption="/run make it look like this"
        )
        api.say(on_telegram.ADA, "", chat=group.id, voice=voice)
        api.say(on_telegram.STRANGER, "", voice=voice)
        await there.handled()
        told = api.screen(on_telegram.ADA)[before:]
        assert "voice messages are not set up here" in told[0].text and "Write it as text." in told[0].text
        assert "text, pictures and files can be read here" in told[1].text
        assert await there.tasks() == [], "what was asked for with a film is not begun without it"
        assert api.screen(group.id) == []
        (stranger,) = api.screen(on_telegram.STRANGER)
        assert stranger.text.startswith("You are not registered here.")


ZONES = {"europe/berlin": "Europe/Berlin", "AMERICA/new_york": "America/New_York", "utc": "UTC"}


@pytest.mark.parametrize(("zone", "known"), ZONES.items())
async def test_a_time_zone_is_known_in_any_capitals(tmp_path: Path, zone: str, known: str) -> None:
    async with house(tmp_path) as there:
        result, (card,) = await there.say(f"/notify 22:00-07:00 {zone}")
        assert result.status == 0
        assert known in everything(card)


async def test_a_reply_is_for_its_cards_task_whatever_it_begins_with(tmp_path: Path) -> None:
    async with house(tmp_path) as there:
        await there.say("/run mend it")
        await there.say("/run mend that")
        for words in ("1 more test, please", "t1 broke this", "T1\nbroke it", "t1\u00a0broke it"):
            _, (card,) = await there.hand_over(there.message(words, reply_to="m2"))
            assert "send a message to t2" in shown(card.title), words
            _, (card,) = await there.hand_over(there.message(f"/say {words}", reply_to="m2"))
            named = words[0] in "tT"  # a number is an id only where nothing else says which task
            assert f"send a message to {'t1' if named else 't2'}" in shown(card.title), words
            _, (card,) = await there.say(f"/say {words}")
            assert "send a message to t1" in shown(card.title), words


async def test_of_several_tasks_none_is_picked(tmp_path: Path) -> None:
    async with house(tmp_path) as there:
        await there.say("/run mend it")
        await there.say("/run mend that")
        for words in ("/stop t1, t2", "/stop t1 and t2"):
            result, (card,) = await there.say(words)
            assert result.status == 2
            assert "One at a time: /stop t1" in everything(card)
        for words in ("/stop t1\n/stop t2", "stop t1\nstop t2", "/run one\n/run another", "/say t1 more\n/stop t2"):
            result, (card,) = await there.say(words)
            assert result.status == 2
            assert "none was done" in everything(card)
        result, _ = await there.say("/run mend that too\nrun the tests\n /stop is no command here")
        assert (result.status, result.task) == (0, "t3")
        result, _ = await there.say("/run serve these:\n/login\n/status of an order\n/sessions/{id}")
        assert (result.status, result.task) == (0, "t4"), "paths, as likely as commands that only show something"
        _, (card,) = await there.say("/stop --all")
        assert "Stop all?" in shown(card.title)
        result, _ = await there.say("/stop t1,")
        assert result.status == 0
        assert await there.store.read(lambda tx: tasks.stop_requested(tx, "t1"))
        assert not await there.store.read(lambda tx: tasks.stop_requested(tx, "t2"))
