"""Runs a controller from the command line: in the foreground, or for one conversation."""

from __future__ import annotations

import asyncio
import contextlib
import gc
import os
import signal
import sys
import threading
from collections.abc import Callable
from pathlib import Path

from bot.app import App
from bot.leading import StandBy
from fleet.logs import setup_logging
from fleet.supervise import first
from fleet.zones import wrong_zone


def serve(home: Path, *, standby: bool = False, join: bool = False) -> int:
    """Runs until a signal or a fatal error. Raises what ``App.open`` raises. ``standby``: leads only when no other
    controller does. ``join``: meanwhile it leads tasks that the other gives it."""
    setup_logging(home, console=False)
    _no_thread_a_process()
    if standby or join:
        gc.enable()  # it may wait for weeks
    return asyncio.run(_serve(home, StandBy(_say, takes_part=join) if standby or join else None))


def embedded(home: Path, converse: Callable[[], int]) -> int:
    """Runs a controller while ``converse`` (blocking, on a thread) runs. Returns its status."""
    setup_logging(home, console=False)
    _no_thread_a_process()
    gc.enable()  # loading has disabled it
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

    _on_signals(lambda number: loop.call_soon_threadsafe(end))
    try:
        async with App.open(home, standby) as app:
            _say(f"airboss serves {home}. Talk to it with: airboss chat")
            for line in filter(None, (wrong_zone(), *app.off)):
                _say(line)
            gc.freeze()  # what is loaded by now stays: collections need not look through it again
            gc.enable()
            await first(stop.wait(), app.failed)
            if app.failed.done():
                await app.failed
    except asyncio.CancelledError:
        if not stop.is_set():
            raise
    finally:
        _on_signals(lambda number: None)  # a second one does not cut the end short, up to the process's own
    return 0


def _on_signals(act: Callable[[int], object]) -> None:
    """What a person, a service manager or a terminal that closes sends; not what ``nohup`` ignores."""
    for number in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP):
        if signal.getsignal(number) is not signal.SIG_IGN:
            signal.signal(number, lambda number, _: act(number))


def _say(line: str) -> None:
    """Where nobody can read it (a full disk, a pipe that was closed), the controller goes on, and says no more."""
    try:
        sys.stdout.write(f"{line}\n")
        sys.stdout.flush()
    except OSError:
        nowhere = os.open(os.devnull, os.O_WRONLY)
        os.dup2(nowhere, sys.stdout.fileno())
        os.close(nowhere)


async def _embedded(home: Path, converse: Callable[[], int]) -> int:
    """The conversation is read on a thread that nobody waits for: it may wait for a key for ever."""
    loop = asyncio.get_running_loop()
    over: asyncio.Future[int] = loop.create_future()

    def settle(status: int | BaseException) -> None:
        if over.done():
            return
        if isinstance(status, int):
            over.set_result(status)
        else:
            over.set_exception(status)

    def talk() -> None:
        try:
            status: int | BaseException = converse()
        except BaseException as error:
            status = error
        with contextlib.suppress(RuntimeError):  # the loop has ended
            loop.call_soon_threadsafe(settle, status)

    _on_signals(lambda number: loop.call_soon_threadsafe(settle, 128 + number))
    try:
        async with App.open(home) as app:
            threading.Thread(target=talk, name="conversation", daemon=True).start()
            await first(over, app.failed)
            if app.failed.done():
                await app.failed
            return await over
    finally:
        _on_signals(lambda number: None)
