"""Who has the lock of a home. It imports little, because every command loads it."""

from __future__ import annotations

import os


def at_work(home: str) -> str:
    """What a controller does that has the home's lock and answers nobody yet; empty where none is seen.

    The lock is only looked at: whoever takes it for a moment makes a start fail.
    """
    try:
        lock = os.stat(f"{home}/serve.lock")  # noqa: PTH116 - pathlib costs its import
        place = f"{os.major(lock.st_dev):02x}:{os.minor(lock.st_dev):02x}:{lock.st_ino}"
        with open("/proc/locks", encoding="ascii") as locks:  # noqa: PTH123 - the same
            held = [line.split() for line in locks]
        pid = next(row[4] for row in held if row[1] == "FLOCK" and row[5] == place)
        with open(f"/proc/{pid}/cmdline", encoding="utf-8", errors="replace") as line:  # noqa: PTH123 - the same
            words = line.read().split("\0")
    except (OSError, StopIteration):
        return ""
    if "--standby" in words or "--join" in words:
        return "A controller has this home and does not lead: airboss controllers says which one does."
    if "serve" in words or "--embedded" in words:
        return "A controller is starting here, or ending. Try again in a moment; airboss.log says what it does."
    return ""
