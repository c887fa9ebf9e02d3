"""What a session may have left in a login that it shares with others: found and reported, never removed, because it
may belong to another session."""

from __future__ import annotations

import json
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

_LOOK: Final = """
import json, os, pwd, sys
since, names, jobs = json.loads(sys.stdin.read())
home, found = pwd.getpwuid(os.getuid()).pw_dir, []
for name in names:
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
print(json.dumps(found[:50]))
"""


async def of_shared_login(
    services: Services, executor: Executor, session: Session, facts: LoginFacts
) -> tuple[str, ...]:
    """Start-up files that changed while the session ran; where the login is for agents only, also whether it has a
    crontab or jobs of at."""
    since_us = session.started_us + facts.clock_us - services.clock.now_us()
    question = json.dumps([since_us / 1_000_000, _STARTUP, not session.isolation.unsafe]).encode()
    python = services.machine_of(session).python
    ran = await executor.run([python, "-I", "-S", "-E", "-c", _LOOK], stdin=question)
    try:
        found = json.loads(ran.out) if succeeded(ran.exit) else None
    except ValueError:
        found = None
    if not isinstance(found, list):
        return ("could not look for what it left in its login",)
    lines = [clean(str(line), 200) for line in found]
    return tuple(lines[:_LINES]) + ((f"and {len(lines) - _LINES} more",) if len(lines) > _LINES else ())


def of_processes(session: Session, facts: LoginFacts, named: tuple[str, ...] = ()) -> tuple[str, ...]:
    """Lines where nobody saw that every process of the session has ended. ``named``: those that its supervisor
    could not end."""
    never = not session.pipe or session.pipe_end is PipeEnd.UNAVAILABLE
    confirmed = session.pipe_end is PipeEnd.GONE and facts.system == _LINUX
    return () if never or confirmed else named or ("unconfirmed: processes that it started may still run",)
