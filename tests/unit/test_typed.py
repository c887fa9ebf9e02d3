"""What a tired person types on a phone: names, ids and keywords in any form, options in the wrong place.

It is understood or asked about. It never silently becomes something else that costs money or stops the fleet.
"""

from __future__ import annotations

import asyncio
from dataclasses import replace
from pathlib import Path

import pytest

from bot.cards import Card, shown
from bot.hearing import drafts
from bot.hearing.drafts import Draft
from bot.message import Attachment
from bot.parse import RunRequest, run_request
from fleet.model import ChatRef, TaskState
from fleet.questions import Option, Question
from fleet.store import approvals, queue, tasks
from fleet.store.core import Tx
from fleet.store.named import of_another_kind, plain_id
from tests.chat_flight import Flight
from tests.chat_house import ADA, CHAT, FLEET, OTTO, House, house
from tests.schedule_house import SetClock, look

COLOURS = (Question("Which colour?", (Option("red", "like a fire engine"), Option("blue"))),)

TWO_AGENTS = FLEET.replace(
    "[repos.shop]",
    """[agents.claude]
driver = "command"
program = ["cat"]
model = "opus"
models = ["opus", "sonnet"]
[repos.shop]
agent = "demo"
""",
)


def everything(card: Card) -> str:
    return "\n".join(map(shown, (card.title, *card.lines)))


async def told(there: House, text: str) -> str:
    _, cards = await there.say(text)
    return "\n".join(map(everything, cards))


@pytest.mark.parametrize(
    ("args", "meant"),
    [
        ("--repo shop --on evo-x2 fix", RunRequest("fix", "shop", "evo-x2")),
        ("—agent demo fix", RunRequest("fix", agent="demo")),
        ("--needs macos fix", RunRequest("fix", needs=("macos",))),
        ("--repo a --repo b fix", RunRequest("--repo b fix", "a")),
        ("--repo", RunRequest("--repo")),
        ("-- --repo shop fix", RunRequest("--repo shop fix")),
    ],
)
def test_an_option_is_read_as_a_shell_takes_it(args: str, meant: RunRequest) -> None:
    assert run_request(args) == meant


async def test_a_lone_word_in_reply_to_a_card_is_about_that_card(tmp_path: Path) -> None:
    async with house(tmp_path) as there:
        await there.say("/run one")
        _, (made,) = await there.say("/schedule every day 9:00 run x")
        messages = [post.card for post in there.phone.sent if not post.edits]
        of_task, of_schedule = "m1", f"m{messages.index(made) + 1}"

        async def replied(text: str, to: str) -> str:
            _, cards = await there.hand_over(there.message(text, reply_to=to))
            return "\n".join(map(everything, cards))

        assert "or only s1?" in await replied("pause", of_schedule)
        assert "or only t1?" in await replied("pause", of_task)
        assert "/schedule resume s1" in await replied("resume", of_schedule)
        assert "/go t1 lets its agent go on. /resume fleet" in await replied("resume", of_task)
        assert "you reply to s1, which is no task\n/schedule pause s1" in await replied("stop", of_schedule)
        assert not await there.store.read(queue.pauses)
        assert not await there.store.read(lambda tx: tasks.stop_requested(tx, "t1"))
        assert "no such task" in await replied("/stop t7 now", of_task)
        assert "t1 · stopping" in await replied("/stop it now", of_task)


async def test_everybody_is_on_a_page_of_people(tmp_path: Path) -> None:
    more = "".join(f'[[people]]\nname = "P{n}"\nrole = "viewer"\nids = ["phone::p{n}"]\n' for n in range(18))
    async with house(tmp_path, fleet_toml=FLEET + more) as there:
        _, (card,) = await there.say("/people")
        seen = everything(card)
        while any(action.label == "More" for action in card.actions):
            _, (card,) = await there.press(card, "More")
            seen += everything(card)
        assert all(f"phone::{name} " in seen.replace("\n", " ") for name in ("vera", "ada", "p0", "p17"))
        assert "21 people · 17-21" in shown(card.title)


