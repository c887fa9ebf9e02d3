"""Throwaway logins: two test runs at once share none, and those of a killed run are removed by a later one."""

from __future__ import annotations

import pwd
import subprocess
import sys
import time
from pathlib import Path

import pytest

from tests.far_end.logins import remove_leftovers, throwaway_login

pytestmark = pytest.mark.needs_root

#: A test run that makes a login, starts a process as it, and then waits to be killed.
RUN = """
import subprocess, sys
from tests.far_end.logins import throwaway_login
with throwaway_login("agents") as login:
    left = subprocess.Popen(["sleep", "600"], user=login.pw_uid, start_new_session=True)
    print(login.pw_name, left.pid, flush=True)
    sys.stdin.read()
"""


def names() -> set[str]:
    return {login.pw_name for login in pwd.getpwall()}


def test_a_login_is_private_and_gone_afterwards() -> None:
    with throwaway_login("agents") as one, throwaway_login("agents") as other:
        assert one.pw_name != other.pw_name and one.pw_uid != other.pw_uid
        home = Path(one.pw_dir)
        assert (home.stat().st_uid, home.stat().st_mode & 0o777) == (one.pw_uid, 0o700)
        with throwaway_login("twin", twin_of=one) as twin:
            assert twin.pw_uid == one.pw_uid and twin.pw_name != one.pw_name
        assert one.pw_name in names(), "its twin's end is not its own"
    assert not names() & {one.pw_name, other.pw_name, twin.pw_name}
    assert not home.parent.exists()


def test_the_logins_of_a_killed_run_are_removed_and_those_of_a_living_one_stay() -> None:
    with subprocess.Popen(
        [sys.executable, "-c", RUN], stdin=subprocess.PIPE, stdout=subprocess.PIPE, cwd=Path(__file__).parents[2]
    ) as run:
        assert run.stdout
        name, pid = run.stdout.readline().decode().split()
        home = Path(pwd.getpwnam(name).pw_dir)
        remove_leftovers()
        assert name in names() and home.exists() and Path("/proc", pid).exists(), "its run lives"
        run.kill()
    deadline = time.monotonic() + 60
    while home.parent.exists() and time.monotonic() < deadline:  # another run may be removing it just now
        remove_leftovers()
    assert not home.parent.exists()
    assert name not in names()
    assert not Path("/proc", pid).exists() or "Z" in Path("/proc", pid, "stat").read_text()
