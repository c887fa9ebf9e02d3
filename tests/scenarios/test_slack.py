"""Slack from a thumb to an effect and back: the real libraries against an emulator, with what befalls a network."""

from __future__ import annotations

import asyncio
import contextlib
import json
import logging
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import aiohttp
import pytest

from bot.cards import Action, Card, Tone, line
from bot.chats.slack_chat import from_secrets
from bot.commands import every_command
from bot.deliver import post, repost
from bot.message import Message
from bot.registry import Registry
from fleet.config import Secrets
from fleet.errors import Misused
from fleet.events import PermissionAsked, Refs, Source
from fleet.model import ChatRef, Isolation
from fleet.store import approvals, ledger, sessions
from fleet.store.core import Tx
from fleet.untrusted import Untrusted
from tests.far_end.slack import (
    ADA,
    ADAS_DM,
    APP_TOKEN,
    BOT_TOKEN,
    FLEET,
    MALLORY,
    OTHER,
    OTTO,
    SIGNING,
    TEAM,
    VERA,
    button,
    running_slack,
    shows,
)
from tests.far_end.slack_proxy import proxied
from tests.scenarios.slack_house import House, house, served, settings

HERE = ChatRef("slack", FLEET)


async def say(there: House, card: Card, **more: Any) -> int:
    return await there.store.write(lambda tx: post(tx, HERE, card, **more))


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
        await there.settled(HERE, ChatRef("slack", ADAS_DM))
        texts = [one["text"] for one in await there.slack.said()]
        assert [text.split(" ", 1)[0] for text in texts] == ["fleet:"] * 4 + ["2"]
        (direct,) = await there.slack.said(ADAS_DM)
        assert direct["text"].startswith("fleet: 0 agents active")


async def test_help_shows_what_can_be_typed_in_slack(tmp_path: Path) -> None:
    async with house(tmp_path) as there:
        await there.slack.command("/fleet", "help")
        await there.slack.command("/fleet", "help mute")
        await there.handled()
        overview, one = map(shows, await there.slack.said())
        assert "/fleet status" in overview and "/run" in overview and "!stop" in overview
        assert "/mute" not in overview.replace("/fleet mute", "")
        assert "/fleet mute [30m" in one


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
        assert "its agent has not begun yet" in shows((await there.slack.said())[-1])
        await there.slack.message("!stop", thread=parent["ts"], user=OTTO)
        await there.slack.message("<@U0BOT> stop", thread=parent["ts"], user=OTTO)
        await there.handled()
        assert await there.stopping("t1")
        replies = (await there.slack.said())[1:]
        assert {one["thread_ts"] for one in replies} == {parent["ts"]}
        assert any("t1 · stopping" in shows(one) for one in replies)


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
        assert [one.get("reply_broadcast") for one in sent[-3:]] == [True, None, True]
        assert {one["thread_ts"] for one in (failed, landed, foreign)} == {parent["ts"]}


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
        edited = next(one for one in await there.slack.said() if one["ts"] == question["ts"])
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
        assert "I do not know you" in shows(only)
        assert f"slack:{TEAM}:{ADA}" not in shows(only)
        assert await there.tasks() == []


# --- once, whatever happens ---------------------------------------------------------------------------------


async def test_an_envelope_that_comes_again_has_one_effect(tmp_path: Path) -> None:
    async with house(tmp_path) as there:
        await there.slack.command("/run", "mend it")
        await there.slack.message("<@U0BOT> run it too")
        for envelope in list(there.proxy.envelopes):
            for _ in range(3):
                await there.proxy.again(envelope)
        mention = dict(there.proxy.envelopes[-1]["payload"])
        twin = {**mention, "event_id": "Ev2", "event": {**mention["event"], "type": "app_mention"}}
        await there.proxy.deliver("events_api", twin)
        await there.handled()
        assert [task.prompt for task in await there.tasks()] == ["mend it", "it too"]
        assert len(await there.slack.said()) == 2


