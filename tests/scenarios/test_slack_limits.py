"""What Slack refuses, and files both ways: each comes to the person in a form that Slack takes."""

from __future__ import annotations

import logging
from dataclasses import replace
from pathlib import Path
from typing import Any

import aiohttp
import pytest
from aiohttp import web
from aiohttp.test_utils import TestServer

from bot.cards import Action, Card, line
from bot.chats.slack.chat import from_secrets
from bot.chats.slack.files import fetch
from bot.commands import every_command
from bot.message import Attachment
from bot.registry import Registry
from fleet.config import Secrets
from fleet.errors import AirbossError, Misused, Refused
from fleet.faults import Fault, Point, injected
from fleet.untrusted import Untrusted
from tests.far_end.slack import (
    ADA,
    ADAS_DM,
    APP_TOKEN,
    BOT_TOKEN,
    OTTO,
    SIGNING,
    TEAM,
    button,
    running_slack,
    shows,
)
from tests.far_end.slack_proxy import proxied
from tests.scenarios.slack_house import HERE, House, house, say, served, settings


async def again(there: House, card: Card) -> None:
    await there.store.write(lambda tx: there.outbox.open(tx).repost(HERE, card, key="task:t1"))


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
        "Slack is off: .env has no SLACK_BOT_TOKEN (docs/slack.md says how to get one)"
    ]


@pytest.mark.parametrize(
    ("values", "said"),
    [
        ({"SLACK_BOT_TOKEN": APP_TOKEN}, "does not start with xoxb-"),
        ({"SLACK_BOT_TOKEN": BOT_TOKEN, "SLACK_APP_TOKEN": BOT_TOKEN}, "does not start with xapp-"),
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


@pytest.mark.parametrize("refusals", [1, 2])
async def test_a_card_that_slack_refuses_keeps_its_mention_and_all_its_words(tmp_path: Path, refusals: int) -> None:
    async with house(tmp_path) as there:
        for _ in range(refusals):
            there.proxy.fail("chat.postMessage", error="msg_blocks_too_long")
        card = Card(
            line("t1 · landed"), (line("All tests pass."),), body=Untrusted("E   assert 1 == 2"),
            mention=f"slack:{TEAM}:{OTTO}", mentioned="Otto",
        )  # fmt: skip
        await there.store.write(lambda tx: there.outbox.open(tx).post(HERE, card, ping=True))
        await there.settled()
        short, *files = await there.slack.said()
        assert f"<@{OTTO}>" in short["text"] and "t1 · landed" in short["text"]
        assert ("it is in a file" in shows(short)) is (refusals == 1)
        if refusals == 2:
            assert "assert 1 == 2" in short["text"] and not files, "nothing is left out of the words"
            return
        (shared,) = files[0]["files"]
        async with there.slack.session.get(
            shared["url_private"], headers={"Authorization": f"Bearer {BOT_TOKEN}"}
        ) as answer:
            assert "assert 1 == 2" in await answer.text()


async def test_a_locked_threads_card_goes_to_the_channel_and_a_closed_channels_to_the_person(
    tmp_path: Path,
) -> None:
    async with house(tmp_path) as there:
        thread = replace(HERE, thread="1.1")
        card = Card(line("t1 · landed"), mention=f"slack:{TEAM}:{OTTO}", mentioned="Otto")
        there.proxy.fail("chat.postMessage", error="restricted_action_thread_locked")
        await there.store.write(lambda tx: there.outbox.open(tx).post(thread, card, ping=True))
        await there.settled()
        (moved,) = await there.slack.said()
        assert "thread_ts" not in moved
        there.proxy.fail("chat.postMessage", error="is_archived")
        await there.store.write(lambda tx: there.outbox.open(tx).post(HERE, card, ping=True))
        await there.settled()
        sent = [said["channel"] for said in there.proxy.called("chat.postMessage")]
        assert sent[-2:] == [HERE.chat, OTTO]
        there.proxy.fail("chat.postMessage", error="is_archived")
        pinged = replace(card, mention=f"slack:{TEAM}:{ADA}", actions=(Action("Pause", "/pause"),))
        await there.store.write(lambda tx: there.outbox.open(tx).post(HERE, pinged, ping=True))
        await there.settled()
        await there.slack.press((await there.slack.said(ADAS_DM))[-1], "Pause", channel=ADAS_DM)
        await there.slack.until(lambda said: any("Fleet paused" in shows(each) for each in said), ADAS_DM)


async def test_an_edit_of_a_deleted_message_comes_anew_and_lives_on(tmp_path: Path) -> None:
    async with house(tmp_path) as there:
        await say(there, Card(line("progress 0")), key="task:t1", task="t1")
        await there.settled()
        (first,) = await there.slack.said()
        await there.slack.delete(first)
        for number in (1, 2):
            await again(there, Card(line(f"progress {number}")))
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
        told = await there.slack.until(
            lambda said: [message for message in said if message.get("subtype") == "ephemeral"]
        )
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


async def test_a_shared_file_that_the_disk_has_no_room_for_is_refused_in_words(tmp_path: Path) -> None:
    async with house(tmp_path) as there:
        with injected(Fault(Point.FILE_WRITE)) as struck:
            await there.slack.upload("notes.txt", b"remember the milk", "<@U0BOT> run read this")
            await there.handled()
        assert struck.raised == 1
        await there.settled()
        assert "No space left" in str(await there.slack.said())
        assert not [path for path in (there.home / "files").rglob("*") if path.is_file()]
        assert not await there.tasks()


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


# --- files that are not what they seem ----------------------------------------------------------------------


@pytest.mark.parametrize(
    "url",
    [
        "https://evil.example/f",
        "https://slack.com.evil.example/f",
        "https://evilslack.com/f",
        "http://files.slack.com/f",
        "file:///etc/passwd",
        "",
    ],
)
async def test_our_token_is_shown_to_slack_only(tmp_path: Path, url: str) -> None:
    file = Attachment("x.txt", "", "text/plain", 1, "F1")
    api, found = "https://slack.com/api/", {"url_private": url}
    async with aiohttp.ClientSession() as session:
        with pytest.raises(Refused, match="not stored in Slack"):
            await fetch(session, token=BOT_TOKEN, api=api, found=found, file=file, into=tmp_path)


@pytest.mark.parametrize(
    ("found", "error"),
    [({"size": 1 << 40}, "MB"), ({"name": "gone"}, "answered 404"), ({"name": "sign-in"}, "sign-in page")],
)
async def test_a_file_that_cannot_be_had_says_why(tmp_path: Path, found: dict[str, Any], error: str) -> None:
    async def answer(request: web.Request) -> web.Response:
        gone = request.path.endswith("gone")
        return web.Response(status=404 if gone else 200, text="<html>", content_type="text/html")

    site = web.Application()
    site.router.add_get("/{name}", answer)
    file = Attachment("x.txt", "", "text/plain", 1, "F1")
    async with TestServer(site) as server, aiohttp.ClientSession() as session:
        root = str(server.make_url("/"))
        with pytest.raises(AirbossError, match=error):
            await fetch(
                session, token="t", api=root, found={"url_private": f"{root}{found.get('name', 'x')}", **found},
                file=file, into=tmp_path,
            )  # fmt: skip
    assert [path for path in tmp_path.rglob("*") if path.is_file()] == []
