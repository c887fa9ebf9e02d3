"""A chat core with the real Telegram adapter, over HTTP to the fake Bot API."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

from bot.cards import Card
from bot.chats.telegram.adapter import TelegramAdapter
from bot.chats.telegram.rates import Budget, Pace
from bot.chats.telegram.settings import Webhook
from bot.commands import every_command
from bot.hearing.core import ChatCore
from bot.outbox.delivering import Deliverer
from bot.outbox.posting import Outbox
from bot.registry import Context, Registry
from bot.speech.transcript import transcribe
from bot.telling.notify import Notifier
from fleet.clock import SystemClock
from fleet.config import Secrets, parse_fleet
from fleet.model import ChatRef, Task
from fleet.store import tasks
from fleet.store.chat import inbox
from fleet.store.core import Store
from fleet.supervise import Supervisor
from gates.locks.service import LockService
from tests.chat_house import FLEET, PlayedFleet
from tests.empty_store import filled
from tests.far_end.bot_api import BotApi
from tests.far_end.bot_api_world import Said

VERA, OTTO, ADA, STRANGER = 501, 502, 503, 666


def fleet_with_telegram_people() -> str:
    """The plain fleet, its people known by their Telegram ids."""
    text = FLEET
    for name, user in (("vera", VERA), ("otto", OTTO), ("ada", ADA)):
        text = text.replace(f"phone::{name}", f"telegram::{user}")
    return text


def boundless() -> Budget:
    """A budget that no test spends."""
    free = Pace(1e6, 1_000_000)
    return Budget(chat_pace=free, group_pace=free, overall_pace=free)


@dataclass
class House:
    """Everything of it."""

    home: Path
    api: BotApi
    store: Store
    fleet: PlayedFleet
    adapter: TelegramAdapter
    core: ChatCore
    notifier: Notifier
    deliverer: Deliverer
    outbox: Outbox

    async def tasks(self) -> list[Task]:
        return list(reversed(await self.store.read(lambda tx: tasks.recent(tx, 100))))

    async def stopping(self, task: str) -> bool:
        return await self.store.read(lambda tx: tasks.stop_requested(tx, task))

    async def handled(self) -> None:
        """Until all that was said is confirmed, has its effect, and every card it led to was delivered."""
        await self.api.until(lambda: not self.api.unconfirmed(), "every update is confirmed")
        while await self.store.read(inbox.pending):
            await asyncio.sleep(0.01)
        await self.notifier.caught_up()
        for chat in list(self.api.world.chats.values()):
            for thread in ("", *map(str, chat.topics)):
                await self.deliverer.drained(ChatRef("telegram", str(chat.id), thread))

    async def say(self, user: int, text: str, *, chat: int = 0, thread: int = 0, reply_to: int = 0) -> list[Said]:
        """Says it, and answers the messages that are new on the phone."""
        known = {message.id for message in self.api.screen(chat or user)}
        self.api.say(user, text, chat=chat, thread=thread, reply_to=reply_to)
        await self.handled()
        return [message for message in self.api.screen(chat or user) if message.id not in known]

    async def send(self, card: Card, *, chat: int = ADA, **more: Any) -> None:
        """Puts a card into the outbox, for Ada without ``chat``, and waits until it is on the phone or given up."""
        self.api.world.person(ADA)
        where = ChatRef("telegram", str(chat))
        await self.store.write(lambda tx: self.outbox.open(tx).post(where, card, **more))
        await self.deliverer.drained(where)

    async def change(self, card: Card, key: str, *, chat: int = ADA) -> None:
        """Changes the message that was sent under ``key``."""
        where = ChatRef("telegram", str(chat))
        await self.store.write(lambda tx: self.outbox.open(tx).repost(where, card, key=key))
        await self.deliverer.drained(where)

    async def press(self, user: int, message: Said, label: str = "", *, data: str = "") -> list[Said]:
        known = {shown_message.id for shown_message in self.api.screen(message.chat)}
        self.api.press(user, message, label, data=data)
        await self.handled()
        return [shown_message for shown_message in self.api.screen(message.chat) if shown_message.id not in known]


@asynccontextmanager
async def telegram_house(
    directory: Path,
    api: BotApi,
    *,
    budget: Budget | None = None,
    webhook: Webhook | None = None,
    more: str = "",
    env: Mapping[str, str] | None = None,
    newcomer: float = 300,
) -> AsyncIterator[House]:
    """Opens one under ``directory``; opening it again there finds what the first one left. ``more`` is added to
    its ``fleet.toml``, ``env`` is its ``.env``.

    ``newcomer``: seconds in which it yields to another program that polls."""
    config = parse_fleet(fleet_with_telegram_people() + more, "fleet.toml")
    with Store.open(f"sqlite:///{filled(directory / 'airboss.db')}") as store:
        fleet, registry = PlayedFleet(), Registry(every_command())
        supervisor, outbox = Supervisor(SystemClock()), Outbox(store)
        locks = LockService(store, supervisor.clock)
        context = Context(store, lambda: config, registry, fleet, directory, locks)
        transcribing = partial(transcribe, env=Secrets(dict(env or {})))
        core = ChatCore(context, outbox, supervisor, transcribe=transcribing)
        notifier = Notifier(outbox, lambda: config, supervisor, pause=0, redraw=0, files=directory / "files")
        menu = [(command.verb, command.summary) for command in registry.menu]
        adapter = TelegramAdapter(
            api.token,
            home=directory,
            api=api.url,
            webhook=webhook,
            menu=menu,
            budget=budget or boundless(),
            newcomer_seconds=newcomer,
        )
        core.fetches(adapter.name, adapter.fetch)
        deliverer = Deliverer(outbox, [adapter], supervisor, {adapter.name: adapter.contact})
        deliverer.start()
        try:
            await adapter.start(core.receive)
            supervisor.run("telegram connection", adapter.keep_up)
            supervisor.run("voice messages", core.voices.run)
            await notifier.start()
            await core.start()
            yield House(directory, api, store, fleet, adapter, core, notifier, deliverer, outbox)
        finally:
            await adapter.close()
            await core.close()
            await notifier.close()
            await deliverer.close()
            await supervisor.close()