async def test_what_cannot_be_committed_is_not_acknowledged_and_comes_again(tmp_path: Path) -> None:
    refusing = True

    def receive(core: Any) -> Any:
        async def take(message: Message) -> bool:
            if refusing:
                raise RuntimeError("the disk is full")
            return bool(await core.receive(message))

        return take

    home = tmp_path / "home"
    home.mkdir()
    async with (
        running_slack(tmp_path / "slack") as slack,
        proxied(slack) as proxy,
        served(home, proxy, receive=receive) as there,
    ):
        await slack.connected()
        asking = asyncio.create_task(slack.command("/run", "mend it"))
        while not proxy.envelopes:
            await asyncio.sleep(0.01)
        with pytest.raises(TimeoutError):
            async with asyncio.timeout(0.3):
                await proxy.acked(proxy.envelopes[0]["envelope_id"])
        refusing = False
        await proxy.again(proxy.envelopes[0])
        await asking
        await there.handled()
        assert [task.prompt for task in await there.tasks()] == ["mend it"]


async def test_a_crash_between_commit_and_effect_loses_and_doubles_nothing(tmp_path: Path) -> None:
    home = tmp_path / "home"
    home.mkdir()
    async with running_slack(tmp_path / "slack") as slack, proxied(slack) as proxy:
        async with served(home, proxy) as first:
            await slack.connected()
            await first.core.close()  # it handles nothing from here on; what comes is committed and acknowledged
            await slack.command("/run", "mend it")
            assert len(proxy.acks) == 1 and await first.tasks() == []
        async with served(home, proxy) as second:
            await second.handled()
            await proxy.again(proxy.envelopes[0])
            await second.handled()
            assert [task.prompt for task in await second.tasks()] == ["mend it"]
            assert len(await slack.said()) == 1


# --- a bad network ------------------------------------------------------------------------------------------


async def test_patience_is_kept_for_one_channel_while_others_go_on(tmp_path: Path) -> None:
    async with house(tmp_path) as there:
        there.proxy.fail("chat.postMessage", status=429, retry_after="1", channel=FLEET)
        for number in range(3):
            await say(there, Card(line(f"number {number}")))
        await asyncio.sleep(0)
        await there.slack.command("/fleet", "help", channel=OTHER)
        await there.slack.until(len, OTHER)
        assert await there.slack.said() == []
        await there.settled()
        assert [one["text"] for one in await there.slack.said()] == ["number 0", "number 1", "number 2"]
        asked = [said for said in there.proxy.called("chat.postMessage") if said["channel"] == FLEET]
        assert len(asked) == 4, "nothing was sent while Slack had asked for patience"


async def test_an_outage_is_survived_in_order_and_what_may_be_double_is_marked(tmp_path: Path) -> None:
    async with house(tmp_path) as there:
        there.proxy.fail("chat.postMessage", lost=True)
        there.proxy.fail("chat.postMessage", status=503)
        for number in range(3):
            await say(there, Card(line(f"number {number}")))
        await there.settled()
        said = await there.slack.said()
        titles = [one["text"] for one in said]
        assert titles == ["number 0", "number 0", "number 1", "number 2"]
        assert ["shown again" in shows(one) for one in said] == [False, True, False, False]


async def test_a_dropped_socket_is_opened_again(tmp_path: Path) -> None:
    async with house(tmp_path, patience=0.2) as there:
        await there.proxy.drop_sockets()
        async with asyncio.timeout(20):
            while len(there.proxy.called("apps.connections.open")) < 3 or not there.proxy.sockets:
                await asyncio.sleep(0.02)
        await there.slack.command("/run", "mend it")
        await there.handled()
        assert len(await there.tasks()) == 1


async def test_a_silent_socket_is_replaced(tmp_path: Path) -> None:
    async with house(tmp_path, silence=0.5) as there:
        there.proxy.deaf = True
        async with asyncio.timeout(20):
            while len(there.proxy.called("apps.connections.open")) < 3:
                await asyncio.sleep(0.02)
        there.proxy.deaf = False
        said = {"user": ADA, "channel": FLEET, "ts": "1.1"}
        async with asyncio.timeout(20):
            while not await there.tasks():
                with contextlib.suppress(ConnectionError, TimeoutError, IndexError):
                    async with asyncio.timeout(1):
                        await there.proxy.event("<@U0BOT> run x", **said)
        assert len(await there.tasks()) == 1


