"""What a session may have left in a login that it shares with others: found and reported, never removed, because it
may belong to another session."""

from __future__ import annotations

from typing import Final

from fleet.exits import succeeded
from fleet.flight.services import Services
from fleet.machines.runner.leavings import STARTUP
from fleet.model import PipeEnd, Session
from fleet.ports import Executor, LoginFacts
from fleet.untrusted import clean

_LINES: Final = 10
_LINUX: Final = "linux"
_BUSY: Final = (".config", ".local")  # in a login that a person uses, something in them changes all the time
_STARTUP: Final = (
    *(name for name in STARTUP if name not in _BUSY),
    *(f".config/{name}" for name in ("systemd", "autostart", "environment.d", "fish")),
)

_MOST: Final = 50
# Without json, whose import takes longer than the rest.
_LOOK: Final = """
import os, pwd, sys
since, jobs, most = float(sys.argv[1]), sys.argv[2], int(sys.argv[3])
home, found = pwd.getpwuid(os.getuid()).pw_dir, []
for name in sys.argv[4:]:
    top = os.path.join(home, name)
    for folder, _, files in [(home, [], [name])] if not os.path.isdir(top) else os.walk(top):
        for path in (os.path.join(folder, each) for each in files):
            try:
                if os.lstat(path).st_ctime >= since:
                    found.append("changed while it ran: " + path)
            except OSError:
                pass
for argv, what in ((["crontab", "-l"], "a crontab"), (["atq"], "jobs of at")) if jobs else ():
    import subprocess
    try:
        if subprocess.run(argv, capture_output=True, timeout=10, stdin=subprocess.DEVNULL).stdout.strip():
            found.append("the login has " + what)
    except (OSError, subprocess.SubprocessError):
        pass
os.write(1, os.fsencode("\\0".join(["seen", *found[:most]])))
"""


async def of_shared_login(
    services: Services, executor: Executor, session: Session, facts: LoginFacts
) -> tuple[str, ...]:
    """Start-up files that changed while the session ran; where the login is for agents only, also whether it has a
    crontab or jobs of at."""
    since_us = session.started_us + facts.clock_us - services.clock.now_us()
    python, jobs = services.machine_of(session).python, "" if session.isolation.unsafe else "jobs"
    asked = (str(since_us / 1_000_000), jobs, str(_MOST), *_STARTUP)
    ran = await executor.run([python, "-I", "-S", "-E", "-c", _LOOK, *asked])
    seen, *found = ran.out.decode("utf-8", "replace").split("\0")
    if not succeeded(ran.exit) or seen != "seen":
        return ("could not look for what it left in its login",)
    lines = [clean(line, 200) for line in found]
    return tuple(lines[:_LINES]) + ((f"and {len(lines) - _LINES} more",) if len(lines) > _LINES else ())


def of_processes(session: Session, facts: LoginFacts, named: tuple[str, ...] = ()) -> tuple[str, ...]:
    """Lines where nobody saw that every process of the session has ended. ``named``: those that its supervisor
    could not end."""
    never = not session.pipe or session.pipe_end is PipeEnd.UNAVAILABLE
    confirmed = session.pipe_end is PipeEnd.GONE and facts.system == _LINUX
    return () if never or confirmed else named or ("unconfirmed: processes that it started may still run",)
