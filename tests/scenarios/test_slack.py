"""Slack from a thumb to an effect and back: the real libraries against an emulator of Slack."""

from __future__ import annotations

from functools import partial
from pathlib import Path
from typing import Any

import pytest

from bot.cards import Action, Card, Tone, line
from bot.telling import buttons
from fleet.events import PermissionAsked, Refs, Source
from fleet.model import ChatRef, Isolation
from fleet.store import approvals, ledger, sessions
from fleet.store.chat import moves
from fleet.store.core import Tx
from tests.far_end.slack import (
    ADA,
    ADAS_DM,
    FLEET,
    MALLORY,
    OTHER,
    OTTO,
    TEAM,
    VERA,
    button,
    shows,
)
from tests.scenarios.slack_house import House, house, say

# --- the ways to a command ----------------------------------------------------------------------------------


async def test_every_way_of_asking_reaches_the_same_command(tmp_path: Path) -> None:
    async with house(tmp_path) as there:
        await there.slack.command("/fleet", "status")
        await there.slack.command("/ab-fleet")
        await there.slack.message("<@U0BOT> status")
        await there.slack.message("!status")
        await there.slack.message("Status", channel=ADAS_DM)
        await there.slack.command("/ab-machines")
        await there.handled()
        await there.settled()
        texts = [message["text"] for message in await there.slack.said()]
        assert [text.split(" ", 1)[0] for text in texts] == ["fleet:"] * 4 + ["2"]
        (direct,) = await there.slack.said(ADAS_DM)
        assert direct["text"].startswith("fleet: 0 agents active")


async def test_help_shows_what_can_be_typed_in_slack(tmp_path: Path) -> None:
    async with house(tmp_path) as there:
        await there.slack.command("/fleet", "help")
        await there.slack.command("/fleet", "help mute")
        await there.handled()
        overview, task = map(shows, await there.slack.said())
        assert "write /fleet and one of:" in overview and "Work: run change" in overview and "!stop" in overview
        assert "/run" not in overview, "another app may have that name"
        assert "/mute" not in overview.replace("/fleet mute", "")
        assert "/fleet mute [30m" in task


async def test_help_shows_a_group_in_the_same_message(tmp_path: Path) -> None:
    async with house(tmp_path) as there:
        await there.slack.command("/fleet", "help")
        for label, title in (("Look", "Look · write /fleet"), ("Back", "airboss · write /fleet")):
            await there.handled()
            (only,) = await there.slack.said()
            await there.slack.press(only, label)
            await there.handled()
            await there.settled()
            (only,) = await there.slack.said()
            assert title in shows(only)


async def test_help_names_the_commands_as_this_workspace_has_them(tmp_path: Path) -> None:
    async with house(tmp_path) as there:
        await there.slack.command("/ab-machines")
        await there.slack.command("/ab-fleet", "help")
        await there.handled()
        _, overview = map(shows, await there.slack.said())
        assert "/ab-run" in overview and "/ab-fleet status" in overview


async def test_chatter_in_a_channel_is_neither_kept_nor_answered(tmp_path: Path) -> None:
    async with house(tmp_path) as there:
        for text in ("status of lunch?", "!important", "<@U02OTTO> status", "run for it"):
            await there.slack.message(text)
        await there.slack.message("hello", thread=await there.slack.message("coffee?", user=OTTO))
        await there.handled()
        assert await there.slack.said() == []
        there.proxy.envelopes.clear()
        assert await there.store.read(count_inbox) == 1, "a reply in a thread may be ours; the rest is not kept"


# --- a session is a thread ----------------------------------------------------------------------------------