async def test_slack_away_at_the_start_is_waited_for(tmp_path: Path) -> None:
    home = tmp_path / "home"
    home.mkdir()
    async with running_slack(tmp_path / "slack") as slack, proxied(slack) as proxy:
        proxy.away = True
        async with served(home, proxy) as there:
            await say(there, Card(line("good morning")))
            proxy.away = False
            await slack.until(lambda said: [one["text"] for one in said] == ["good morning"])


# --- what Slack refuses -------------------------------------------------------------------------------------


@pytest.mark.parametrize(("name", "wrong"), [("bot_token", "xoxb-wrong"), ("app_token", "xapp-wrong")])
async def test_a_wrong_token_stops_with_a_remedy(tmp_path: Path, name: str, wrong: str) -> None:
    async with running_slack(tmp_path / "slack") as slack, proxied(slack) as proxy:
        made = settings(proxy.api, tmp_path, **{name: wrong})
        with pytest.raises(Misused, match=f"SLACK_{name.upper()}.*invalid_auth.*docs/slack.md") as refused:
            async with served(tmp_path, proxy, made=made):
                pass
        assert wrong not in str(refused.value)


def test_without_a_token_slack_is_off_and_one_line_says_so(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO)
    assert from_secrets(Secrets({}), tmp_path, Registry(every_command())) is None
    assert [record.getMessage() for record in caplog.records] == [
        "Slack is off: .env has no SLACK_BOT_TOKEN (docs/slack.md tells how to get one)"
    ]


@pytest.mark.parametrize(
    ("values", "said"),
    [
        ({"SLACK_BOT_TOKEN": APP_TOKEN}, "does not begin with xoxb-"),
        ({"SLACK_BOT_TOKEN": BOT_TOKEN, "SLACK_APP_TOKEN": BOT_TOKEN}, "does not begin with xapp-"),
        ({"SLACK_BOT_TOKEN": BOT_TOKEN}, "SLACK_APP_TOKEN=xapp-"),
        ({"SLACK_BOT_TOKEN": BOT_TOKEN, "SLACK_SIGNING_SECRET": SIGNING, "SLACK_LISTEN": "x"}, "HOST:PORT"),
    ],
)
def test_tokens_in_the_wrong_places_are_told_apart(tmp_path: Path, values: dict[str, str], said: str) -> None:
    with pytest.raises(Misused, match=said):
        from_secrets(Secrets(values), tmp_path, Registry(every_command()))


async def test_a_message_of_100_kb_comes_whole_as_a_file(tmp_path: Path) -> None:
    text = "\n".join(f"line {number} of the log" for number in range(5_000))
    async with house(tmp_path) as there:
        await say(there, Card(line("t1 · log"), body=Untrusted(text)), task="t1")
        await there.settled()
        card, file = await there.slack.said()
        assert "line 0 of" in shows(card) and "line 4999" in shows(card) and "left out" in shows(card)
        (shared,) = file["files"]
        async with there.slack.session.get(
            shared["url_private"], headers={"Authorization": f"Bearer {BOT_TOKEN}"}
        ) as answer:
            assert await answer.text() == text


async def test_a_card_that_slack_finds_too_large_still_arrives_with_its_buttons(tmp_path: Path) -> None:
    async with house(tmp_path) as there:
        there.proxy.fail("chat.postMessage", error="msg_blocks_too_long")
        card = Card(line("t1 · asks"), body=Untrusted("rm -rf build"), actions=(Action("Deny", "/deny a1"),))
        await say(there, card)
        await there.settled()
        short, file = await there.slack.said()
        assert button(short, "Deny")["value"] and "rm -rf" not in shows(short)
        assert file["files"]


