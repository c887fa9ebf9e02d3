"""Named places where a test makes a call fail while the process keeps running. ``fleet/failpoints.py`` kills
instead.

``AIRBOSS_FAULT`` takes one or more of these, separated by spaces::

    store.commit          the first commit fails
    store.commit:3        the first three fail
    store.commit:60s      every commit fails for 60 seconds, starting with the first
    store.commit@12:3     the twelfth, thirteenth and fourteenth fail

Each point raises the same error as the real fault. A point that is not set costs one dictionary look-up.
"""

from __future__ import annotations

import contextlib
import errno
import logging
import os
import re
import sqlite3
import threading
import time
from collections.abc import Iterator
from dataclasses import dataclass
from enum import StrEnum
from typing import Final

from fleet.errors import Unreachable

_log = logging.getLogger(__name__)
_SPEC: Final = re.compile(r"(?P<point>[a-z.]+)(?:@(?P<first>\d+))?(?::(?P<amount>\d+)(?P<unit>s?))?")


class Point(StrEnum):
    """Where a fault can be injected."""

    STORE_READ = "store.read"
    STORE_COMMIT = "store.commit"
    MACHINE_CALL = "machine.call"
    FILE_WRITE = "file.write"
    CHAT_CALL = "chat.call"


@dataclass(frozen=True, slots=True)
class Fault:
    """Which visits of a point fail: starting at visit ``first``, ``times`` of them, or all within ``seconds``."""

    point: Point
    first: int = 1
    times: int = 1
    seconds: float = 0.0

    @classmethod
    def parse(cls, spec: str) -> Fault:
        """Parses one item of ``AIRBOSS_FAULT``. Raises ``ValueError`` for anything else."""
        found = _SPEC.fullmatch(spec)
        if found is None or found["point"] not in set(Point):
            raise ValueError(f"not a fault: {spec!r}")
        amount = int(found["amount"] or 1)
        timed = found["unit"] == "s"
        return cls(
            Point(found["point"]),
            first=int(found["first"] or 1),
            times=0 if timed else amount,
            seconds=float(amount) if timed else 0.0,
        )


class Injected:
    """An active fault. ``visits`` and ``raised`` count since it was set; any thread may visit."""

    def __init__(self, fault: Fault) -> None:
        self.fault = fault
        self.visits = self.raised = 0
        self._until = 0.0
        self._lock = threading.Lock()

    def visit(self) -> None:
        """Raises if this visit must fail."""
        with self._lock:
            self.visits += 1
            if not self._fails():
                return
            self.raised += 1
            number = self.visits
        _log.warning("fault injected: %s, visit %d", self.fault.point, number)
        raise _error(self.fault.point)

    def _fails(self) -> bool:
        if self.visits < self.fault.first:
            return False
        if not self.fault.seconds:
            return self.visits < self.fault.first + self.fault.times
        if self.visits == self.fault.first:
            self._until = time.monotonic() + self.fault.seconds
        return time.monotonic() < self._until


def fault(point: Point) -> None:
    """Raises the real fault's error here, if a test asked for it."""
    injected = _injected.get(point)
    if injected is not None:
        injected.visit()


@contextlib.contextmanager
def injected(wanted: Fault) -> Iterator[Injected]:
    """Activates a fault for the block, in this process; at most one per point."""
    made = Injected(wanted)
    _injected[wanted.point] = made
    try:
        yield made
    finally:
        del _injected[wanted.point]


def _error(point: Point) -> Exception:
    match point:
        case Point.STORE_READ:
            return _sqlite("database is locked", "SQLITE_BUSY", 5)
        case Point.STORE_COMMIT:
            return _sqlite("database or disk is full", "SQLITE_FULL", 13)
        case Point.FILE_WRITE:
            return OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        case Point.MACHINE_CALL | Point.CHAT_CALL:
            return Unreachable(attempted="reach the far end", cause="injected fault: the link is down")


def _sqlite(words: str, name: str, code: int) -> sqlite3.OperationalError:
    error = sqlite3.OperationalError(words)
    error.sqlite_errorname, error.sqlite_errorcode = name, code
    return error


_injected: Final[dict[Point, Injected]] = {
    wanted.point: Injected(wanted) for wanted in map(Fault.parse, os.environ.get("AIRBOSS_FAULT", "").split())
}
