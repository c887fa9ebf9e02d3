"""Attention is a figure: how many messages and sounds a night of twenty tasks makes, in all three chats."""

from __future__ import annotations

import itertools
import re
from collections import Counter
from pathlib import Path

from bot.chats.console.adapter import ConsoleAdapter
from bot.chats.slack.pace import RateLimiter
from fleet.model import ChatRef, PersonId
from tests.chat_house import house
from tests.far_end.bot_api import BotApi
from tests.far_end.slack import ADA as SLACK_ADA
from tests.far_end.slack import FLEET as SLACK_CHANNEL
from tests.far_end.slack import TEAM, shows
from tests.night import GREEN, HELD, LIMITED, RED, Night
from tests.scenarios import slack_house
from tests.scenarios.telegram_house import ADA, telegram_house

SOUNDS = 6
"""The most that a night may make: three red, one held, a provider's limit."""


def judge(messages: list[str], sounds: list[str]) -> None:
    """What each chat must keep to: ``messages`` as they are on the screen in the morning, and those that made a
    sound, as they came."""
    about = Counter(found.group() for text in messages if (found := re.search(r"\bt\d+\b", text)))
    quiet = [task for task in GREEN if task not in LIMITED]
    assert {task: about[task] for task in quiet} == dict.fromkeys(quiet, 2), "one that is edited, and a final one"
    assert len(sounds) <= SOUNDS, sounds
    for task in (*RED, HELD):
        (heard,) = (text for text in sounds if re.search(rf"\b{task}\b", text))
        assert "shop" in heard and "job number" in heard, "a card that pings names repository and title"
    assert len([text for text in messages if "limit" in text]) == 1, "one card a cause"


async def test_in_telegram(tmp_path: Path) -> None:
    with BotApi() as api:
        async with telegram_house(tmp_path, api) as there:
            api.world.person(ADA)
            chat, person = ChatRef("telegram", str(ADA)), PersonId("telegram", "", str(ADA))
            await Night(there.store, there.core.context, there.outbox, person, chat, there.handled).play()
            said = api.screen(ADA)
            judge([shown.text for shown in said], [shown.text for shown in said if not shown.silent])


async def test_in_slack(tmp_path: Path) -> None:
    async with slack_house.house(tmp_path, edits=RateLimiter(1_000, 1_000)) as there:
        chat, person = ChatRef("slack", SLACK_CHANNEL), PersonId("slack", TEAM, SLACK_ADA)
        await Night(there.store, there.core.context, there.outbox, person, chat, there.settled).play()
        sent = there.proxy.called("chat.postMessage")
        sounds = [shows(said) for said in sent if f"<@{SLACK_ADA}>" in said["text"]]
        judge([shows(said) for said in await there.slack.said()], sounds)


async def test_on_the_console(tmp_path: Path) -> None:
    console = ConsoleAdapter()
    async with house(tmp_path, more=(console,)) as there:
        chat, person = ChatRef("console", "main"), PersonId("phone", "", "ada")

        async def settled() -> None:
            await there.settle(chat)

        with console.follow(chat) as following:
            await Night(there.store, there.core.context, there.outbox, person, chat, settled).play()
            cards = []
            while not following.empty():
                cards.append(following.get_nowait())
        told = [(console.text(card, colour=False), card) for card in cards]
        posted = [text for text, card in told if not card.edits]
        judge(posted, [text for text in posted if "🔔" in text])
        edits = [text for text, card in told if card.edits]
        assert all(len(text.strip("↻ \n")) > len("t20") for text in edits), "no empty lines about edits"
        about: dict[str, list[str]] = {}
        for text, card in told:
            if card.edits:
                about.setdefault(card.edits, []).append(text)
        assert not any(a == b for lines in about.values() for a, b in itertools.pairwise(lines)), (
            "each says something"
        )
