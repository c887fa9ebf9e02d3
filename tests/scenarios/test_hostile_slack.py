"""Anybody's envelopes on Slack's socket and anybody's requests at the HTTP door: none does what its sender may not.

They go through the real slack-bolt and slack-sdk into the real adapter, core and store. The quick profile plays
120, ``AIRBOSS_CAMPAIGN=full`` 2,000.
"""

from __future__ import annotations

import asyncio
import itertools
import json
import os
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st

from bot.chats.slack.inbox import AppUser, words
from bot.commands import every_command
from tests.far_end.slack import (
    ADA,
    ADAS_DM,
    BOT,
    FLEET,
    MALLORY,
    OTHER,
    OTTO,
    SIGNING,
    TEAM,
    VERA,
    running_slack,
)
from tests.far_end.slack_proxy import proxied
from tests.scenarios import slack_house
from tests.scenarios.hostile_house import deeds, faults, judge, judge_wishes, no_troubles, wishes
from tests.scenarios.slack_house import House, served
from tests.scenarios.test_slack_network import signed, slack_post

ENVELOPES = 2_000 if os.environ.get("AIRBOSS_CAMPAIGN") == "full" else 120
BATCH = 20
Json = dict[str, Any]

MARKS = (
    "<!channel> <!here> <!everyone> <@U01ADA> <#C01FLEET> <https://evil.example|your bank> evil.example",
    "*bold* `code` ```evil``` &lt;!channel&gt; <mailto:evil@evil.example> :skull: <!subteam^S1> <!date^1^x|y>",
    "\x1b[2J\x1b]0;evil\x07 \u202eevil \x00", "\ud83d", "x" * 40_000, "'; DROP TABLE tasks; --", "t1", "a1", "",
)  # fmt: skip
nasty = st.one_of(st.text(max_size=40), st.sampled_from(MARKS))
meant = st.builds(
    "{} {}".format,
    st.one_of(
        st.sampled_from(["run repo=shop", "ask", "mute 1h", "notify all", "status"]),
        st.builds("{} t{}".format, st.sampled_from(["say", "stop", "retry"]), st.integers(1, 20)),
        st.sampled_from([name for command in every_command() for name in (command.verb, *command.aliases)]),
    ),
    nasty,
)
texts = st.one_of(nasty, *[st.builds("{}{}".format, st.sampled_from([f"<@{BOT}> ", "!", "/", ""]), meant)] * 2)
odd: st.SearchStrategy[Any] = st.sampled_from([None, 7, [], {}, [None], {"id": []}, True, ""])
_files = st.lists(st.sampled_from([None, 7, {}, {"id": "F9", "name": "../../x", "size": -1}]), max_size=2)


@dataclass(frozen=True)
class Envelope:
    """One of Socket Mode. ``guest``: how Slack says that the sender is of another workspace; ``broken``: fields
    that hold what they never should."""

    kind: str
    user: str
    channel: str
    text: str
    guest: str
    threaded: bool
    pick: int
    broken: Json
    again: bool

    @property
    def actor(self) -> str:
        return f"slack:{TEAM}:{self.user}" if not self.guest else ""


envelopes = st.builds(
    Envelope,
    kind=st.sampled_from(["message"] * 4 + ["app_mention", "command", "command", "press", "press", "other"]),
    user=st.sampled_from([VERA, OTTO, ADA, MALLORY, OTTO]),
    channel=st.sampled_from([FLEET, OTHER, ADAS_DM]),
    text=texts,
    guest=st.sampled_from([""] * 4 + ["user_team", "source_team", "team", "is_ext_shared_channel"]),
    threaded=st.booleans(),
    pick=st.integers(0, 1 << 16),
    broken=st.one_of(
        *[st.just({})] * 4,
        st.dictionaries(
            st.sampled_from(["text", "ts", "thread_ts", "channel", "files", "actions", "container", "subtype"]), odd
        ),
    ),
    again=st.booleans(),
)