async def test_words_that_sound_like_stop_come_with_its_button(tmp_path: Path) -> None:
    async with house(tmp_path) as there:
        await Flight.begin(there)
        for text, offered in (("stop it!", True), ("Please stop", True), ("the stop button is red", False)):
            _, (card,) = await there.hand_over(there.message(text, reply_to="m1"))
            assert "sent to the running agent" in everything(card) and bool(card.actions) is offered, text
        _, (card,) = await there.hand_over(there.message("cancel that", reply_to="m1"))
        await there.press(card, "Stop t1")
        assert await there.store.read(lambda tx: tasks.stop_requested(tx, "t1"))
        result, _ = await there.say("/run mend that")  # waits in the queue
        for text, said in (("stop it!", f"/stop {result.task} ends it."), ("and the docs", "Edit the message")):
            _, (card,) = await there.say(f"/say {result.task} {text}")
            assert "has not started yet" in everything(card) and said in everything(card)


@pytest.mark.parametrize(
    ("args", "option"),
    [
        *(
            ("repos=shop x", "repo"),
            ("needs= macos x", "needs"),
            ("machien=evo x", "machine"),
            ("--budgt 5usd x", "budget"),
            ("—agnet=a x", "agent"),
        ),
        *(("-- repos=shop x", ""), ("x repos=shop", ""), ("node=18 breaks", ""), ("--force is ignored", "")),
        *(("", ""), ("=", ""), ("a=b", ""), ("report = wrong", "")),
    ],
)
def test_a_misspelled_option_is_known_as_one(args: str, option: str) -> None:
    assert run_request(args).meant == option


async def test_no_option_becomes_words_for_an_agent_unasked(tmp_path: Path) -> None:
    async with house(tmp_path, fleet_toml=TWO_AGENTS) as there:
        for text in ("/run repos=shop fix", "/run --modle opus fix", "/schedule every day 9:00 run agnet=demo fix"):
            result, (card,) = await there.say(text)
            assert result.status == 2 and "Did you mean " in everything(card), text
        for text in ("/run help", "/run --help", "/ask —help", "/schedule ?", "/stop -h"):
            assert "Needs the right to" in await told(there, text), text
        assert "“x repos=shop" not in await told(there, "/status") and not await there.tasks()
        result, (asked,) = await there.say("/run agent=claude fix it on=EVO-X2 model=opus")
        assert result.status == 2 and not await there.tasks()
        await there.press(asked, "Use it as an option")
        await there.press(asked, "Use it as an option")  # twice: nothing starts again
        (task,) = await there.tasks()
        assert (task.prompt, task.machine, task.agent, task.model) == ("fix it", "evo-x2", "claude", "opus")
        _, (asked,) = await there.say("/run explain on=evo-x2")
        await there.press(asked, "It is part of my words")
        assert (await there.tasks())[0].prompt == "explain on=evo-x2"
        for words in (
            "set repo=none",
            "mail @alice",
            "use model=gpt",
            "spend budget=five",
            "-- x on=evo-x2",
            "keep after=x",
        ):
            await there.say(f"/run {words}")
        assert [task.prompt for task in (await there.tasks())[:6]] == [
            *("keep after=x", "x on=evo-x2", "spend budget=five", "use model=gpt", "mail @alice", "set repo=none"),
        ]


async def test_a_schedules_words_that_end_in_an_option_are_asked_about(tmp_path: Path) -> None:
    async with house(tmp_path) as there:
        _, (asked,) = await there.say("/schedule every day 9:00 run tidy @macbook")
        await there.press(asked, "Use it as an option")
        assert "run in shop with demo on macbook: “tidy”" in everything(there.last())