async def test_an_edit_of_a_deleted_message_comes_anew_and_lives_on(tmp_path: Path) -> None:
    async with house(tmp_path) as there:
        await say(there, Card(line("progress 0")), key="task:t1", task="t1")
        await there.settled()
        (first,) = await there.slack.said()
        await there.slack.delete(first)
        for number in (1, 2):
            card = Card(line(f"progress {number}"))
            await there.store.write(lambda tx, card=card: repost(tx, HERE, card, key="task:t1"))  # type: ignore[misc]
            await there.settled()
        (only,) = await there.slack.said()
        assert only["text"] == "progress 2"
        await say(there, Card(line("t1 · landed")), task="t1")
        await there.settled()
        assert (await there.slack.said())[-1]["thread_ts"] == only["ts"]


async def test_where_it_may_not_write_the_one_who_asked_is_told(tmp_path: Path) -> None:
    async with house(tmp_path) as there:
        there.proxy.fail("chat.postMessage", error="not_in_channel")
        await there.slack.command("/fleet", "status")
        told = await there.slack.until(lambda said: [one for one in said if one.get("subtype") == "ephemeral"])
        assert "/invite @airboss" in told[0]["text"]


# --- files --------------------------------------------------------------------------------------------------


async def test_a_shared_file_is_on_the_disk_when_the_command_is_handled(tmp_path: Path) -> None:
    async with house(tmp_path) as there:
        await there.slack.upload("../../no tes.txt", b"remember the milk", "<@U0BOT> run read this")
        await there.handled()
        (found,) = [path for path in (there.home / "files").rglob("*") if path.is_file()]
        assert found.read_bytes() == b"remember the milk"
        assert found.parent.parent == there.home / "files" / "slack"
        assert found.stat().st_mode & 0o777 == 0o600
        assert [task.prompt for task in await there.tasks()] == ["read this"]


async def test_documents_and_pictures_come_as_files_in_the_thread(tmp_path: Path) -> None:
    receipt = tmp_path / "t1.receipt.json"
    receipt.write_text('{"ok": true}')
    async with house(tmp_path) as there:
        await say(there, Card(line("t1 · work")), key="task:t1", task="t1")
        there.proxy.fail("files.getUploadURLExternal", status=429, retry_after="0")
        await say(there, Card(line("t1 · receipt"), document=str(receipt)), task="t1")
        await there.settled()
        parent, card, file = await there.slack.said()
        assert card["thread_ts"] == file["thread_ts"] == parent["ts"]
        assert file["files"][0]["name"] == "t1.receipt.json"


# --- HTTP ---------------------------------------------------------------------------------------------------


async def test_over_http_signed_requests_act_and_others_get_401(tmp_path: Path) -> None:
    home = tmp_path / "home"
    home.mkdir()
    async with running_slack(tmp_path / "away") as nowhere, proxied(nowhere) as proxy:
        made = settings(proxy.api, home, app_token="", signing_secret=SIGNING)
        async with served(home, proxy, made=made) as there:
            door: Any = there.adapter._door
            url = f"http://127.0.0.1:{door.port}/slack/events"
            async with running_slack(tmp_path / "slack", url) as slack:
                await slack.command("/run", "mend it")
                await slack.message("<@U0BOT> run it too")
                await there.handled()
                assert [task.prompt for task in await there.tasks()] == ["mend it", "it too"]
            headers: dict[str, str]
            for headers in (
                {},
                {"X-Slack-Signature": "v0=00", "X-Slack-Request-Timestamp": "1"},
                {"X-Slack-Signature": "v0=00", "X-Slack-Request-Timestamp": "soon"},
            ):
                body = json.dumps({"type": "url_verification", "challenge": "x"})
                async with slack_post(there, url, body, headers) as status:
                    assert status == 401
            assert len(await there.tasks()) == 2


@contextlib.asynccontextmanager
async def slack_post(there: House, url: str, body: str, headers: dict[str, str]) -> AsyncIterator[int]:
    async with (
        aiohttp.ClientSession() as session,
        session.post(url, data=body, headers={"Content-Type": "application/json", **headers}) as answer,
    ):
        yield answer.status
