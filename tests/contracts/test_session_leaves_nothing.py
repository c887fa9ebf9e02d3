"""Whatever a walled session did, nothing of it is left once it is stopped: no process, no start-up file, no job."""

from __future__ import annotations

import asyncio
import secrets
import shutil
import subprocess
from dataclasses import replace
from pathlib import Path

import pytest

from tests.conftest import sampled
from tests.contracts.executor_logins import QUICK_KINDS, Login, follow, said
from tests.contracts.test_executor_sessions import site_of

#: Daemons that heed no signal and carry no mark, and everything by which a login starts programs later.
LEAVE = """
import os, signal, subprocess, sys, time
name, home = sys.argv[1:]
for path in ("/tmp/", "/var/tmp/", "/dev/shm/", home + "/."):
    open(path + name, "w").close()
for path in (".bashrc", ".zshenv", ".config/systemd/user/x.service", ".config/autostart/x.desktop", ".ssh/rc"):
    os.makedirs(os.path.dirname(home + "/" + path), exist_ok=True)
    open(home + "/" + path, "a").write("touch /tmp/" + name + "-later")
for argv in (["crontab", "-"], ["at", "now", "+", "1", "minute"], ["systemd-run", "--user", "sleep", "600"]):
    try:
        subprocess.run(argv, input=b"* * * * * true\\n", capture_output=True, timeout=5)
    except (OSError, subprocess.SubprocessError):
        pass
for number in (signal.SIGTERM, signal.SIGHUP, signal.SIGINT):
    signal.signal(number, signal.SIG_IGN)
for _ in range(3):
    if os.fork() == 0:
        os.setsid()
        if os.fork() == 0:
            os.closerange(0, 3)
            os.execve("/bin/sleep", ["sleep", "600." + str(int(name, 16))], {})
        os._exit(0)
print("left", flush=True)
time.sleep(600)
"""


@pytest.mark.parametrize("login", sampled(QUICK_KINDS, 1), indirect=True)
async def test_nothing_is_left_after_a_stop(login: Login) -> None:
    site = await site_of(login.executor())
    name = secrets.token_hex(6)
    spec = site.spec("one", f'exec /usr/bin/python3 -c "$LEAVE" {name} {site.home}')
    spec = replace(spec, env={**spec.env, "LEAVE": LEAVE})
    before = (await site.executor.run(["find", site.home, "-printf", "%p %s\n"])).out
    crontab = await _crontab(login)
    await site.executor.start(spec)
    await said(site.executor, spec.id, b"left")
    daemons = f"sleep 600.{int(name, 16)}"
    async with asyncio.timeout(60):
        while daemons not in _listing():  # it was forked before "left" was said, and becomes a sleep a little later
            await asyncio.sleep(0.05)
        await site.executor.stop(spec.id, 0.2)
        ended = (await follow(site.executor, spec.id)).ended
    assert ended.gone
    assert daemons not in _listing()
    assert (await site.executor.run(["find", site.home, "-printf", "%p %s\n"])).out == before
    assert await _crontab(login) == crontab
    for place in ("/tmp", "/var/tmp", "/dev/shm"):
        assert not (Path(place) / name).exists()


def _listing() -> str:
    return subprocess.run(["ps", "-eww", "-o", "args="], capture_output=True, check=True, text=True).stdout


async def _crontab(login: Login) -> bytes:
    if not shutil.which("crontab"):
        return b""
    return (await login.executor().run(["crontab", "-l"])).out
