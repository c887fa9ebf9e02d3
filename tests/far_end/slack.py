"""Slack as an emulator speaks it (the npm package local-slack): a workspace in a process of its own.

It does what Slack does for a well-behaved app; ``slack_proxy`` stands before it for the rest.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import re
import shutil
import subprocess
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import aiohttp
import pytest

_CHECKOUT = Path(__file__).resolve().parents[2]
PACKAGE = "local-slack-linux-x64"
TEAM, BOT = "T01TEST", "U0BOT"
BOT_TOKEN, APP_TOKEN, SIGNING = "xoxb-test-token", "xapp-test-token", "test-signing-secret"
ADA, OTTO, VERA, MALLORY = "U01ADA", "U02OTTO", "U03VERA", "U09MALLORY"
FLEET, OTHER, ADAS_DM = "C01FLEET", "C02OTHER", "D01ADA"
PATIENCE_SECONDS = 60.0
_START_SECONDS = 60.0


def binary() -> str:
    """The emulator's path. A missing one fails the test with the remedy."""
    given = os.environ.get("AIRBOSS_AGENTS_DIR")
    bins = Path(given) if given else _CHECKOUT / ".cache/agents/node_modules/.bin"
    found = bins.parent / PACKAGE / "bin" / "local-slack"
    if not found.exists():
        pytest.fail(f"the Slack emulator {PACKAGE} is not installed (looked for {found}): run `make agents`")
    return str(found)


def workspace(request_url: str = "", more_apps: int = 0) -> dict[str, Any]:
    """A workspace with four people, two channels, a direct message and our app; ``request_url``: over HTTP."""
    app = {
        "appId": "A01APP",
        "botUserId": BOT,
        "botName": "airboss",
        "botToken": BOT_TOKEN,
        "appToken": APP_TOKEN,
        "signingSecret": SIGNING,
        "mode": "events" if request_url else "socket",
        **({"requestUrl": request_url} if request_url else {}),
    }
    others = [
        {**app, "appId": f"A1{n}APP", "botUserId": f"U1{n}BOT", "botName": f"other{n}",
         "botToken": f"xoxb-other-{n}", "appToken": f"xapp-other-{n}"}
        for n in range(more_apps)
    ]  # fmt: skip
    people = {ADA: "ada", OTTO: "otto", VERA: "vera", MALLORY: "mallory"}
    bots = [registered["botUserId"] for registered in (app, *others)]
    return {
        "workspace": {"name": "Test", "domain": "test", "teamId": TEAM},
        "apps": [app, *others],
        "users": [{"id": key, "name": name} for key, name in people.items()],
        "channels": [
            {"id": FLEET, "name": "fleet", "members": [*people, *bots]},
            {"id": OTHER, "name": "other", "members": [*people, *bots]},
            {"id": ADAS_DM, "name": "ada", "is_im": True, "is_channel": False, "members": [ADA, BOT]},
        ],
    }