class Forge:
    """Makes them. ``said``: the bot's messages with buttons by channel, and all threads."""

    def __init__(self, said: dict[str, list[Json]], number: itertools.count[int]) -> None:
        self._number = number
        self._threads = {where: [message["ts"] for message in found] for where, found in said.items()}
        self._buttons = [
            (where, message["ts"], element["value"])
            for where, found in said.items()
            for message in reversed(found)
            for block in message.get("blocks") or ()
            for element in (block.get("elements", ()) if block["type"] == "actions" else ())
        ][:60]

    def payload(self, envelope: Envelope) -> tuple[str, Json]:
        """The envelope's type and payload."""
        stamp = f"{2_000_000_000 + next(self._number)}.000100"
        threads = self._threads.get(envelope.channel)
        thread = {"thread_ts": threads[envelope.pick % len(threads)]} if envelope.threaded and threads else {}
        foreign = (
            {envelope.guest: "T99OTHER"} if envelope.guest and envelope.guest != "is_ext_shared_channel" else {}
        )
        if envelope.kind == "command":
            name, _, rest = envelope.text.lstrip("/!").partition(" ")
            team, where = "T99OTHER" if envelope.guest else TEAM, envelope.channel
            made = {"command": f"/{name[:30]}", "text": rest, "user_id": envelope.user, "channel_id": where}
            return "slash_commands", {**made, "team_id": team, "trigger_id": stamp, **envelope.broken}
        if envelope.kind == "press":
            return "interactive", self._press(envelope, stamp)
        event: Json = {
            "type": envelope.kind,
            "user": envelope.user,
            "channel": envelope.channel,
            "ts": stamp,
            "text": envelope.text,
        }
        event |= {**thread, **foreign, **envelope.broken}
        body: Json = {"type": "event_callback", "team_id": TEAM, "event_id": f"Ev{stamp}", "event": event}
        return "events_api", body | ({"is_ext_shared_channel": True} if envelope.guest else {})

    def _press(self, envelope: Envelope, stamp: str) -> Json:
        where, ts, value = (
            self._buttons[envelope.pick % len(self._buttons)] if self._buttons else (FLEET, "1.1", "x")
        )
        token = (value, value, value, value[:-1], value * 300, "/stop t1", envelope.text)[envelope.pick % 7]
        place = envelope.channel if envelope.pick % 5 == 0 else where
        return {
            "type": "block_actions", "trigger_id": stamp, "team": {"id": TEAM},
            "user": {"id": envelope.user, "team_id": "T99OTHER" if envelope.guest else TEAM},
            "channel": {"id": place}, "container": {"message_ts": ts}, "message": {"ts": ts},
            "actions": [{"value": token}], **envelope.broken,
        }  # fmt: skip


def acts(said: Json) -> list[str]:
    """What in a call to Slack would mention, link or format, but for our own mention of somebody we know."""
    own = {f"<@{user}>" for user in (VERA, OTTO, ADA)}
    found: list[str] = []

    def look(payload: Json) -> Json:
        if payload.get("type") == "mrkdwn" and payload["text"] not in own:
            found.append(payload["text"])
        if payload.get("type") in ("link", "user", "usergroup", "channel", "broadcast", "emoji"):
            found.append(str(payload))
        return payload

    json.loads(json.dumps(said.get("blocks") or []), object_hook=look)
    text = str(said.get("text", ""))
    for mention in own:
        text = text.removeprefix(mention)
    return found + ([text] if "<" in text or ">" in text else [])