async def test_pause_with_the_name_of_a_part_asks_what_is_meant(tmp_path: Path) -> None:
    async with house(tmp_path) as there:
        await there.say("/run one")
        await there.say("/schedule every day 9:00 run x")
        for text, label in (
            ("/pause Macbook lid closed", "Drain macbook"),
            ("/pause #t1", "Stop t1"),
            ("/pause s1", "Pause s1"),
        ):
            result, (asked,) = await there.say(text)
            assert result.status == 2 and not await there.store.read(queue.pauses), text
            await there.press(asked, label)
            await there.say("/undrain MACBOOK.")
        assert "paused: by Ada" in await told(there, "/schedules S1.")
        _, (asked,) = await there.say("/pause macbook")
        await there.press(asked, "Pause the fleet")
        assert [pause.reason for pause in (await there.store.read(queue.pauses)).values()] == ["macbook"]
        assert "unknown repository macbook\n/undrain macbook" in await told(there, "/resume macbook")
        assert "Fleet resumed" in await told(there, "/resume all")
        assert "It has no end of its own: /resume ends it." in await told(there, "/pause for 2h")


SHOWS = (
    *(
        ("/stop ALL.", "Stop all? 1 open task"),
        ("/stop Everything!", "Stop all? 1 open task"),
        ("/say T1: hi", "message to t1"),
    ),
    *(
        ("/say #t1, hi", "message to t1"),
        ("/tell @t1 hi", "message to t1"),
        ("/bump (t1)", "t1 is first in line"),
        ("/queue T1", "1 task queued"),
    ),
    *(("/stop s1", "s1 is a schedule: /schedules s1"), ("/schedule pause t1", "t1 is a task: /session t1")),
    *(
        ("/schedule delete s1 s2", "several schedules are named"),
        ("/schedules delete s1", "Write /schedule delete s1"),
    ),
    *(("/schedule S1.", "s1 · active"), ("/schedule list", "1 schedule"), ("/agents Demo.", "demo")),
    *(("/drain Evo‑X2, its fan", "evo-x2 drained"), ("/machines MACBOOK", "macbook · 0/2")),
    *(("/use Shop.", "This chat uses shop"), ("/use OFF.", "no repository by default"), ("/unmute", "/mute off?")),
    *(("/mute for 2 hours", "Muted until"), ("/mute 1w", "Muted until"), ("/mute Off.", "Sound is on")),
    *(("/notify 22:00 – 07:00", "quiet 22:00-07:00 "), ("/zone new york", "America/New_York")),
    *(("/zone EST", "did you mean America/New_York?"), ("/zone UTC+2", "'UTC+2' is no time zone\n")),
    *(("/zone Europe / Berlin", "Your time zone: Europe/Berlin"), ("/logs file t1", "t1 · log")),
    *(
        ("/budget t1 5usd", "“t1 5usd” is no task"),
        ("/budget shop", "“shop” is no task"),
        ("/budget #T1", "Budgets of t1"),
    ),
    *(("/status macbook", "/machines macbook"), ("/status shop", "/history shop"), ("/cost 30d", "/digest 30d")),
    *(
        ("/cancel t1", "/stop t1 ends"),
        ("/revoke otto", "/revoke phone::otto"),
        ("/people remove Otto", "/revoke ID"),
    ),
    *(("`/status t1`", "t1 · shop"), ("```\n/status t1\n```", "t1 · shop"), ("*status* t1", "t1 · shop")),
    *(("/“status”", "fleet: "), ("/digest 7d\u00a0more", "This measures the harness")),
    *(
        ("/digest yesterday", "Digest"),
        ("/digest 2026-11-01…2026-11-30", "Digest"),
        ("/digest 2026-11-01", "Digest"),
    ),
    *(
        ("/schedule pause\u00a0s1", "s1 · paused"),
        ("/schedule run s1", "t2 · shop"),
        ("/schedule remove\nS1.", "s1 · deleted"),
    ),
    *(("/stop `t2`", "t2 · stopping"), ("/stop #1!", "t1 · stopping")),
)


