"""A token that Slack does not take ends the controller with a remedy, whenever that turns out; a missing one is
told to whoever starts the controller."""

from __future__ import annotations

import asyncio
import os
import sys
from pathlib import Path

import pytest

from bot.cards import Card, line
from bot.chats.slack.errors import WrongToken
from tests.far_end.slack import running_slack
from tests.far_end.slack_proxy import proxied
from tests.scenarios.slack_house import House, house, say, served, settings

PATIENCE_SECONDS = 60


async def ended(there: House) -> str:
    """What the adapter ends the controller with."""
    async with asyncio.timeout(PATIENCE_SECONDS):
        with pytest.raises(WrongToken) as raised:
            await there.adapter.contact.running()
    return str(raised.value)


async def test_away_at_the_start_and_then_a_wrong_token(tmp_path: Path) -> None:
    async with running_slack(tmp_path / "slack") as slack, proxied(slack) as proxy:
        proxy.away = True
        async with served(tmp_path, proxy, made=settings(proxy.api, tmp_path, bot_token="xoxb-wrong")) as there:
            proxy.away = False
            why = await ended(there)
            assert "SLACK_BOT_TOKEN" in why and "invalid_auth" in why and "docs/slack.md" in why


async def test_a_token_that_is_revoked_while_we_run_ends_it_and_what_was_to_be_said_is_kept(tmp_path: Path) -> None:
    async with house(tmp_path) as there:
        there.proxy.fail("chat.postMessage", error="token_revoked", times=1_000)
        await say(there, Card(line("good morning")))
        assert "token_revoked" in await ended(there)
        there.proxy.faults.clear()
        await there.slack.until(lambda said: [message["text"] for message in said] == ["good morning"])


async def test_a_revoked_app_token_is_found_when_the_socket_breaks(tmp_path: Path) -> None:
    async with house(tmp_path, patience=0.2) as there:
        there.proxy.fail("apps.connections.open", error="token_revoked", times=1_000)
        await there.proxy.drop_sockets()
        why = await ended(there)
        assert "SLACK_APP_TOKEN" in why and "token_revoked" in why


async def test_a_missing_scope_ends_nothing(tmp_path: Path) -> None:
    async with house(tmp_path) as there:
        there.proxy.fail("chat.postMessage", error="missing_scope")
        await say(there, Card(line("good morning")))
        await there.slack.until(lambda said: [message["text"] for message in said] == ["good morning"])
        running = asyncio.ensure_future(there.adapter.contact.running())
        await asyncio.sleep(0)
        assert not running.done()
        running.cancel()


async def test_who_starts_a_controller_without_tokens_is_told_which_chats_are_off(tmp_path: Path) -> None:
    tokens = ("SLACK_BOT_TOKEN", "AIRBOSS_TELEGRAM_TOKEN")
    env = {name: value for name, value in os.environ.items() if name not in tokens}
    home = tmp_path / "home"
    home.mkdir(mode=0o700)
    (home / "fleet.toml").write_text('isolation = "unsafe-same-user"\n')
    program = Path(sys.executable).with_name("airboss")
    serve = await asyncio.create_subprocess_exec(
        program, "--home", home, "serve", stdout=asyncio.subprocess.PIPE, env=env
    )
    try:
        assert serve.stdout is not None
        async with asyncio.timeout(PATIENCE_SECONDS):
            said = [(await serve.stdout.readline()).decode() for _ in range(3)]
    finally:
        serve.terminate()
        await serve.wait()
    assert said[0].startswith("airboss serves")
    assert [row.split(" (")[0] for row in said[1:]] == [
        "Telegram is off: .env has no AIRBOSS_TELEGRAM_TOKEN",
        "Slack is off: .env has no SLACK_BOT_TOKEN",
    ]
