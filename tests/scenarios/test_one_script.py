"""One conversation, written down once and played on every chat, ends in the same store."""

from __future__ import annotations

import asyncio
import json
import re
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol, cast

import pytest
from sqlalchemy import select

from bot.cards import Card, shown
from bot.chats.console.adapter import ConsoleAdapter, Following
from bot.local import client
from bot.local.control import ControlServer
from fleet.agent_events import TurnOutcome
from fleet.events import CommandGiven
from fleet.model import ChatRef, TaskState
from fleet.questions import Option, Question
from fleet.store import ledger, tables
from fleet.store.core import Store, Tx
from gates.people import CONSOLE_MAIN
from tests.chat_flight import Flight
from tests.chat_house import House as ConsoleHouse
from tests.chat_house import house as console_house
from tests.far_end import slack as slack_end
from tests.far_end.bot_api import BotApi
from tests.scenarios import slack_house
from tests.scenarios import telegram_house as telegram


class Player(Protocol):
    """An admin on one chat. Each step waits until everything that it led to has been delivered."""

    @property
    def store(self) -> Store:
        """The store behind the chat."""

    async def say(self, words: str) -> None:
        """Types words."""

    async def press(self, label: str) -> None:
        """Presses the newest button of this label."""

    async def settle(self) -> None:
        """Waits until everything told has been delivered."""


@dataclass(frozen=True)
class Say:
    words: str


@dataclass(frozen=True)
class Press:
    label: str


@dataclass(frozen=True)
class Happens:
    """Something that the fleet does: on the flight of the first task."""

    what: Callable[[Flight], Awaitable[object]]


COLOURS = (Question("Which colour?", (Option("red"), Option("blue"))),)

SCRIPT: tuple[Say | Press | Happens, ...] = (
    Say("status"),
    Say("run"),
    Press("⚠ macbook"),
    Say("Run the tests, and mend “what” is red"),
    Happens(lambda flight: flight.start()),
    Happens(lambda flight: flight.ask("make clean")),
    Press("Allow for this session"),
    Happens(lambda flight: flight.ask("{}", questions=COLOURS, name="q2")),
    Press("2 · blue"),
    Say("statsu"),
    Happens(lambda flight: flight.red()),
    Press("Log"),
    Happens(lambda flight: flight.red("E   assert 3 == 4")),
    Happens(lambda flight: flight.stall(TurnOutcome.LIMITED, "You've hit your session limit")),
    Press("Go on"),
    Happens(lambda flight: flight.went_on(TaskState.RUNNING)),
    Happens(lambda flight: flight.stall(TurnOutcome.FAILED, "the program ended: exit status 1")),
    Press("Judge as it is"),
    Happens(lambda flight: flight.went_on(TaskState.JUDGING)),
    Happens(lambda flight: flight.move(TaskState.FAILED, why="red for good")),
    Say("waiting"),
    Say("retry t1"),
    Say("stop t2"),
    Say("notify final"),
    Say("machines"),
    Say("status"),
)


def outcome(tx: Tx) -> dict[str, list[Any]]:
    """What a conversation left, without what only its platform knows."""
    task, outbox, approval = tables.tasks.c, tables.outbox.c, tables.approvals.c
    wanted = (task.id, task.repo, task.agent, task.machine, task.prompt, task.mode, task.state, task.retry_of)
    said = select(outbox.card_json, outbox.ping, outbox.card_key).where(outbox.kind == "put").order_by(outbox.id)
    decided = select(approval.id, approval.decision, approval.decided_why, approval.scope).order_by(approval.number)
    return {
        "tasks": [tuple(row) for row in tx.connection.execute(select(*wanted).order_by(task.number))],
        "stopped": [bool(by) for by in tx.connection.execute(select(task.stop_by).order_by(task.number)).scalars()],
        "approvals": [tuple(row) for row in tx.connection.execute(decided)],
        "ledger": [
            (type(entry.event).__name__, entry.refs.task)
            for entry in ledger.read(tx)
            if not isinstance(entry.event, CommandGiven)  # when, beside what an agent does, is a matter of luck
        ],
        "commands": [
            (entry.event.command, entry.event.outcome, entry.event.task)
            for entry in ledger.read(tx, kinds=(CommandGiven.KIND,))
            if isinstance(entry.event, CommandGiven)
        ],
        "cards": [(title(row.card_json), row.ping, _fixed(row.card_key)) for row in tx.connection.execute(said)],
        "unsent": list(tx.connection.execute(select(outbox.id).where(outbox.state != "delivered")).scalars()),
        "inbox": sorted(tx.connection.execute(select(tables.inbox.c.state)).scalars()),
    }


def _fixed(key: str) -> str:
    key = re.sub(r"^log:.*", "", key)  # a console scrolls: only a chat's log has a key, and stays current
    return re.sub(r"^buttons:.*", "buttons", key)  # drawn by lot where a card with buttons has no key of its own


