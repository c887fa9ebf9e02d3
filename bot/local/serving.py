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
from bot.leading import StandBy
from fleet.logs import setup_logging
from fleet.supervise import alongside, first


def serve(home: Path, *, standby: bool = False, join: bool = False) -> int:
    """Runs until a signal or a fatal error. Raises what ``App.open`` raises. ``standby``: leads only when no other
    controller does. ``join``: meanwhile it leads tasks that the other gives it."""
    setup_logging(home, console=False)
    _no_thread_a_process()
    return asyncio.run(_serve(home, StandBy(_say, takes_part=join) if standby or join else None))


def embedded(home: Path, converse: Callable[[], int]) -> int:
    """Runs a controller while ``converse`` (blocking, on a thread) runs. Returns its status."""
    setup_logging(home, console=False)
    _no_thread_a_process()
    return asyncio.run(_embedded(home, converse))


def _no_thread_a_process() -> None:
    """Python 3.11 waits for each child in a thread of its own. From 3.12 on it does by itself what is set here."""
    if sys.version_info < (3, 12) and hasattr(os, "pidfd_open"):
        asyncio.set_child_watcher(asyncio.PidfdChildWatcher())


async def _serve(home: Path, standby: StandBy | None) -> int:
    stop = asyncio.Event()
    loop, this = asyncio.get_running_loop(), asyncio.current_task()

    def end() -> None:
        stop.set()
        if standby is not None and standby.waiting and this is not None:
            this.cancel()

    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, end)
    try:
        async with App.open(home, standby) as app:
            _say(f"airboss serves {home}. Talk to it with: airboss chat")
            for line in app.off:
                _say(line)
            gc.freeze()  # what is loaded by now stays: collections need not look through it again
            await first(stop.wait(), app.failed)
            if app.failed.done():
                await app.failed
    except asyncio.CancelledError:
        if not stop.is_set():
            raise
    return 0


def _say(line: str) -> None:
    sys.stdout.write(f"{line}\n")
    sys.stdout.flush()


async def _embedded(home: Path, converse: Callable[[], int]) -> int:
    async with App.open(home) as app, alongside(asyncio.to_thread(converse), "conversation") as talk:
        await first(talk, app.failed)
        if app.failed.done():
            await app.failed
        return await talk
