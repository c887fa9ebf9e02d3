"""/run and /ask without all they need: a choice by buttons, then the words; and files that come along."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from sqlalchemy import update

from bot.cards import Card, shown
from bot.hearing import drafts
from bot.hearing.core import ChatCore
from bot.hearing.rates import PerPerson, except_console
from bot.message import Attachment
from fleet.model import ChatRef, Isolation, PersonId, TaskMode
from fleet.store import sessions, tables, tasks
from fleet.store.chat import attachments as attachment_rows
from fleet.store.chat import inbox, settings
from fleet.store.core import Tx
from tests.chat_flight import everything
from tests.chat_house import ADA, CHAT, FLEET, OTTO, STRANGER, House, house

MORE = FLEET + '[agents.claude]\ndriver = "claude"\nprogram = ["claude"]\n[repos.blog]\nurl = "/srv/blog.git"\n'


def labels(card: Card) -> list[str]:
    return [action.label for action in card.actions]


async def test_three_taps_and_the_words(tmp_path: Path) -> None:
    async with house(tmp_path, fleet_toml=MORE) as there:
        _, (repo,) = await there.say("/run", OTTO)
        assert labels(repo) == ["blog", "shop"]
        _, (machine,) = await there.press(repo, "shop", OTTO)
        assert labels(machine) == ["any", "evo-x2", "⚠ macbook"]
        _, (agent,) = await there.press(machine, "any", OTTO)
        assert labels(agent) == ["claude", "demo"]
        _, (words,) = await there.press(agent, "claude", OTTO)
        assert everything(words).startswith("Send the prompt.\nclaude · shop · any machine")
        assert await there.tasks() == []
    async with house(tmp_path, fleet_toml=MORE) as later:
        await later.core.call(later.message("Run the tests “twice” -- please", OTTO, update="after the restart"))
        (task,) = await later.tasks()
        assert (task.repo, task.machine, task.agent, task.mode) == ("shop", "", "claude", TaskMode.CHANGE)
        assert task.prompt == "Run the tests “twice” -- please"
        await later.core.call(later.message("and now something else", OTTO, update="later still"))
        assert len(await later.tasks()) == 1, "the draft was used up"


async def test_with_one_of_each_only_the_words_are_missing(tmp_path: Path) -> None:
    async with house(tmp_path) as there:
        _, (machine,) = await there.say("/ask repo=shop")
        assert shown(machine.title) == "Which machine?"
        _, (words,) = await there.press(machine, "⚠ macbook")
        assert shown(words.title) == "Send the prompt."
        await there.say("why is it slow?")
        (task,) = await there.tasks()
        assert (task.mode, task.machine, task.prompt) == (TaskMode.ASK, "macbook", "why is it slow?")


async def test_words_without_a_choice_are_kept_in_the_buttons(tmp_path: Path) -> None:
    async with house(tmp_path, fleet_toml=MORE) as there:
        result, (repo,) = await there.say("/run mend “it”  now")
        assert (result.status, labels(repo)) == (2, ["blog", "shop"])
        _, (agent,) = await there.press(repo, "blog")
        await there.press(agent, "demo")
        (task,) = await there.tasks()
        assert (task.repo, task.agent, task.machine, task.prompt) == ("blog", "demo", "", "mend “it”  now")


async def waits(there: House) -> bool:
    return await there.store.read(lambda tx: drafts.kept(tx, CHAT, ADA)) is not None


async def stopping(there: House) -> bool:
    return await there.store.read(lambda tx: tasks.stop_requested(tx, "t1"))


async def test_cancel_drops_the_draft_and_never_stops_a_task(tmp_path: Path) -> None:
    async with house(tmp_path) as there:
        await there.say("/run mend it")
        await there.say("/run on=any")
        _, (dropped,) = await there.say("Cancel.")
        assert shown(dropped.title) == "Draft discarded; no task started."
        result, _ = await there.say("these are no prompt")
        assert result.status == 2
        for words in ("/cancel", "cancel", "/cancel t1"):
            _, (nothing,) = await there.say(words)
            named = "t1" if words.endswith("t1") else "TASK"
            assert everything(nothing).startswith(f"No draft to discard.\n/stop {named} ends a task.")
        _, (of_task,) = await there.hand_over(there.message("cancel", reply_to="m1"))
        assert "/stop t1 ends a task." in everything(of_task)
        (task,) = await there.tasks()
        assert task.prompt == "mend it"
        assert there.fleet.woken == ["t1"]
        assert not await stopping(there)


@pytest.mark.parametrize("other", ["/status", "/help", "Machines!", "/waiting", "/nonsense"])
async def test_a_command_that_only_sees_keeps_the_draft(tmp_path: Path, other: str) -> None:
    async with house(tmp_path) as there:
        await there.say("/run on=any")
        await there.say(other)
        assert await there.tasks() == []
        await there.say("these are the words")
        assert [task.prompt for task in await there.tasks()] == ["these are the words"]


async def test_a_command_that_does_something_drops_the_draft_and_says_so(tmp_path: Path) -> None:
    async with house(tmp_path) as there:
        _, (card,) = await there.say("/run mend it")
        await there.say("/run on=any")
        await there.press(card, "Stop")
        assert await waits(there), "a press is no word in this conversation"
        await there.say("/retry t9")
        assert await waits(there), "what did nothing dropped nothing"
        _, (_, told) = await there.say("/stop t1")
        assert shown(told.title) == "Your /run draft was discarded."
        assert not await waits(there)


@pytest.mark.parametrize(
    ("word", "verb"),
    [
        ("Stop.", "stop"),
        ("stopp", "stop"),
        ("“yes”", "approve"),
        ("No!", "deny"),
        ("👍🏽", "cancel"),
        ("ok, great", "cancel"),
    ],
)
async def test_a_lone_word_like_a_command_begins_no_task_unasked(tmp_path: Path, word: str, verb: str) -> None:
    async with house(tmp_path) as there:
        await there.say("/run mend it")
        await there.say("/run on=any")
        for direct in (True, False):
            _, (question,) = await there.hand_over(there.message(word, direct=direct))
            assert labels(question) == [f"/{verb}", "It is the prompt"]
            assert word in everything(question)
        assert len(await there.tasks()) == 1
        assert not await stopping(there)
        await there.press(question, "It is the prompt")
        assert (await there.tasks())[0].prompt == word
        assert not await waits(there)


async def test_the_button_of_such_a_question_is_the_command(tmp_path: Path) -> None:
    async with house(tmp_path) as there:
        await there.say("/run mend it")
        await there.say("/run on=any")
        _, (question,) = await there.say("Stop.")
        await there.press(question, "/stop")
        assert await stopping(there)
        assert len(await there.tasks()) == 1
        await there.hand_over(there.message("Stop!", reply_to="m1"))
        assert "already stopping" in shown(there.last().title), "an answer to a task is for that task"


async def test_a_draft_is_one_persons_in_one_chat_and_not_for_ever(tmp_path: Path) -> None:
    async with house(tmp_path) as there:
        await there.say("/run on=any")
        for sender, chat, direct in (
            (OTTO, CHAT, True),
            (ADA, ChatRef("phone", "c2"), True),
            (STRANGER, CHAT, True),
        ):
            await there.core.call(there.message("mine", sender, chat=chat, direct=direct))
        assert await there.tasks() == []
        await there.core.call(there.message("in a group too", ADA, direct=False))
        (task,) = await there.tasks()
        assert task.prompt == "in a group too"
        await there.say("/run on=any")

        def age(tx: Tx) -> None:
            table = tables.settings
            old = '{"verb":"run","repo":"shop","machine":"*","agent":"demo","until_us":1}'
            tx.connection.execute(update(table).where(table.c.key.startswith("draft:")).values(value=old))

        await there.store.write(age)
        result, _ = await there.say("a day later")
        assert result.status == 2


async def test_files_come_with_the_request_with_later_words_and_with_a_retry(tmp_path: Path) -> None:
    photo = Attachment("shot.png", "/files/1", "image/png", 3)
    async with house(tmp_path) as there:
        await there.core.call(there.message("/run mend this", files=(photo,)))
        await there.store.write(
            lambda tx: sessions.create_session(
                tx, task="t1", machine="macbook", agent="demo", base="b" * 40, isolation=Isolation.UNSAFE_SAME_USER
            )
        )
        await there.settle()
        result, _ = await there.hand_over(there.message(reply_to="m1", files=(photo,)))
        assert result.status == 0
        await there.say("/retry t1")

        def read(tx: Tx) -> tuple[list[str], int, list[str], list[str]]:
            newest, late = attachment_rows.waiting(tx, "t1.1", "t1")
            again = attachment_rows.of_note(tx, "t2", attachment_rows.REQUEST)
            first = attachment_rows.of_note(tx, "t1", attachment_rows.REQUEST)
            return (
                [file.path for file in first],
                newest,
                [file.name for file in late],
                [file.path for file in again],
            )

        assert await there.store.read(read) == (["/files/1"], 1, ["shot.png"], ["/files/1"])


async def replies(there: House, core: ChatCore, sender: PersonId, count: int) -> int:
    """How many of so many messages get an answer."""
    posted = 0
    for _ in range(count):
        result = await core.call(there.message("/help", sender))
        assert result is not None
        posted += len(result.posted)
    return posted


async def test_who_floods_is_told_once_and_a_stranger_gets_one_line(tmp_path: Path) -> None:
    async with house(tmp_path) as there:
        still = PerPerson(limit=3, now=lambda: 0.0)
        core = ChatCore(
            there.core.context,
            there.outbox,
            there.supervisor,
            rate=except_console(still),
            strangers=PerPerson(limit=1, now=lambda: 0.0),
        )
        assert await replies(there, core, OTTO, 20) == 4, "three answers, and one word that it is enough"
        assert await replies(there, core, STRANGER, 20) == 1
        owner = PersonId("console", "anywhere", "owner")
        assert all(except_console(still)(owner) for _ in range(20))
        assert await there.store.read(inbox.pending) == []
        await core.close()


async def held(there: House, task: str) -> list[str]:
    return [
        file.path
        for file in await there.store.read(lambda tx: attachment_rows.of_note(tx, task, attachment_rows.REQUEST))
    ]


async def test_a_photo_sent_with_a_command_that_asks_back_reaches_the_task(tmp_path: Path) -> None:
    photos = tuple(Attachment(f"{n}.png", f"/files/{n}", "image/png", 3) for n in (1, 2))
    async with house(tmp_path, fleet_toml=MORE) as there:
        _, (repo,) = await there.hand_over(there.message("/ask make it look like this", files=photos))
        assert "2 files attached." in everything(repo)
        _, (agent,) = await there.press(repo, "blog")
        assert "2 files attached." in everything(agent)
        await there.press(agent, "demo")
        assert await held(there, "t1") == ["/files/1", "/files/2"]
        _, (other,) = await there.say("/ask and this")
        _, (agent,) = await there.press(other, "blog")
        assert "kept" not in everything(other) + everything(agent)
        await there.press(agent, "demo")
        assert await held(there, "t2") == []


async def test_a_photo_sent_without_words_waits_for_them_through_a_restart(tmp_path: Path) -> None:
    first, second = (Attachment(f"{n}.png", f"/files/{n}", "image/png", 3) for n in (1, 2))
    async with house(tmp_path) as there:
        _, (words,) = await there.hand_over(there.message("/run on=any", files=(first,)))
        assert "1 file attached." in everything(words)
        assert len(words.lines) <= 4
    async with house(tmp_path) as later:
        await later.core.call(later.message("like this", files=(second,), update="after the restart"))
        assert await held(later, "t1") == ["/files/1", "/files/2"]


async def test_what_was_asked_for_with_a_photo_does_not_begin_without_it(tmp_path: Path) -> None:
    photo = Attachment("1.png", "/files/1", "image/png", 3)
    async with house(tmp_path, fleet_toml=MORE) as there:
        _, (repo,) = await there.hand_over(there.message("/ask repo=blog like this", files=(photo,)))

        def age(tx: Tx) -> None:
            for key, value in settings.beginning(tx, "held-files:").items():
                settings.put(tx, key, json.dumps({**json.loads(value), "until_us": 1}))

        await there.store.write(age)
        result, (told,) = await there.press(repo, "demo")
        assert result.status == 2
        assert "Send them again" in everything(told)
        assert await there.tasks() == []


async def test_a_task_is_named_as_a_voice_says_it(tmp_path: Path) -> None:
    async with house(tmp_path) as there:
        for text in ("/run one", "/run two", "Stop task one.", "stop the task number 2", "/run task 3 of the list"):
            await there.say(text)
        stopped = await there.store.read(lambda tx: [tasks.stop_requested(tx, each) for each in ("t1", "t2", "t3")])
        assert stopped == [True, True, False]
        assert (await there.tasks())[0].prompt == "task 3 of the list"
        _, (card,) = await there.say("/say task three also the docs")
        assert "t3" in everything(card)
