"""From an update to the answer on the phone, against a bare python-telegram-bot that echoes.

Ours is the whole stack: the update's row committed before it is confirmed, rights, the command, its effect and the
answer's row in one commit, the outbox, Telegram. The echo is what the library's first example does. Both speak to
the same fake Bot API over HTTP, in turn; the clock runs from the update's arrival there to the message's.
"""

from __future__ import annotations

import asyncio
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Coroutine, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from telegram import Update
from telegram.ext import ApplicationBuilder, ContextTypes, MessageHandler, filters

from bot.app import App
from tests.bench.harness import Trial, compare, report
from tests.far_end.bot_api import TOKEN, BotApi

BAR = 1.5
ROUNDS = 151
WARM = 10
FIRST_USER = 10_000
FLEET = """
isolation = "unsafe-same-user"

[machines.here]
executor = "local"
python = "{python}"
home = "{machine}"

[agents.echo]
driver = "command"
program = ["cat"]

[repos.shop]
url = "/nowhere"
agent = "echo"

[[people]]
name = "bench"
role = "operator"
ids = [{ids}]
"""


@contextmanager
def in_thread(work: Callable[[threading.Event, asyncio.Event], Coroutine[Any, Any, None]]) -> Iterator[None]:
    """Runs a bot on an event loop of its own until the context ends."""
    ready, stop, loop = threading.Event(), asyncio.Event(), asyncio.new_event_loop()
    thread = threading.Thread(target=loop.run_until_complete, args=(work(ready, stop),))
    thread.start()
    while not ready.wait(0.1):
        if not thread.is_alive():
            sys.exit("bench: a bot did not come up")
    try:
        yield
    finally:
        loop.call_soon_threadsafe(stop.set)
        thread.join()
        loop.close()


def echo(api: BotApi) -> Callable[[threading.Event, asyncio.Event], Coroutine[Any, Any, None]]:
    """The library alone, with its defaults."""

    async def answer(update: Update, _: ContextTypes.DEFAULT_TYPE) -> None:
        if update.message is not None and update.message.text is not None:
            await update.message.reply_text(update.message.text)

    async def run(ready: threading.Event, stop: asyncio.Event) -> None:
        builder = ApplicationBuilder().token(TOKEN).base_url(f"{api.url}/bot")
        app = builder.base_file_url(f"{api.url}/file/bot").build()
        app.add_handler(MessageHandler(filters.TEXT, answer))
        async with app:
            await app.start()
            assert app.updater is not None, "the builder makes one"
            await app.updater.start_polling()
            ready.set()
            await stop.wait()
            await app.updater.stop()
            await app.stop()

    return run


def airboss(home: Path) -> Callable[[threading.Event, asyncio.Event], Coroutine[Any, Any, None]]:
    """A whole controller."""

    async def run(ready: threading.Event, stop: asyncio.Event) -> None:
        async with App.open(home):
            ready.set()
            await stop.wait()

    return run


def asking(api: BotApi, text: str) -> Trial:
    """One update by a person who has not written before, so that no chat's budget is spent, and its answer."""
    users = iter(range(FIRST_USER, FIRST_USER + 10_000))

    def ask() -> float:
        user = next(users)
        started = time.perf_counter()
        api.say(user, text)
        api.wait(lambda: api.screen(user), "the bot answers")
        seconds = time.perf_counter() - started
        api.wait(lambda: not api.unconfirmed(), "the update is confirmed")
        time.sleep(0.02)  # what follows the answer (the outbox row's end) falls on nobody else's clock
        return seconds

    return ask


def main() -> int:
    """Prints the figure; 1 when it misses its bar."""
    with tempfile.TemporaryDirectory(prefix="airboss-bench-") as name, BotApi() as ours, BotApi() as bare:
        home = Path(name) / "home"
        home.mkdir(mode=0o700)
        ids = ", ".join(f'"telegram::{FIRST_USER + number}"' for number in range(ROUNDS + WARM))
        fleet = FLEET.format(python=sys.executable, machine=Path(name) / "machine", ids=ids)
        (home / "fleet.toml").write_text(fleet)
        (home / ".env").write_text(f"AIRBOSS_TELEGRAM_TOKEN={TOKEN}\nAIRBOSS_TELEGRAM_API={ours.url}\n")
        (home / ".env").chmod(0o600)
        with in_thread(airboss(home)), in_thread(echo(bare)):
            found = compare(
                "a Telegram update to its answer",
                ("Airboss: /help run, rows committed", asking(ours, "/help run")),
                ("python-telegram-bot: echo", asking(bare, "/help run")),
                bar=BAR,
                rounds=ROUNDS,
                warm=WARM,
            )
            return report([found])


if __name__ == "__main__":
    sys.exit(main())