async def test_a_thumbs_form_is_understood(tmp_path: Path) -> None:
    async with house(tmp_path) as there:
        await there.say("/run one")
        await there.say("/schedule every day 9:00 run x")
        for text, answer in SHOWS:
            assert answer in await told(there, text), text


async def test_words_for_one_task_never_reach_another_that_is_the_only_open_one(tmp_path: Path) -> None:
    async with house(tmp_path) as there:
        await there.say("/run one")
        result, (card,) = await there.say("/say t9: delete it")
        assert result.status == 2 and "no such task" in everything(card)
        assert "a message to t1" in await told(there, "/say 9. is wrong"), "a numbered list names no task"


async def test_the_digests_hour_is_set_in_any_order(tmp_path: Path) -> None:
    async with house(tmp_path) as there:
        for text, hour in (
            *(
                ("6 pm", "18:00 · UTC"),
                ("at 18:30", "18:30 · UTC"),
                ("Europe/Berlin 7:00", "07:00 · Europe/Berlin"),
            ),
            *(("7.", "07:00 · UTC"), ("on", "18:00 · UTC"), ("in Europe/Berlin", "18:00 · Europe/Berlin")),
        ):
            assert f"every day at {hour}" in await told(there, f"/digest daily {text}"), text
        for text in ("25:00", "18:00 Berlim", "9:00 run x", "9:00 and 17:00", "weekly"):
            assert "Cannot set the daily digest" in await told(there, f"/digest daily {text}"), text
        assert "any more" in await told(there, "/digest daily Off.")


def test_an_id_is_found_in_what_a_keyboard_puts_around_it() -> None:
    assert {plain_id(typed) for typed in ("t7", "#T7!", "(t7)", "t7…", "`t7`", " t7. ")} == {"t7"}
    assert of_another_kind("#S3.", "t") == "s3 is a schedule: /schedules s3"
    assert [of_another_kind(typed, "t") for typed in ("t3", "shop", "s", "sx3", "")] == [""] * 5


async def test_an_id_with_a_slash_is_no_command_and_never_a_prompt(tmp_path: Path) -> None:
    async with house(tmp_path) as there:
        assert "t1 is a task: /session t1" in await told(there, "/t1")
        await there.say("/run repo=shop")
        assert "a3 is a request: /waiting a3" in await told(there, "/A3")
        assert not await there.store.read(tasks.last_number)


async def test_a_picture_without_words_is_told_what_it_lacks(tmp_path: Path) -> None:
    async with house(tmp_path) as there:
        picture = Attachment("a.png", "/f/a.png", "image/png", 3)
        _, (card,) = await there.hand_over(there.message(files=(picture,)))
        assert "it came without words\nSend it again with a caption" in everything(card)


async def test_whom_the_platform_hides_has_no_rights_and_is_told_why(tmp_path: Path) -> None:
    async with house(tmp_path) as there:
        hidden = replace(there.message("/run rm -rf", private=False), nameless=True)
        _, (card,) = await there.hand_over(hidden)
        assert everything(card).startswith("I cannot see who you are") and not await there.tasks()
        await there.hand_over(replace(there.message("/run x", private=False, direct=False), nameless=True))
        assert len(there.phone.sent) == 1 and not await there.tasks()


async def test_a_group_that_becomes_a_supergroup_keeps_what_was_set_there(tmp_path: Path) -> None:
    there_now = ChatRef(CHAT.adapter, "c2")
    async with house(
        tmp_path, fleet_toml=TWO_AGENTS + '[repos.web]\nurl = "/srv/web.git"\nagent = "demo"\n'
    ) as there:
        await there.say("/use web")
        await there.say("/mute 2h")
        await there.say("/run on=* agent=demo")
        await there.core.call(replace(there.message(), moved_to="c2"))

        def draft(tx: Tx) -> Draft | None:
            return drafts.kept(tx, there_now, ADA)

        kept = await there.store.read(draft)
        assert kept is not None and "repo=web" in kept.given
        result = await there.core.call(there.message("/ask why?", chat=there_now))
        assert (await there.tasks())[0].repo == "web" and result.task == "t1"


