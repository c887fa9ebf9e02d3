"""The end of what a run leaves: processes are killed until none is left, or until nothing more can be done."""

from __future__ import annotations

import os
import pwd

from .facts import descendants, owner, start_time
from .files import read_path
from .light_signal import signal

GONE_SECONDS = 10.0
"""This long after a stop nothing of a run is left, or its record says what is."""
LEAST_SECONDS = 3.0  # for the last part of it, however long the run was given to heed the stop
ENOUGH_KILLS = 3  # a second apart: a command that outlives them cannot be killed


class Deadline:
    """When to give up ending a run. It begins with the first stop, or else with the run's own end."""

    def __init__(self) -> None:
        self.at = 0.0

    def begin(self, now: float, grace: float = 0.0) -> None:
        """A second call changes nothing. ``grace``: how long the run may take to heed the stop."""
        self.at = self.at or now + max(GONE_SECONDS, grace + LEAST_SECONDS)

    def extend(self, now: float) -> None:
        """Leaves enough time for the last part."""
        self.begin(now)
        self.at = max(self.at, now + LEAST_SECONDS)

    def passed(self, now: float) -> bool:
        """Whether it has begun and is over."""
        return bool(self.at) and now > self.at

    def left(self, now: float) -> float:
        """Seconds until then, at least :data:`LEAST_SECONDS`."""
        return max(LEAST_SECONDS, self.at - now)


def kill_what_is_left(main: int) -> tuple[list[int], bool]:
    """Kills every process below this one, and those of the group ``main``. Returns them, and whether all refused:
    they belong to another login, which only root may signal."""
    found = descendants(os.getpid(), main)
    refused = 0
    for pid in found:
        try:
            os.kill(pid, signal.SIGKILL)
        except PermissionError:
            refused += 1
        except OSError:
            continue  # it ended meanwhile
    return found, bool(found) and refused == len(found)


def refuses(pid: int) -> bool:
    """Whether it lives and this login may not signal it."""
    try:
        os.kill(pid, 0)
    except PermissionError:
        return True
    except OSError:
        return False
    return False


def described(pids: list[int]) -> list[str]:
    """A line for each process that still runs."""
    lines = []
    for pid in pids:
        name = (read_path("/proc/%d/comm" % pid) or b"").decode("utf-8", "replace").strip()
        if start_time(pid):
            lines.append("could not end %s (process %d of %s)" % (name or "a process", pid, login_of(pid)))
    return lines


def login_of(pid: int) -> str:
    """Whose process it is."""
    uid = owner("/proc/%d" % pid)
    try:
        return pwd.getpwuid(uid).pw_name
    except KeyError:
        return str(uid)
