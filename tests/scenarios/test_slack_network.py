"""Slack on a bad network: nothing lost, nothing twice without a mark, nobody forged."""

from __future__ import annotations

import asyncio
import contextlib
import gc
import time
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any
from urllib.parse import urlencode

import aiohttp
import pytest
from slack_sdk.signature import SignatureVerifier

from bot.cards import Card, line
from bot.chats.slack.adapter import SlackAdapter
from bot.message import Message
from fleet.model import ChatRef
from tests.far_end.slack import (
    ADA,
    FLEET,
    OTHER,
    SIGNING,
    TEAM,
    running_slack,
    shows,
)
from tests.far_end.slack_proxy import proxied
from tests.scenarios.slack_house import house, say, served, settings

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
        there.proxy.fail("chat.postMessage", status=429, retry_after="8", channel=FLEET)
        await say(there, Card(line("number 0")))
        while not there.proxy.called("chat.postMessage"):
            await asyncio.sleep(0.01)
        await say(there, Card(line("number 1")))
        thread = ChatRef("slack", FLEET, "1.1")
        await there.store.write(lambda tx: there.outbox.open(tx).post(thread, Card(line("in a thread of it"))))
        await there.slack.command("/fleet", "help", channel=OTHER)
        await there.slack.until(len, OTHER)
        assert await there.slack.said() == []
        await there.settled()
        said = [message["text"] for message in await there.slack.said()]
        assert sorted(said) == ["in a thread of it", "number 0", "number 1"]
        assert said.index("number 0") < said.index("number 1")
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
        titles = [message["text"] for message in said]
        assert titles == ["number 0", "number 0", "number 1", "number 2"]
        assert ["shown again" in shows(message) for message in said] == [False, True, False, False]


async def test_a_file_whose_answer_was_lost_is_shown_once(tmp_path: Path) -> None:
    log = tmp_path / "t1.log"
    log.write_text("all of it")
    async with house(tmp_path) as there:
        there.proxy.fail("files.completeUploadExternal", lost=True)
        there.proxy.fail("chat.postMessage", page="upstream connect error")
        await say(there, Card(line("the log"), document=str(log)))
        await there.settled()
        card, *files = await there.slack.messages()
        assert card["text"] == "the log"
        assert [file["name"] for message in files for file in message["files"]] == ["t1.log"]


async def test_a_dropped_socket_is_opened_again(tmp_path: Path) -> None:
    async with house(tmp_path, patience=0.2) as there:
        await there.proxy.drop_sockets()
        async with asyncio.timeout(60):
            while len(there.proxy.called("apps.connections.open")) < 3 or not there.proxy.sockets:
                await asyncio.sleep(0.02)
        await there.slack.command("/run", "mend it")
        await there.handled()
        assert len(await there.tasks()) == 1


async def test_a_silent_socket_is_replaced(tmp_path: Path) -> None:
    async with house(tmp_path, silence=0.5) as there:
        there.proxy.deaf = True
        async with asyncio.timeout(60):
            while len(there.proxy.called("apps.connections.open")) < 3:
                await asyncio.sleep(0.02)
        there.proxy.deaf = False
        said = {"user": ADA, "channel": FLEET, "ts": "1.1"}
        async with asyncio.timeout(60):
            while not await there.tasks():
                with contextlib.suppress(ConnectionError, TimeoutError, IndexError):
                    async with asyncio.timeout(1):
                        await there.proxy.event("<@U0BOT> run x", **said)
        assert len(await there.tasks()) == 1


async def test_slack_away_at_the_start_is_waited_for(tmp_path: Path) -> None:
    home = tmp_path / "home"
    home.mkdir()
    async with running_slack(tmp_path / "slack") as slack, proxied(slack) as proxy:
        proxy.fail("auth.test", error="team_access_not_granted")
        async with served(home, proxy) as there:
            assert "team_access_not_granted" in there.adapter.contact.why
        proxy.away = True
        async with served(home, proxy) as there:
            await say(there, Card(line("good morning")))
            assert there.adapter.contact.why
            proxy.away = False
            await slack.until(lambda said: [message["text"] for message in said] == ["good morning"])
            await there.settled()
            assert not there.adapter.contact.why