@dataclass(frozen=True, slots=True)
class LocalSlack:
    """A running emulator. ``root`` is its address without a path."""

    root: str
    session: aiohttp.ClientSession

    async def message(self, text: str, *, user: str = ADA, channel: str = FLEET, thread: str = "") -> str:
        """Somebody writes; answers the message's ts once the app has acknowledged (or did not, for 5 s)."""
        body = {"channel": channel, "user": user, "text": text, **({"thread_ts": thread} if thread else {})}
        return str((await self._do("message", body))["message"]["ts"])

    async def command(
        self, command: str, text: str = "", *, user: str = ADA, channel: str = FLEET, app: str = "A01APP"
    ) -> None:
        """Somebody types a slash command."""
        body = {"channel": channel, "user": user, "command": command, "text": text, "appId": app}
        await self._do("command", body)

    async def press(self, message: Mapping[str, Any], label: str, *, user: str = ADA, channel: str = FLEET) -> None:
        """Somebody presses a message's button."""
        await self.press_value(message, button(message, label), user=user, channel=channel)

    async def press_value(
        self, message: Mapping[str, Any], pressed: Mapping[str, Any], *, user: str = ADA, channel: str = FLEET
    ) -> None:
        """Presses a button of the caller's making."""
        body = {"channel": channel, "messageTs": message["ts"], "user": user, "action": pressed}
        await self._do("interact", body)

    async def upload(
        self, name: str, content: bytes, text: str, *, user: str = ADA, channel: str = FLEET, thread: str = ""
    ) -> None:
        """Somebody shares a file with a message."""
        form = aiohttp.FormData({"channel": channel, "user": user, "text": text})
        if thread:
            form.add_field("thread_ts", thread)
        form.add_field("file", content, filename=name, content_type="text/plain")
        async with self.session.post(f"{self.root}/_control/upload", data=form) as answer:
            assert (await answer.json()).get("ok"), await answer.text()

    async def delete(self, message: Mapping[str, Any], channel: str = FLEET) -> None:
        """The bot's message vanishes, as when a workspace admin removes it."""
        body = {"channel": channel, "ts": message["ts"]}
        async with self.session.post(
            f"{self.root}/api/chat.delete", json=body, headers={"Authorization": f"Bearer {BOT_TOKEN}"}
        ) as answer:
            assert (await answer.json())["ok"]

    async def messages(self, channel: str = FLEET) -> list[dict[str, Any]]:
        """All that stands in a channel, threads included, oldest first."""
        async with self.session.get(f"{self.root}/_control/messages/{channel}") as answer:
            return list((await answer.json())["messages"])

    async def said(self, channel: str = FLEET) -> list[dict[str, Any]]:
        """What the bot said there."""
        return [message for message in await self.messages(channel) if message.get("user") == BOT]

    async def log(self) -> list[dict[str, Any]]:
        """The emulator's own log."""
        async with self.session.get(f"{self.root}/_control/log") as answer:
            return list((await answer.json())["log"])

    async def until(self, true: Callable[[list[dict[str, Any]]], Any], channel: str = FLEET) -> Any:
        """Waits until ``true`` of what the bot said is not false, and answers it."""
        async with asyncio.timeout(PATIENCE_SECONDS):
            while not (found := true(await self.said(channel))):
                await asyncio.sleep(0.02)
        return found

    async def connected(self) -> None:
        """Waits until an app's socket is there."""
        async with asyncio.timeout(PATIENCE_SECONDS):
            while not any("socket connected" in str(entry) for entry in await self.log()):
                await asyncio.sleep(0.02)

    async def _do(self, verb: str, body: Mapping[str, Any]) -> dict[str, Any]:
        async with self.session.post(f"{self.root}/_control/{verb}", json=body) as answer:
            done = await answer.json()
            assert done.get("ok"), done
            return dict(done)


def shows(message: Mapping[str, Any]) -> str:
    """Every word that a message shows, its blocks' and its own."""
    return json.dumps(message.get("blocks") or message.get("text", ""), ensure_ascii=False)


def button(message: Mapping[str, Any], label: str) -> dict[str, Any]:
    """A button of the message by its label."""
    for block in message.get("blocks") or ():
        for element in block.get("elements", ()) if block["type"] == "actions" else ():
            if element["text"]["text"] == label:
                return dict(element)
    raise AssertionError(f"no button {label!r} in {shows(message)}")


@asynccontextmanager
async def running_slack(directory: Path, request_url: str = "", more_apps: int = 0) -> AsyncIterator[LocalSlack]:
    """Starts one on a free port; its configuration and files live in ``directory``."""
    directory.mkdir(parents=True, exist_ok=True)
    (directory / "slack.json").write_text(json.dumps(workspace(request_url, more_apps)))
    argv = [binary(), "--config", str(directory / "slack.json"), "--port", "0", "--base-host", "127.0.0.1"]
    process = await asyncio.create_subprocess_exec(
        *argv, "--files-dir", str(directory / "files"), stdout=subprocess.PIPE, stderr=subprocess.STDOUT
    )
    assert process.stdout is not None
    try:
        root = await _address(process.stdout)
        drain = asyncio.create_task(_drain(process.stdout))
        async with aiohttp.ClientSession(timeout=aiohttp.ClientTimeout(total=60)) as session:
            yield LocalSlack(root, session)
        drain.cancel()
    finally:
        with contextlib.suppress(ProcessLookupError):
            process.kill()
        await process.wait()
        shutil.rmtree(directory / "files", ignore_errors=True)


async def _address(stream: asyncio.StreamReader) -> str:
    """The address that the emulator names as it starts. Fails the test with its output when it names none."""
    said = b""
    with contextlib.suppress(TimeoutError):
        async with asyncio.timeout(_START_SECONDS):
            while line := await stream.readline():
                said += line
                if found := re.search(rb"Control API:\s+(http://\S+)/_control", line):
                    return found.group(1).decode()
    pytest.fail(f"the Slack emulator did not start; it said:\n{said.decode(errors='replace')}")


async def _drain(stream: asyncio.StreamReader) -> None:
    while await stream.read(1 << 16):
        pass
