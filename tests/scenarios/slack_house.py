"""A chat core with the real Slack adapter against the emulator, a fault proxy in between."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

from bot.cards import Card
from bot.chats.slack.adapter import SlackAdapter
from bot.chats.slack.connection import SocketConnection, Take
from bot.chats.slack.manifest import dialect, learn
from bot.chats.slack.pace import RateLimiter
from bot.chats.slack.settings import Settings
from bot.commands import every_command
from bot.hearing.core import ChatCore
from bot.outbox.delivering import Deliverer
from bot.outbox.posting import Outbox
from bot.registry import Context, Registry
from bot.telling.notify import Notifier
from fleet.clock import SystemClock
from fleet.config import FleetConfig, parse_fleet
from fleet.model import ChatRef, Task
from fleet.store import tasks
from fleet.store.chat import inbox
from fleet.store.core import Store, Tx
from fleet.supervise import Supervisor
from gates.locks.service import LockService
from tests.chat_house import FLEET as PLAIN_FLEET
from tests.chat_house import PlayedFleet
from tests.empty_store import filled
from tests.far_end.slack import APP_TOKEN, BOT_TOKEN, FLEET, TEAM, LocalSlack, running_slack
from tests.far_end.slack_proxy import SlackProxy, proxied

HERE = ChatRef("slack", FLEET)


def fleet_with_slack_people() -> str:
    """The plain fleet, its people known by their Slack ids."""
    text = PLAIN_FLEET
    for name, user in (("ada", "U01ADA"), ("otto", "U02OTTO"), ("vera", "U03VERA")):
        text = text.replace(f'"phone::{name}"', f'"slack:{TEAM}:{user}"')
    return text


@dataclass
class House:
    """Everything of it."""

    home: Path
    slack: LocalSlack
    proxy: SlackProxy
    store: Store
    config: FleetConfig
    fleet: PlayedFleet
    adapter: SlackAdapter
    core: ChatCore
    notifier: Notifier
    deliverer: Deliverer
    outbox: Outbox

    async def tasks(self) -> list[Task]:
        return list(reversed(await self.store.read(lambda tx: tasks.recent(tx, 100))))

    async def stopping(self, task: str) -> bool:
        return await self.store.read(lambda tx: tasks.stop_requested(tx, task))

    async def handled(self) -> None:
        """Until every received message has its effect and every card it led to was delivered."""
        while await self.store.read(inbox.pending):
            await asyncio.sleep(0.01)
        await self.settled()

    async def settled(self) -> None:
        """Until everything told has been delivered, in whatever channel or thread."""
        await self.notifier.caught_up()
        while await self.store.read(_unsettled):
            await asyncio.sleep(0.01)


def _unsettled(tx: Tx) -> int:
    query = "SELECT count(*) FROM outbox WHERE state IN ('waiting', 'in_flight')"
    return int(tx.connection.exec_driver_sql(query).scalar_one())


async def say(there: House, card: Card, **more: Any) -> int:
    """Puts a card into the outbox for the fleet's channel."""
    return await there.store.write(lambda tx: there.outbox.open(tx).post(HERE, card, **more))


def settings(api: str, home: Path, **other: Any) -> Settings:
    """As ``.env`` would say for the emulator behind ``api``."""
    fields: dict[str, Any] = {
        "bot_token": BOT_TOKEN,
        "app_token": APP_TOKEN,
        "signing_secret": "",
        "api": api,
        "listen": ("127.0.0.1", 0),
        "files": home / "files" / "slack",
    }
    return Settings(**{**fields, **other})


@asynccontextmanager
async def served(
    home: Path,
    proxy: SlackProxy,
    *,
    receive: Callable[[ChatCore], Any] | None = None,
    made: Settings | None = None,
    silence: float = 900.0,
    patience: float = 20.0,
    edits: RateLimiter | None = None,
) -> AsyncIterator[House]:
    """One controller's life in ``home``; entering again finds what the last one left."""
    config = parse_fleet(fleet_with_slack_people(), "fleet.toml")
    registry = Registry(every_command())
    registry.dialects["slack"] = dialect(registry)

    def quick(web: Any, take: Take) -> SocketConnection:
        return SocketConnection(
            web, take, APP_TOKEN, look_seconds=0.05, silence_seconds=silence, patience_seconds=patience
        )

    http = made is not None and made.signing_secret
    adapter = SlackAdapter(
        made or settings(proxy.api, home),
        registry.names,
        heard=partial(learn, registry),
        posts=RateLimiter(1_000, 1_000),
        edits=edits,
        connection=None if http else quick,
    )
    with Store.open(f"sqlite:///{filled(home / 'airboss.db')}") as store:
        fleet = PlayedFleet()
        supervisor, outbox = Supervisor(SystemClock()), Outbox(store)
        locks = LockService(store, supervisor.clock)
        context = Context(store, lambda: config, registry, fleet, home, locks)
        core = ChatCore(context, outbox, supervisor)
        core.fetches(adapter.name, adapter.fetch)
        notifier = Notifier(outbox, lambda: config, supervisor, pause=0, redraw=0, files=home / "files")
        deliverer = Deliverer(outbox, (adapter,), supervisor, {adapter.name: adapter.contact})
        deliverer.start()
        await adapter.start(receive(core) if receive else core.receive)
        supervisor.run("slack connection", adapter.keep_up)
        await notifier.start()
        await core.start()
        try:
            yield House(
                home, proxy.behind, proxy, store, config, fleet, adapter, core, notifier, deliverer, outbox
            )  # fmt: skip
        finally:
            await core.close()
            await notifier.close()
            with contextlib.suppress(Exception):
                await adapter.close()
            await deliverer.close()
            await supervisor.close()


@asynccontextmanager
async def house(
    directory: Path, *, silence: float = 900.0, patience: float = 20.0, edits: RateLimiter | None = None
) -> AsyncIterator[House]:
    """An emulator, a proxy and one controller."""
    home = directory / "home"
    home.mkdir()
    async with (
        running_slack(directory / "slack") as slack,
        proxied(slack) as proxy,
        served(home, proxy, silence=silence, patience=patience, edits=edits) as it,
    ):
        await slack.connected()
        yield it
