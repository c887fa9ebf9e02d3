"""From a slash command to its acknowledgement in Socket Mode, against bare slack-bolt on the same emulator.

Ours goes through the product's own receive path, ``ChatCore.receive``: the inbox row and the look at what the
message is about are committed to a store on disk, and the command is handled behind the acknowledgement. Bolt's
is an empty listener that acknowledges. The clock runs in the emulator's client: the command is typed, the envelope
goes down the socket, the answer comes back. Both are connected and warm.
"""

from __future__ import annotations

import asyncio
import logging
import sys
import tempfile
import time
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

from slack_bolt.adapter.socket_mode.aiohttp import AsyncSocketModeHandler
from slack_bolt.async_app import AsyncApp
from slack_sdk.web.async_client import AsyncWebClient
from sqlalchemy import func, select

from bot.chats.slack.adapter import SlackAdapter
from bot.chats.slack.settings import Settings
from fleet.store.core import Store
from fleet.store.tables import inbox
from tests.bench.harness import Trial, compare, report
from tests.chat_house import house
from tests.far_end.slack import APP_TOKEN, BOT_TOKEN, LocalSlack, running_slack

BAR = 0.5
ROUNDS = 101
#: The command is handled and answered behind its acknowledgement; the next one waits for that.
REST_SECONDS = 0.03


@asynccontextmanager
async def bare_bolt(slack: LocalSlack) -> AsyncIterator[None]:
    """What slack-bolt's own documentation shows, and nothing more."""
    app = AsyncApp(client=AsyncWebClient(token="xoxb-other-0", base_url=f"{slack.root}/api/"))

    async def acknowledge(ack: Callable[[], Any]) -> None:
        await ack()

    app.command("/run")(acknowledge)
    handler = AsyncSocketModeHandler(app, "xapp-other-0")
    await handler.client.connect()  # type: ignore[no-untyped-call] # the library leaves it untyped
    yield
    await handler.client.close()  # type: ignore[no-untyped-call] # the library leaves it untyped


@asynccontextmanager
async def ours(slack: LocalSlack, place: Path) -> AsyncIterator[Store]:
    """Our adapter and a whole chat core on a store on disk. Answers the store."""
    made = Settings(BOT_TOKEN, APP_TOKEN, "", f"{slack.root}/api/", ("127.0.0.1", 0), place)
    adapter = SlackAdapter(made, ("run",))
    async with house(place, more=(adapter,)) as there:
        await adapter.start(there.core.receive)
        yield there.store
        await adapter.close()


async def both_connected(slack: LocalSlack) -> None:
    while sum("socket connected" in str(entry) for entry in await slack.log()) < 2:
        await asyncio.sleep(0.02)


def main() -> int:
    """Prints the figure; 1 when it misses its bar."""
    logging.disable(logging.WARNING)
    with tempfile.TemporaryDirectory(prefix="airboss-bench-") as name, asyncio.Runner() as runner:
        place = Path(name)
        stop = asyncio.Event()
        ready: asyncio.Future[tuple[LocalSlack, Store]] = runner.get_loop().create_future()

        async def serve() -> None:
            async with (
                running_slack(place / "slack", more_apps=1) as slack,
                ours(slack, place) as store,
                bare_bolt(slack),
            ):
                await both_connected(slack)
                ready.set_result((slack, store))
                await stop.wait()

        async def begin() -> tuple[LocalSlack, Store, asyncio.Task[None]]:
            serving = asyncio.create_task(serve())
            await asyncio.wait((ready, serving), return_when=asyncio.FIRST_COMPLETED)
            if serving.done():
                await serving
            return *ready.result(), serving

        slack, store, serving = runner.run(begin())

        def typed(app: str) -> Trial:
            async def once() -> float:
                started = time.perf_counter()
                await slack.command("/run", "mend it", app=app)
                seconds = time.perf_counter() - started
                await asyncio.sleep(REST_SECONDS)
                return seconds

            return lambda: runner.run(once())

        found = compare(
            "a slash command acknowledged",
            ("Airboss, the inbox row committed", typed("A01APP")),
            ("bare slack-bolt", typed("A10APP")),
            bar=BAR,
            rounds=ROUNDS,
            warm=10,
        )
        kept = runner.run(count(store))
        if kept != ROUNDS + 10:
            sys.exit(f"bench: {kept} rows in the inbox, {ROUNDS + 10} commands")

        async def end() -> None:
            stop.set()
            await serving

        runner.run(end())
    return report([found])


async def count(store: Store) -> int:
    """The commands that were kept, handled or not."""
    query = select(func.count()).select_from(inbox)
    return int(await store.read(lambda tx: tx.connection.execute(query).scalar_one()))


if __name__ == "__main__":
    sys.exit(main())
