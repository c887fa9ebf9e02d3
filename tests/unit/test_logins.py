"""A controller whose number has no name on this machine, as in a container that is started as any number."""

from __future__ import annotations

import os
import pwd
import subprocess
import sys

import pytest

from fleet.logins import account, login_name

NAMELESS = 2_000_000_017
_AS_NOBODY_KNOWN = """
import os, sys
from bot.local.owner import caller
from fleet.config.reading import controller_login
from fleet.logins import account, login_name
from fleet.machines.local import LocalExecutor, become
from fleet.machines.runner import facts, jobs
from gates.people import console_owner
os.environ.pop("SUDO_USER", None)
os.environ["HOME"] = "/somewhere"
os.setresuid(*[int(sys.argv[1])] * 3)
assert LocalExecutor("here").where == f"{sys.argv[1]}@here" and become(sys.argv[1]) == []
assert {login_name(), controller_login(), facts.login_name(), jobs.Link("/r").user} == {sys.argv[1]}
assert {account().pw_dir, facts.login_home(), jobs.Link("/r").home} == {"/somewhere"}
assert console_owner() == caller() and console_owner().user == sys.argv[1]
"""


def test_a_number_without_a_name_is_its_own() -> None:
    assert login_name(NAMELESS) == str(NAMELESS)
    assert account(NAMELESS).pw_dir == "/"
    assert account() == pwd.getpwuid(os.geteuid())


@pytest.mark.needs_root
def test_a_controller_without_a_name_runs() -> None:
    words = [sys.executable, "-c", _AS_NOBODY_KNOWN, str(NAMELESS)]
    done = subprocess.run(words, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