async def test_a_task_is_a_thread_that_is_steered_and_stopped_by_words(tmp_path: Path) -> None:
    async with house(tmp_path) as there:
        await there.slack.command("/run", "mend it", user=OTTO)
        await there.handled()
        (parent,) = await there.slack.said()
        assert "thread_ts" not in parent
        await there.slack.message("use tabs", thread=parent["ts"], user=OTTO)
        await there.handled()
        assert "its agent has not started yet" in shows((await there.slack.said())[-1])
        await there.slack.message("!stop", thread=parent["ts"], user=OTTO)
        await there.slack.message("<@U0BOT> stop", thread=parent["ts"], user=OTTO)
        await there.handled()
        assert await there.stopping("t1")
        replies = (await there.slack.said())[1:]
        assert {message["thread_ts"] for message in replies} == {parent["ts"]}
        assert any("t1 · stopping" in shows(message) for message in replies)


async def test_a_task_asked_for_in_a_thread_lives_there_and_words_go_to_the_newest(tmp_path: Path) -> None:
    async with house(tmp_path) as there:
        await there.slack.command("/run", "mend it")
        await there.handled()
        (parent,) = await there.slack.said()
        await there.slack.message("!run mend it better", thread=parent["ts"])
        await there.slack.message("!stop", thread=parent["ts"])
        await there.handled()
        await there.settled()
        assert (await there.stopping("t1"), await there.stopping("t2")) == (False, True)
        assert {message["thread_ts"] for message in (await there.slack.said())[1:]} == {parent["ts"]}


async def test_a_button_beside_a_task_answers_in_its_thread(tmp_path: Path) -> None:
    async with house(tmp_path) as there:
        await there.slack.command("/run", "mend it")
        await there.handled()
        (parent,) = await there.slack.said()
        await there.slack.press(parent, "Stop")
        await there.handled()
        assert await there.stopping("t1")
        assert (await there.slack.said())[-1]["thread_ts"] == parent["ts"]


async def test_what_waits_for_a_person_mentions_them_and_is_seen_in_the_channel(tmp_path: Path) -> None:
    async with house(tmp_path) as there:
        await there.slack.command("/run", "mend it")
        await there.handled()
        (parent,) = await there.slack.said()
        card = Card(line("t1 · failed"), mention=f"slack:{TEAM}:{ADA}", tone=Tone.BAD)
        await say(there, card, ping=True, task="t1")
        await say(there, Card(line("t1 · landed"), mention=f"slack:{TEAM}:{ADA}"), task="t1")
        await say(there, Card(line("t1 · x"), mention=f"slack:T99OTHER:{OTTO}"), ping=True, task="t1")
        await there.settled()
        *_, failed, landed, foreign = await there.slack.said()
        sent = there.proxy.called("chat.postMessage")
        assert f"<@{ADA}>" in shows(failed) and failed["text"].startswith(f"<@{ADA}>")
        assert "<@" not in shows(landed) + landed["text"] + shows(foreign) + foreign["text"]
        assert [post.get("reply_broadcast") for post in sent[-3:]] == [True, None, True]
        assert {reply["thread_ts"] for reply in (failed, landed, foreign)} == {parent["ts"]}


# --- buttons ------------------------------------------------------------------------------------------------


async def test_an_agents_question_is_answered_by_a_button_and_says_by_whom(tmp_path: Path) -> None:
    async with house(tmp_path) as there:
        await there.slack.command("/run", "mend it", user=OTTO)
        await there.handled()
        await there.store.write(agent_asks)
        await there.settled()
        question = (await there.slack.said())[-1]
        assert "rm -rf build" in shows(question) and f"<@{OTTO}>" in shows(question)
        assert button(question, "Deny")["style"] == "danger"
        for presser in (VERA, MALLORY):
            await there.slack.press(question, "Allow once", user=presser)
        await there.handled()
        assert await there.store.read(approvals.waiting)
        await there.slack.press(question, "Allow once", user=OTTO)
        await there.handled()
        assert await there.store.read(approvals.waiting) == []
        edited = next(message for message in await there.slack.said() if message["ts"] == question["ts"])
        assert "approved" in shows(edited) and "Otto" in shows(edited) and "press-0" not in shows(edited)


