"""Running a controller from the command line: in the foreground, or around one conversation."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import logging.handlers
import signal
import sys
from collections.abc import Callable
from pathlib import Path

from bot.app import App
from fleet.supervise import alongside, first

LOG_FILE = "airboss.log"


def serve(home: Path) -> int:
    """Until a signal asks for the end, or something makes going on impossible. Raises what ``App.open`` raises."""
    _log_to(home)
    return asyncio.run(_serve(home))


def embedded(home: Path, converse: Callable[[], int]) -> int:
    """Runs a controller for as long as ``converse`` (blocking, on a thread) goes on; answers its status."""
    _log_to(home)
    return asyncio.run(_embedded(home, converse))


async def _serve(home: Path) -> int:
    stop = asyncio.Event()
    loop = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, stop.set)
    async with App.open(home) as app:
        sys.stdout.write(f"airboss serves {home}. Talk to it with: airboss chat\n")
        sys.stdout.writelines(f"{line}\n" for line in app.off)
        sys.stdout.flush()
        await first(stop.wait(), app.failed)
        if app.failed.done():
            await app.failed
    return 0


async def _embedded(home: Path, converse: Callable[[], int]) -> int:
    async with App.open(home) as app, alongside(asyncio.to_thread(converse), "conversation") as talk:
        await first(talk, app.failed)
        if app.failed.done():
            await app.failed
        return await talk


def _log_to(home: Path) -> None:
    """The log of our own troubles; what happens in the fleet is in the ledger."""
    with contextlib.suppress(OSError):
        home.mkdir(mode=0o700, parents=True, exist_ok=True)
        handler = logging.handlers.RotatingFileHandler(home / LOG_FILE, maxBytes=4 << 20, backupCount=3, delay=True)
        handler.setFormatter(logging.Formatter("%(asctime)s %(levelname)s %(name)s: %(message)s"))
        logging.getLogger().addHandler(handler)
        logging.getLogger().setLevel(logging.INFO)
        for chatty in ("asyncssh", "httpx", "httpcore", "alembic", "matplotlib"):
            logging.getLogger(chatty).setLevel(logging.WARNING)
