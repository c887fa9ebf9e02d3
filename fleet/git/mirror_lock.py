"""One process at a time changes the refs and packs of a mirror, where controllers share the folder that it is in.

Git's own locks keep the mirror whole; this one saves the errors of two fetches at once. So nobody waits for it for
ever: a process that is frozen keeps its lock.
"""

from __future__ import annotations

import asyncio
import contextlib
import fcntl
import os
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Final

from fleet import files

_LOOK_SECONDS: Final = 0.05
_PATIENCE_SECONDS: Final = 30.0
_STALE_SECONDS: Final = 60.0


@asynccontextmanager
async def one_process(mirror: Path) -> AsyncIterator[None]:
    """Holds the mirror's lock for the block, or has waited long enough. The kernel releases it however this process
    ends. Raises ``DiskFull`` or ``Unavailable`` where there can be no lock."""
    with files.writing("lock the mirror", mirror):
        lock = files.lock_file(mirror / "airboss.lock")
    try:
        give_up = time.monotonic() + _PATIENCE_SECONDS
        while not _locked(lock) and time.monotonic() < give_up:  # noqa: ASYNC110 - another process lets it go
            await asyncio.sleep(_LOOK_SECONDS)
        yield
    finally:
        os.close(lock)


def forget_beginning(mirror: Path) -> None:
    """Of a mirror whose making was cut short: git would refuse for ever to make it over its own lock files."""
    for name in ("config.lock", "HEAD.lock"):
        (mirror / name).unlink(missing_ok=True)


def forget_stale(lock: Path) -> None:
    """Of a git that died: the next would refuse for ever. One that lives holds a ref's lock for milliseconds."""
    with contextlib.suppress(FileNotFoundError):
        if time.time() - lock.stat().st_mtime > _STALE_SECONDS:
            lock.unlink()


def _locked(lock: int) -> bool:
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True