def agent_asks(tx: Tx) -> None:
    """The agent of t1 wants to remove a directory."""
    session = sessions.create_session(
        tx, task="t1", machine="evo-x2", agent="demo", base="b" * 40, isolation=Isolation.UNSAFE_SAME_USER
    )
    asked = PermissionAsked("q1", "Bash", "rm -rf build", (), "", "Bash needs a yes")
    refs = Refs(task="t1", session=session.id)
    ledger.append(tx, asked, actor="agent:demo", source=Source.AGENT, refs=refs)
    approvals.open_ask(
        tx, session=session, ask="q1", tool="Bash", request="{}", command="rm -rf build", paths=(),
        reason="Bash needs a yes", expires_us=tx.now_us() + 3_600_000_000,
    )  # fmt: skip


def count_inbox(tx: Tx) -> int:
    return int(tx.connection.exec_driver_sql("SELECT count(*) FROM inbox").scalar_one())


async def test_a_button_works_once_here_and_for_who_may(tmp_path: Path) -> None:
    async with house(tmp_path) as there:
        await there.slack.command("/run", "mend it", user=OTTO)
        await there.handled()
        (parent,) = await there.slack.said()
        for presser, channel in ((VERA, FLEET), (MALLORY, FLEET), (OTTO, OTHER)):
            await there.slack.press(parent, "Stop", user=presser, channel=channel)
        forged = {**button(parent, "Stop"), "value": "forged"}
        await there.slack.press_value(parent, forged, user=OTTO)
        await there.handled()
        assert not await there.stopping("t1")
        await there.slack.press(parent, "Stop", user=OTTO)
        await there.slack.press(parent, "Stop", user=OTTO)
        await there.handled()
        assert await there.stopping("t1")
        last = (await there.slack.said())[-1]
        assert "pressed it already" in shows(last)


# --- who may ------------------------------------------------------------------------------------------------


async def test_a_stranger_gets_one_line_with_their_id_and_nothing_else(tmp_path: Path) -> None:
    async with house(tmp_path) as there:
        await there.slack.command("/run", "mine bitcoin", user=MALLORY)
        await there.handled()
        (only,) = await there.slack.said()
        assert f"slack:{TEAM}:{MALLORY}" in shows(only)
        assert await there.tasks() == []


@pytest.mark.parametrize(
    "more",
    [{"user_team": "T99OTHER"}, {"team": "T99OTHER"}, {"source_team": "T99OTHER"}, {"is_ext_shared_channel": True}],
    ids=lambda more: next(iter(more)),
)
async def test_a_guest_from_another_workspace_is_a_stranger(tmp_path: Path, more: dict[str, Any]) -> None:
    async with house(tmp_path) as there:
        await there.proxy.event("<@U0BOT> run x", user=ADA, channel=FLEET, ts="1.1", **more)
        await there.handled()
        (only,) = await there.slack.said()
        assert "not registered here" in shows(only)
        assert f"slack:{TEAM}:{ADA}" not in shows(only)
        assert await there.tasks() == []


async def test_a_card_for_a_person_arrives_in_their_private_chat_and_its_buttons_and_edits_work_there(
    tmp_path: Path,
) -> None:
    async with house(tmp_path) as there:
        for number in (1, 2):
            await there.store.write(partial(waits_for_ada, there=there, number=number))
            await there.settled()
        assert await there.store.read(lambda tx: moves.now_at(tx, "slack", ADA)) == ADAS_DM
        first, second = await there.slack.said(ADAS_DM)
        assert "waits for you 1" in shows(first) and "waits for you 2" in shows(second)
        await there.slack.press(second, "Status", channel=ADAS_DM)
        await there.slack.until(lambda said: len(said) == 3, ADAS_DM)
        edited = Card(line("decided"))
        await there.store.write(lambda tx: buttons.change(there.outbox.open(tx), "k", edited))
        await there.slack.until(lambda said: any("decided" in shows(each) for each in said), ADAS_DM)


def waits_for_ada(tx: Tx, there: House, number: int) -> None:
    card = Card(line(f"waits for you {number}"), actions=(Action("Status", "/status", once=False),))
    there.outbox.open(tx).post(ChatRef("slack", moves.now_at(tx, "slack", ADA)), card, key="k")