async def test_a_card_offers_nothing_that_is_always_refused(tmp_path: Path) -> None:
    clock = SetClock()
    async with house(tmp_path, clock=clock) as there:
        await there.say("/schedule in 30 min run once")
        await there.say("/digest daily 18:00")
        clock.at("2026-11-28T19:00")
        await look(there)
        _, (over,) = await there.say("/schedules s1")
        _, (digest,) = await there.say("/schedules s2")
        assert ([button.label for button in over.actions], [button.label for button in digest.actions]) == (
            [],
            ["Pause", "Delete"],
        )
        assert "every day at 18:00" in await told(there, "/digest daily")


async def test_what_is_asked_about_many_tasks_fits_a_phone(tmp_path: Path) -> None:
    async with house(tmp_path) as there:
        assert "No tasks yet" in await told(there, "/sessions")
        for _ in range(12):
            await there.say("/run x")
        assert await told(there, "/sessions") == "0 sessions at work\n12 tasks wait in /queue."
        assert (await told(there, "/stop")).endswith("Add a task: …, t5, t6, t7, t8, t9, t10, t11, t12")
        assert "11. t11" in await told(there, "/queue t12")
        await there.say("/stop all yes")
        assert "12 tasks stopping already, and no other is open" in await told(there, "/stop all")


async def test_an_answer_after_the_end_says_so_and_two_at_once_are_one(tmp_path: Path) -> None:
    async with house(tmp_path) as there:
        flight = await Flight.begin(there)
        await flight.ask("{}", questions=COLOURS)
        red, blue, _ = there.last().actions
        answers = [there.message(pressed=red.token, sender=OTTO), there.message(pressed=blue.token)]
        ended = await asyncio.gather(*map(there.core.call, answers))
        assert sorted(result.status for result in ended) == [0, 2]
        await flight.ask("{}", questions=COLOURS)
        await there.store.write(lambda tx: tasks.move(tx, "t1", TaskState.STOPPED, "by Ada", "airboss"))
        assert "t1 has ended: it is stopped\n/retry t1 runs it again." in await told(there, "/approve a2 red")


async def test_every_option_of_a_question_is_shown_or_counted(tmp_path: Path) -> None:
    async with house(tmp_path) as there:
        flight = await Flight.begin(there)
        many = tuple(Option(f"colour {number}", "of many") for number in range(1, 15))
        await flight.ask("{}", questions=(Question("Which?", many),))
        card = there.last()
        assert "12 · colour 12\nand 2 more that are not shown" in everything(card) and "of many" not in everything(
            card
        )
        assert [button.label for button in card.actions][-2:] == ["12 · colour 12", "No answer"]
        await there.hand_over(there.message("14", OTTO, reply_to="m1"))
        (answer,) = await there.store.write(lambda tx: approvals.take_decided(tx, "t1.1"))
        assert answer.reason == "colour 14"


async def test_a_schedules_new_words_without_a_verb_are_told_what_is_missing(tmp_path: Path) -> None:
    async with house(tmp_path) as there:
        await there.say("/schedule every day 9:00 ask x")
        assert "How should s1 change?" in await told(there, "/schedule edit s1")
        assert "write ask before its words" in await told(there, "make it blue")
        assert "“make it blue”" in await told(there, "ask make it blue")


async def test_a_link_to_the_bot_opens_the_overview_whatever_is_in_it(tmp_path: Path) -> None:
    async with house(tmp_path) as there:
        result, (card,) = await there.say("/start from-the-website")
        assert result.status == 0
        assert "/run" in everything(card) and card.actions
