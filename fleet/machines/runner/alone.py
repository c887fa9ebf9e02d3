"""A login that one run has to itself: what else runs as it is ended, and what a run leaves behind is removed.

It holds where there are no namespaces. Everything is frozen before it is killed, so that no fork escapes.
"""

from __future__ import annotations

import os
import time

from .facts import LINUX, command_output, kill_each, login_name, processes, start_time, stat_fields
from .files import attempt, read_path
from .leavings import HomeOfTask, Leavings
from .light_signal import signal

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Iterator, Optional

    from .files import Json
    from .libc import Libc

PATIENCE_SECONDS = 8.0


def clear(order: Json, libc: Optional[Libc]) -> Json:
    """Ends every other process of this login and removes what runs left. Returns how many it ended, whether it is
    alone now, and a line for each thing removed.

    ``order``: ``room`` is the directory of the run that is about to start or has ended, ``links`` are processes to
    spare, ``since`` is when the run began (0: it has not yet). ``since_us`` and ``kept``: see ``Alone``.
    ``patience``: for how many seconds to try.
    """
    if os.getuid() == 0:
        return {"ended": 0, "alone": False, "left": ["root cannot be the login of one run"]}
    ended, alone = end_others(order["links"], order.get("patience", PATIENCE_SECONDS))
    home = HomeOfTask(order.get("since_us", 0) / 1e6, frozenset(order.get("kept", ())))
    return {"ended": ended, "alone": alone, "left": Leavings(order["room"], order["since"], home).clear(libc)}


def inside(links: list[list[object]]) -> Json:
    """What is in force, seen by the run's first process where it has no walls."""
    kept = ours(links)
    shared = any(pid not in kept for pid in of_login(os.getuid()))  # the first one tells
    return {
        "processes": "shared",
        "files": "shared",
        "network": "shared",
        "account": "shared" if shared else "own",
        "user": login_name(),
    }


def of_login(uid: int) -> Iterator[int]:
    """Every process with that real, effective or saved uid, zombies apart. /proc/PID may belong to root."""
    if not LINUX:
        listing = command_output(["ps", "-axo", "pid=,uid=,ruid=,stat="]).splitlines()
        rows = [line.split() for line in listing]
        yield from (int(row[0]) for row in rows if len(row) == 4 and str(uid) in row[1:3] and "Z" not in row[3])
        return
    for name in os.listdir("/proc"):
        text = read_path("/proc/%s/status" % name) if name.isdigit() else None
        state = status_words(text or b"", b"State")
        if state and str(uid).encode() in status_words(text or b"", b"Uid") and state[0][:1] not in b"ZX":
            yield int(name)


def status_words(text: bytes, name: bytes) -> list[bytes]:
    """What /proc/PID/status says of this."""
    return (b"\n" + text).partition(b"\n" + name + b":")[2].partition(b"\n")[0].split()


def ours(links: list[list[object]]) -> set[int]:
    """Processes that must live: this one, the given ones (pid and start time), and all above them."""
    listing = {} if LINUX else {row[0]: row[1] for row in processes()}
    kept: set[int] = set()
    for first in [os.getpid(), *(int(str(pid)) for pid, start in links if start_time(int(str(pid))) == start)]:
        pid = first
        while pid > 1 and pid not in kept:
            kept.add(pid)
            pid = int((stat_fields(pid) or "00")[1]) if LINUX else listing.get(pid, 0)
    return kept


def end_others(links: list[list[object]], patience: float) -> tuple[int, bool]:
    """Ends every other process of this login. Returns how many there were, and whether none is left."""
    me, ended = os.getuid(), 0
    give_up = time.monotonic() + patience
    kept = ours(links)
    while True:
        others = [pid for pid in of_login(me) if pid not in kept]
        if not others:
            return ended, True
        if time.monotonic() > give_up:
            return ended, False
        ended = max(ended, len(others))
        froze = me != 0 and attempt(
            os.kill, -1, signal.SIGSTOP
        )  # all but this process, and nothing can fork any more
        try:
            kill_each([pid for pid in of_login(me) if pid not in kept])
        finally:
            if froze:
                for pid in kept:
                    attempt(os.kill, pid, signal.SIGCONT)
        time.sleep(0.005)