def title(card_json: str) -> str:
    return re.sub(r"in \d+ min|\d\d:\d\d", "", shown(Card.from_json(card_json).title))


async def play(player: Player) -> dict[str, list[Any]]:
    """Plays it all, and answers what it came to."""
    flight: Flight | None = None
    for step in SCRIPT:
        match step:
            case Say(words):
                await player.say(words)
            case Press(label):
                await player.press(label)
            case Happens(what):
                flight = flight or await Flight.of(cast(ConsoleHouse, player))  # it needs a store and its settling
                await what(flight)
        await player.settle()
    return await player.store.read(outcome)


# --- the chats ----------------------------------------------------------------------------------------------


@dataclass
class OnConsole:
    """Through the control socket, as ``airboss chat`` does it."""

    there: ConsoleHouse
    console: ConsoleAdapter
    cards: Following

    @property
    def store(self) -> Store:
        return self.there.store

    async def say(self, words: str) -> None:
        await self._do({"do": "say", "text": words})

    async def press(self, label: str) -> None:
        numbers = []
        while not self.cards.empty():
            text = self.console.text(self.cards.get_nowait(), colour=False)
            numbers += re.findall(rf"\[(\d+)\] {re.escape(label)}", text)
        await self._do({"do": "press", "number": int(numbers[-1])})

    async def settle(self) -> None:
        await self.there.settle(CONSOLE_MAIN)

    async def _do(self, request: dict[str, Any]) -> None:
        reader, writer = await asyncio.open_unix_connection(str(self.there.home / client.SOCKET), limit=1 << 22)
        writer.write(json.dumps({"v": 1, "quiet": True, **request}).encode() + b"\n")
        while "end" not in json.loads(await reader.readline()):
            continue
        writer.close()


@asynccontextmanager
async def on_console(directory: Path) -> AsyncIterator[Player]:
    console = ConsoleAdapter()
    async with console_house(directory, more=(console,), documents=True) as there:
        server = ControlServer(directory, there.core, console, there.notifier, there.deliverer)
        await server.start()
        try:
            with console.follow() as cards:
                yield OnConsole(there, console, cards)
        finally:
            await server.close()


@dataclass
class OnTelegram:
    """In a private chat, over HTTP."""

    there: telegram.House

    @property
    def store(self) -> Store:
        return self.there.store

    async def say(self, words: str) -> None:
        await self.there.say(telegram.ADA, words)

    async def press(self, label: str) -> None:
        shows = [message for message in self.there.api.screen(telegram.ADA) if label in message.labels]
        await self.there.press(telegram.ADA, shows[-1], label)

    async def settle(self) -> None:
        await self.there.handled()


@asynccontextmanager
async def on_telegram(directory: Path) -> AsyncIterator[Player]:
    with BotApi() as api:
        async with telegram.telegram_house(directory, api) as there:
            yield OnTelegram(there)


@dataclass
class OnSlack:
    """In a direct message, through Socket Mode."""

    there: slack_house.House

    @property
    def store(self) -> Store:
        return self.there.store

    async def say(self, words: str) -> None:
        await self.there.slack.message(words, channel=slack_end.ADAS_DM)

    async def press(self, label: str) -> None:
        shows = [
            message for message in await self.there.slack.said(slack_end.ADAS_DM) if has_button(message, label)
        ]
        await self.there.slack.press(shows[-1], label, channel=slack_end.ADAS_DM)

    async def settle(self) -> None:
        await self.there.handled()
        threads = select(tables.outbox.c.thread).distinct()
        for thread in await self.store.read(lambda tx: list(tx.connection.execute(threads).scalars())):
            await self.there.deliverer.drained(ChatRef("slack", slack_end.ADAS_DM, thread))


def has_button(message: Any, label: str) -> bool:
    try:
        return bool(slack_end.button(message, label))
    except AssertionError:
        return False


@asynccontextmanager
async def on_slack(directory: Path) -> AsyncIterator[Player]:
    async with slack_house.house(directory) as there:
        yield OnSlack(there)


@pytest.mark.parametrize("other", [on_telegram, on_slack], ids=["telegram", "slack"])
async def test_the_same_conversation_ends_in_the_same_store(
    tmp_path: Path, other: Callable[[Path], AbstractAsyncContextManager[Player]]
) -> None:
    ends = []
    for opened, name in ((on_console, "console"), (other, "other")):
        directory = tmp_path / name
        directory.mkdir()
        async with opened(directory) as player:
            ends.append(await play(player))
    here, there = ends
    assert [task[0] for task in here["tasks"]] == ["t1", "t2"]
    assert here["tasks"][0][4] == "Run the tests, and mend “what” is red"
    assert here["stopped"] == [False, True]
    decided = [("allow", "", "session"), ("answer", "blue", ""), ("go-on", "", ""), ("judge", "", "")]
    assert [question[1:] for question in here["approvals"]] == decided
    for part, left in here.items():
        assert there[part] == left, part
