"""``airboss serve`` with Slack: a whole task in a thread, and ``kill -9`` as the acknowledgement leaves."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest

from fleet.store import tasks
from fleet.store.core import Store
from tests.far_end.slack import ADA, APP_TOKEN, BOT_TOKEN, TEAM, running_slack, shows
from tests.far_end.slack_proxy import SlackProxy, proxied
from tests.scenarios.house import House, house


@asynccontextmanager
async def flying(directory: Path) -> AsyncIterator[tuple[House, SlackProxy]]:
    """A house whose controller, not yet started, knows Ada by her Slack id."""
    async with running_slack(directory / "slack") as slack, proxied(slack) as proxy:
        with house() as there:
            env = {"SLACK_BOT_TOKEN": BOT_TOKEN, "SLACK_APP_TOKEN": APP_TOKEN, "SLACK_API": proxy.api}
            (there.home / ".env").write_text("".join(f"{name}={value}\n" for name, value in env.items()))
            (there.home / ".env").chmod(0o600)
            there.configure(people=[{"name": "Ada", "role": "admin", "ids": [f"slack:{TEAM}:{ADA}"]}])
            try:
                yield there, proxy
            finally:
                await asyncio.to_thread(there.stop)


async def test_a_task_flies_from_slash_run_to_landed_in_its_thread(tmp_path: Path) -> None:
    async with flying(tmp_path) as (there, proxy):
        await asyncio.to_thread(there.start)
        slack = proxy.behind
        await slack.connected()
        seen = there.directory / "the red card was seen"
        await slack.command("/run", f"on=evo-x2 write BAD\nthen-await {seen}\nthen-write GOOD from a phone")
        (red,) = await slack.until(
            lambda said: [message for message in said if "failed: exit status 1" in shows(message)]
        )
        assert "lacks the word: BAD" in shows(red)
        seen.touch()
        landed = await slack.until(lambda said: [message for message in said if "landed on main" in shows(message)])
        assert there.main() == "GOOD from a phone"
        await slack.press(landed[0], "Receipt")
        said = await slack.until(
            lambda said: said if any("receipt" in message["text"] for message in said) else None
        )
        parent, *replies = said
        assert "thread_ts" not in parent
        assert {message["thread_ts"] for message in replies} == {parent["ts"]}
        assert red["ts"] in {message["ts"] for message in replies}
        (ping,) = (call for call in proxy.called("chat.postMessage") if f"<@{ADA}>" in call["text"])
        assert ping.get("reply_broadcast") and "lacks the word: BAD" in shows(ping)
        edits = proxy.called("chat.update")
        assert parent["ts"] in {message["ts"] for message in edits}
        await slack.until(lambda said: "landed" in shows(said[0]))
        await slack.press(landed[0], "Diff")
        diff = await slack.until(
            lambda said: [message for message in said if "+GOOD from a phone" in shows(message)]
        )
        assert diff[0]["thread_ts"] == parent["ts"]


async def test_kill_9_as_the_acknowledgement_leaves_gives_one_effect(tmp_path: Path) -> None:
    async with flying(tmp_path) as (there, proxy):
        slack = proxy.behind
        for number in range(1, 4):
            await asyncio.to_thread(there.start)
            async with asyncio.timeout(60):
                while not proxy.sockets:
                    await asyncio.sleep(0.02)
            known = len(proxy.acks)
            asking = asyncio.create_task(slack.command("/run", f"on=evo-x2 write GOOD {number}"))
            async with asyncio.timeout(60):
                while len(proxy.acks) == known:
                    await asyncio.sleep(0)
            there.kill()
            await asking
            async with asyncio.timeout(60):
                while proxy.sockets:
                    await asyncio.sleep(0.02)
        await asyncio.to_thread(there.start)
        async with asyncio.timeout(60):
            while not proxy.sockets:
                await asyncio.sleep(0.02)
        for envelope in list(proxy.envelopes):
            await proxy.again(envelope)

        def every_task_has_a_card(said: list[dict[str, Any]]) -> bool:
            roots = [shows(message) for message in said if "thread_ts" not in message]
            return all(any(f"write GOOD {number}" in root for root in roots) for number in (1, 2, 3))

        await slack.until(every_task_has_a_card)
        with Store.open(f"sqlite:///{there.home / 'airboss.db'}", create=False) as store, store.transaction() as tx:
            prompts = [task.prompt for task in tasks.recent(tx, 10)]
        assert sorted(prompts) == [f"write GOOD {number}" for number in (1, 2, 3)]


async def test_a_wrong_token_ends_the_controller_with_a_remedy_and_tells_nobody_the_token(tmp_path: Path) -> None:
    async with flying(tmp_path) as (there, _):
        env = (there.home / ".env").read_text().replace(BOT_TOKEN, "xoxb-not-the-one")
        (there.home / ".env").write_text(env)
        with pytest.raises(AssertionError, match="serve ended"):
            await asyncio.to_thread(there.start)
        assert await asyncio.to_thread(there.died) == 2
        log = (there.directory / "serve.log").read_text()
        assert "SLACK_BOT_TOKEN" in log and "invalid_auth" in log and "docs/slack.md" in log
        assert "xoxb-not-the-one" not in log and "Traceback" not in log
