"""How long this machine has been up, sleep included, and since which boot: a clock that nobody can set.

Leases in SQLite use it. The wall clock can jump, by hand or by NTP; a jump would end a lease that is held, or keep
one whose holder is dead.
"""

from __future__ import annotations

import ctypes
import functools
import sys
import time
from dataclasses import dataclass
from pathlib import Path

from fleet.errors import Misused

_LINUX_ID = Path("/proc/sys/kernel/random/boot_id")


@dataclass(frozen=True, slots=True)
class Moment:
    """A point in time since a boot: ``boot`` identifies the boot, ``us`` is microseconds since then."""

    boot: str
    us: int


def now() -> Moment:
    """The current moment. Raises ``Misused`` when the boot cannot be identified."""
    return Moment(_boot_id(), uptime_us())


def uptime_us() -> int:
    """Microseconds since this boot."""
    return time.clock_gettime_ns(_clock()) // 1_000


def _clock() -> int:
    # macOS counts sleep in CLOCK_MONOTONIC_RAW and has no CLOCK_BOOTTIME; on Linux it is the other way round.
    return time.CLOCK_MONOTONIC_RAW if sys.platform == "darwin" else time.CLOCK_BOOTTIME


@functools.cache
def _boot_id() -> str:
    try:
        boot = _darwin_id() if sys.platform == "darwin" else _LINUX_ID.read_text().strip()
    except OSError as error:
        raise Misused(
            attempted="read the id of this boot",
            cause=str(error),
            hint="Mount /proc: leases in SQLite need it",
        ) from error
    return boot


def _darwin_id() -> str:
    text = ctypes.create_string_buffer(64)
    size = ctypes.c_size_t(len(text))
    if ctypes.CDLL(None, use_errno=True).sysctlbyname(b"kern.bootsessionuuid", text, ctypes.byref(size), None, 0):
        raise OSError(ctypes.get_errno(), "sysctl kern.bootsessionuuid failed")
    return text.value.decode()
