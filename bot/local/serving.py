"""Runs a controller from the command line: in the foreground, or for one conversation."""

from __future__ import annotations

import asyncio
import gc
import os
import signal
import sys
from collections.abc import Callable
from pathlib import Path

from bot.app import App
from fleet.logs import setup_logging
from fleet.supervise import alongside, first


def serve(home: Path) -> int:
    """Runs until a signal or a fatal error. Raises what ``App.open`` raises."""
    setup_logging(home, console=False)
    _no_thread_a_process()
    return asyncio.run(_serve(home))


def embedded(home: Path, converse: Callable[[], int]) -> int:
    """Runs a controller while ``converse`` (blocking, on a thread) runs. Returns its status."""
    setup_logging(home, console=False)
    _no_thread_a_process()
    return asyncio.run(_embedded(home, converse))


def _no_thread_a_process() -> None:
    """Python 3.11 waits for each child in a thread of its own. From 3.12 on it does by itself what is set here."""
    if sys.version_info < (3, 12) and hasattr(os, "pidfd_open"):
        asyncio.set_child_watcher(asyncio.PidfdChildWatcher())


async def _serve(home: Path) -> int:
    stop = asyncio.Event()
    loop = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, stop.set)
    async with App.open(home) as app:
        sys.stdout.write(f"airboss serves {home}. Talk to it with: airboss chat\n")
        sys.stdout.writelines(f"{line}\n" for line in app.off)
        sys.stdout.flush()
        gc.freeze()  # what is loaded by now stays: collections need not look through it again
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