async def test_a_beginning_that_is_cut_short_leaves_nothing_open(tmp_path: Path) -> None:
    async with running_slack(tmp_path / "slack") as slack, proxied(slack) as proxy:
        before, running = _open_sessions(), asyncio.all_tasks()
        adapter = SlackAdapter(settings(proxy.api, tmp_path), ())
        proxy.fail("apps.connections.open")
        proxy.fail("apps.connections.open", slow=60)  # the library's own, as it connects
        starting = asyncio.create_task(adapter.start(_not_heard))
        async with asyncio.timeout(60):
            while len(proxy.called("apps.connections.open")) < 2:
                await asyncio.sleep(0.02)
        starting.cancel()
        await asyncio.wait({starting})
        await adapter.close()
        async with asyncio.timeout(60):
            while {task for task in asyncio.all_tasks() - running if "process_messages" in str(task.get_coro())}:
                await asyncio.sleep(0.02)
        assert _open_sessions() == before


async def _not_heard(message: Message) -> bool:
    pytest.fail(f"nobody says anything: {message}")


def _open_sessions() -> int:
    gc.collect()
    return sum(isinstance(each, aiohttp.ClientSession) and not each.closed for each in gc.get_objects())


# --- HTTP ---------------------------------------------------------------------------------------------------


async def test_over_http_signed_requests_act_and_others_get_401(tmp_path: Path) -> None:
    home = tmp_path / "home"
    home.mkdir()
    async with running_slack(tmp_path / "away") as nowhere, proxied(nowhere) as proxy:
        made = settings(proxy.api, home, app_token="", signing_secret=SIGNING)
        async with served(home, proxy, made=made) as there:
            door: Any = there.adapter._connection
            url = f"http://127.0.0.1:{door.port}/slack/events"
            async with running_slack(tmp_path / "slack", url) as slack:
                await slack.command("/run", "mend it")
                await slack.message("<@U0BOT> run it too")
                await there.handled()
                assert [task.prompt for task in await there.tasks()] == ["mend it", "it too"]
            form = urlencode({"command": "/run", "text": "and this", "user_id": ADA, "channel_id": FLEET,
                              "team_id": TEAM, "trigger_id": "1.2.3"})  # fmt: skip
            for _ in range(3):
                async with slack_post(url, form, signed(form)) as status:
                    assert status == 200
            await there.handled()
            assert len(await there.tasks()) == 3
            forged = {**signed(form), "X-Slack-Signature": signed("another body")["X-Slack-Signature"]}
            headers: dict[str, str]
            for headers in (
                {},
                forged,
                signed(form, age=600),
                {"X-Slack-Signature": "v0=00", "X-Slack-Request-Timestamp": "1"},
                {"X-Slack-Signature": "v0=00", "X-Slack-Request-Timestamp": "soon"},
            ):
                async with slack_post(url, form.replace("1.2.3", "4.5.6"), headers) as status:
                    assert status == 401
            assert len(await there.tasks()) == 3


def signed(body: str, age: int = 0) -> dict[str, str]:
    """The headers that Slack signs a body with."""
    stamp = str(int(time.time()) - age)
    signature = SignatureVerifier(SIGNING).generate_signature(timestamp=stamp, body=body)
    return {"X-Slack-Signature": signature or "", "X-Slack-Request-Timestamp": stamp}


@contextlib.asynccontextmanager
async def slack_post(url: str, body: str, headers: dict[str, str]) -> AsyncIterator[int]:
    kind = {"Content-Type": "application/x-www-form-urlencoded"}
    async with aiohttp.ClientSession() as session, session.post(url, data=body, headers={**kind, **headers}) as it:
        yield it.status