async def play(there: House, batch: list[Envelope], number: itertools.count[int], played: Counter[str]) -> None:
    store, proxy = there.store, there.proxy
    said = {where: await there.slack.said(where) for where in (FLEET, OTHER, ADAS_DM)}
    forge = Forge(said, number)
    before, asked, sent = await store.read(deeds), await store.read(wishes), len(proxy.calls)
    kept = [(wish, *forge.payload(wish)) for wish in batch]
    for envelope, kind, payload in kept:
        name = await proxy.deliver(kind, payload)
        if envelope.again:
            await proxy.again({"envelope_id": name, "type": kind, "payload": payload})
        played[envelope.kind] += 1
    await there.handled()
    after = await store.read(deeds)
    judge(before, after, played)
    judge_wishes(asked, await store.read(wishes), {wish.actor for wish in batch})
    for name, said_so in proxy.calls[sent:]:
        if name in ("chat.postMessage", "chat.update", "chat.postEphemeral"):
            played["sent"] += 1
            assert not acts(said_so), acts(said_so)
    shown = len(proxy.calls)
    for _, kind, payload in kept:
        await proxy.deliver(kind, payload)
    await there.handled()
    assert await store.read(deeds) == after, "what comes again has no effect"
    assert len(proxy.calls) == shown, f"and no answer: {proxy.calls[shown:]}"
    found = await store.read(faults)
    assert not found, found


@settings(
    max_examples=ENVELOPES // BATCH,
    deadline=None,
    database=None,
    phases=[Phase.explicit, Phase.generate],  # the house remembers, so a smaller example is another story
    suppress_health_check=list(HealthCheck),
)
@given(st.lists(envelopes, min_size=BATCH, max_size=BATCH))
def test_anybody_may_send_anything(hostile_slack: Json, batch: list[Envelope]) -> None:
    loop: asyncio.AbstractEventLoop = hostile_slack["loop"]
    there: House = hostile_slack["house"]
    with no_troubles():
        loop.run_until_complete(there.slack.command("/run", "an errand", user=OTTO))
        loop.run_until_complete(play(there, batch, hostile_slack["number"], hostile_slack["played"]))


@pytest.fixture(scope="module")
def hostile_slack(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Json]:
    loop = asyncio.new_event_loop()
    opened = slack_house.house(tmp_path_factory.mktemp("hostile"))
    there = loop.run_until_complete(opened.__aenter__())
    played: Counter[str] = Counter()
    yield {"loop": loop, "house": there, "played": played, "number": itertools.count(1)}
    print(dict(played))
    loop.run_until_complete(opened.__aexit__(None, None, None))
    loop.close()


def test_a_page_of_nothing_holds_up_nobody() -> None:
    """A pattern that tries every beginning of it would be at it for longer than a test may take."""
    gap = " " * 1_000_000
    assert words(f"<@{BOT}> x{gap}y <@{BOT}> <@{BOT}>", AppUser(TEAM, BOT)) == f"x{gap}y"


# --- the HTTP door ------------------------------------------------------------------------------------------

DEEP = "[" * 100_000 + "]" * 100_000
NONSENSE = (
    "", "{", "null", "[]", "7", DEEP, '{"event": ' + DEEP + "}", "payload=" + DEEP, "payload=", "payload=%5B%5D",
    "payload=7", "\x00", "command=%ff%fe", "a=b&" * 1_000,
)  # fmt: skip


@pytest.mark.parametrize("kind", ["application/json", "application/x-www-form-urlencoded", "text/plain"])
async def test_nonsense_at_the_http_door_is_turned_away_in_order(tmp_path: Path, kind: str) -> None:
    """Unsigned it is never more than looked at; signed it does nothing and is no fault of ours."""
    home = tmp_path / "home"
    home.mkdir()
    async with running_slack(tmp_path / "away") as nowhere, proxied(nowhere) as proxy:
        made = slack_house.settings(proxy.api, home, app_token="", signing_secret=SIGNING)
        async with served(home, proxy, made=made) as there:
            door: Any = there.adapter._connection
            url = f"http://127.0.0.1:{door.port}/slack/events"
            with no_troubles():
                for body in NONSENSE:
                    unsigned = {**signed("another body"), "Content-Type": kind}
                    async with slack_post(url, body, unsigned) as status:
                        assert status in (400, 401), f"{status} for {body[:60]}"
                    async with slack_post(url, body, {**signed(body), "Content-Type": kind}) as status:
                        assert status in (200, 400), f"{status} for {body[:60]}"
            assert await there.tasks() == []
