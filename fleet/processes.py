"""Programs that the controller starts beside itself: a start that no cancel leaves half done, and their end."""

from __future__ import annotations

import asyncio
import contextlib
import os
import signal
from asyncio.subprocess import DEVNULL, Process
from collections.abc import Mapping
from pathlib import Path
from typing import IO, TypeAlias

from fleet.supervise import own

Stream: TypeAlias = int | IO[bytes]


async def start(
    *argv: str,
    stdin: Stream = DEVNULL,
    stdout: Stream = DEVNULL,
    stderr: Stream = DEVNULL,
    cwd: Path | str | None = None,
    env: Mapping[str, str] | None = None,
    grace: float = 0.0,
    umask: int = -1,
) -> Process:
    """Starts a program in a session and process group of its own.

    A program may run for a while before asyncio hands it out. Cancelled in that time, asyncio would kill the
    program alone and at once: its children would stay, and so would the lock files that git removes on TERM. So a
    cancel here waits for the start, then ends the whole group as ``end`` does with this ``grace``.

    Raises ``OSError`` when it cannot be started.
    """
    started = asyncio.create_subprocess_exec(
        *argv,
        stdin=stdin,
        stdout=stdout,
        stderr=stderr,
        cwd=cwd,
        env=env,
        start_new_session=True,
        umask=umask,
    )
    starting = own(started, f"start {argv[0]}")
    try:
        return await asyncio.shield(starting)
    except asyncio.CancelledError:
        await asyncio.shield(_end_started(starting, grace))
        raise


async def end(process: Process, grace: float = 0.0) -> None:
    """Ends a process that ``start`` made, with its group: TERM, KILL after ``grace`` seconds; with 0 at once."""
    if grace:
        _signal(process, signal.SIGTERM)
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(grace):
                await process.wait()
                return
    kill(process)
    await process.wait()


def kill(process: Process) -> None:
    """Kills the process's whole group: also children that outlived the process itself."""
    _signal(process, signal.SIGKILL)


async def _end_started(starting: asyncio.Future[Process], grace: float) -> None:
    with contextlib.suppress(OSError):  # it did not start: nothing is there to end
        await end(await starting, grace)


def _signal(process: Process, number: signal.Signals) -> None:
    with contextlib.suppress(ProcessLookupError, PermissionError):
        os.killpg(process.pid, number)
