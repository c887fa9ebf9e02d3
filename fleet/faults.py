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
import sys
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from enum import StrEnum
from functools import partial
from pathlib import Path
from types import FrameType
from typing import Final

from fleet.errors import Unreachable

_log = logging.getLogger(__name__)
_SPEC: Final = re.compile(r"(?P<point>[a-z.]+)(?:@(?P<first>\d+))?(?::(?P<amount>\d+)(?P<unit>s?))?")
_OURS: Final = tuple(f"{Path(__file__).parents[1] / package}{os.sep}" for package in ("fleet", "gates", "bot"))
_DEPTH: Final = 6


class Point(StrEnum):
    """Where a fault can be injected."""

    STORE_READ = "store.read"
    STORE_COMMIT = "store.commit"
    STORE_ANSWER = "store.answer"  # the commit is done, and its answer is lost
    MACHINE_CALL = "machine.call"
    FILE_WRITE = "file.write"
    CHAT_CALL = "chat.call"


Functions = Callable[[], Iterable[Callable[..., object]]]


@dataclass(frozen=True, slots=True)
class Fault:
    """Which visits of a point fail: from visit ``first`` on, ``times`` of them, or all within ``seconds``.

    With ``site`` (see :attr:`Injected.sites`), ``first`` counts the visits from there alone.
    """

    point: Point
    first: int = 1
    times: int = 1
    seconds: float = 0.0
    site: str = ""

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
    """A fault that is set. ``visits`` and ``raised`` count since then; any thread may visit.

    ``sites`` counts the visits by what made them: the store's by the function that reads or writes, all others by
    the calls that led there. One commit has a site for each function in it.
    """

    def __init__(self, fault: Fault, now: Callable[[], float] = time.monotonic) -> None:
        self.fault = fault
        self.visits = self.raised = 0
        self.sites: Counter[str] = Counter()
        self._now = now
        self._struck = 0
        self._until = 0.0
        self._lock = threading.Lock()

    def visit(self, functions: Functions | None) -> None:
        """Raises where this visit is one that fails."""
        sites = {site_of(function) for function in functions()} if functions else {_way_here()}
        with self._lock:
            self.visits += 1
            self.sites.update(sites)
            if not self._fails(sites):
                return
            self.raised += 1
            number = self.visits
        _log.warning("fault injected: %s, visit %d, %s", self.fault.point, number, ", ".join(sites))
        raise _error(self.fault.point)

    def _fails(self, sites: set[str]) -> bool:
        fault = self.fault
        if not self._struck:
            count = self.visits if not fault.site else self.sites[fault.site] if fault.site in sites else 0
            if count < fault.first:
                return False
            self._struck, self._until = self.visits, self._now() + fault.seconds
        if fault.seconds:
            return self._now() < self._until
        return self.visits < self._struck + fault.times


def fault(point: Point, functions: Functions | None = None) -> None:
    """Raises here what the real fault would raise, if a test asked for it. ``functions``: what the store runs."""
    injected = _injected.get(point)
    if injected is not None:
        injected.visit(functions)


@contextlib.contextmanager
def injected(wanted: Fault, now: Callable[[], float] = time.monotonic) -> Iterator[Injected]:
    """Sets a fault for the block, in this process; one a point at a time. ``now``: the clock of its ``seconds``."""
    made = Injected(wanted, now)
    _injected[wanted.point] = made
    try:
        yield made
    finally:
        del _injected[wanted.point]


def site_of(function: Callable[..., object]) -> str:
    """The site of what a store function does, for :class:`Fault`: that function's commit and no neighbour's."""
    while isinstance(function, partial):
        function = function.func
    code = getattr(function, "__code__", None)
    module = getattr(function, "__module__", "")
    if code is None:
        return f"{module}.{type(function).__qualname__}"
    return f"{module}.{code.co_qualname}:{code.co_firstlineno}"


def _way_here() -> str:
    """The last few functions of ours that called each other on the way to a point, the nearest first."""
    names: list[str] = []
    frame: FrameType | None = sys._getframe(3)  # past this module
    while frame is not None and len(names) < _DEPTH:
        if frame.f_code.co_filename.startswith(_OURS):
            names.append(f"{Path(frame.f_code.co_filename).stem}.{frame.f_code.co_qualname}")
        frame = frame.f_back
    return " < ".join(names)


def _error(point: Point) -> Exception:
    match point:
        case Point.STORE_READ:
            return _sqlite("database is locked", "SQLITE_BUSY", 5)
        case Point.STORE_COMMIT:
            return _sqlite("database or disk is full", "SQLITE_FULL", 13)
        case Point.STORE_ANSWER:
            return _sqlite("disk I/O error", "SQLITE_IOERR", 10)
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
