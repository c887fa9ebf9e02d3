"""One controller for each home, whatever the store."""

from __future__ import annotations

import contextlib
import fcntl
import os
from collections.abc import Iterator
from pathlib import Path

from fleet import files
from fleet.errors import Unavailable


class HomeInUse(Unavailable):
    """Another process leads this home: a controller, or for a moment a command."""


@contextlib.contextmanager
def only_one(home: Path) -> Iterator[None]:
    """Holds the home's lock. The kernel releases it however this process ends."""
    lock = files.lock_file(home / "serve.lock")
    try:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise HomeInUse(
                attempted="start a controller",
                on=str(home),
                cause="another controller is already running on this AIRBOSS_HOME",
                hint="Use it (airboss chat), or stop it first. One that stands by needs a home of its own.",
            ) from None
        yield
    finally:
        os.close(lock)
