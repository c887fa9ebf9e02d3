"""Keeps this machine awake beside a process, where the system has a program for that, and no longer."""

from __future__ import annotations

import os

from .children import default_signals
from .facts import signal_group
from .files import attempt
from .light_signal import signal

#: Ends by itself when the supervisor was killed. A Mac's caffeinate watches the process itself.
WATCH = 'while kill -0 "$1" 2> /dev/null; do sleep 2; done'
CAFFEINATE = ["caffeinate", "-i", "-w"]
INHIBIT = ["systemd-inhibit", "--what=sleep:idle", "--who=airboss", "--why=a session or gate runs", "--mode=block"]


class Awake:
    """The program that does it, in a group of its own; none where there is none. It is a child like any other."""

    def __init__(self, path: str, home: str) -> None:
        self.pid = 0
        outside = [place for place in path.split(":") if not (place + "/").startswith(home + "/")]
        argv = command(os.getpid(), outside)
        if not argv:
            return
        self.pid = os.fork()
        if self.pid == 0:
            try:
                os.setsid()
                default_signals()
                null = os.open(os.devnull, os.O_RDWR)
                for fd in (0, 1, 2):  # the nonce arrives on 0
                    os.dup2(null, fd)
                os.execv(argv[0], argv)
            finally:
                os._exit(127)

    def end(self) -> None:
        """Ends it with what it started, and waits for that: a look for what is left of a run does not find it."""
        if self.pid:
            signal_group(self.pid, signal.SIGKILL)
            while attempt(os.waitpid, -self.pid, 0):
                pass
            self.pid = 0


def command(pid: int, path: list[str]) -> list[str]:
    """What keeps the machine awake while ``pid`` lives; empty where nothing does. ``path``: the directories to look
    in; none of the home, where what ran here before could have put one."""
    for argv, rest in ((CAFFEINATE, [str(pid)]), (INHIBIT, ["sh", "-c", WATCH, "airboss", str(pid)])):
        for place in path:
            program = os.path.join(place, argv[0])
            if place.startswith("/") and os.access(program, os.X_OK):
                return [program, *argv[1:], *rest]
    return []
