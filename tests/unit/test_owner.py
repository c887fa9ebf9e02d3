"""Commands that edit a home run as the login that owns it, through sudo, and record who gave them."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from bot.local.owner import caller, command
from gates.people import console_owner, console_person
from tests.chat_house import FLEET
from tests.far_end.logins import throwaway_login


@pytest.mark.parametrize(
    "given", [["people", "list"], ["--home", "/x", "people", "list"], ["--home=/x", "people", "list"]]
)
def test_the_same_command_is_given_to_sudo_with_the_real_home(given: list[str]) -> None:
    python = ["--", sys.executable, "-I", "-m", "bot.cli"]
    assert command("boss", Path("/h"), given) == ["sudo", "-u", "boss", *python, "--home", "/h", "people", "list"]


def test_the_caller_is_who_sudo_names(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("SUDO_USER", raising=False)
    assert caller() == console_owner()
    monkeypatch.setenv("SUDO_USER", "ada")
    assert caller() == console_person("ada")


@pytest.mark.needs_root
def test_a_home_of_another_login_is_edited_through_sudo_and_not_without_it(tmp_path: Path) -> None:
    """sudo is the far end here: it notes what it was asked for."""
    sudo = tmp_path / "bin" / "sudo"
    sudo.parent.mkdir()
    with throwaway_login("boss") as login:
        (tmp_path / "fleet.toml").write_text(FLEET)
        os.chown(tmp_path, login.pw_uid, login.pw_gid)
        argv = [sys.executable, "-m", "bot.cli", "--home", str(tmp_path), "people", "revoke", "phone::otto"]
        env = {**os.environ, "PATH": str(sudo.parent)}
        without = subprocess.run(argv, env=env, capture_output=True, text=True, check=False)
        assert without.returncode == 2 and f"Run this command as {login.pw_name}" in without.stderr
        sudo.write_text(f'#!/bin/sh\nprintf "%s\\n" "$@" > {tmp_path}/asked\n')
        sudo.chmod(0o755)
        done = subprocess.run(argv, env=env, capture_output=True, text=True, check=False)
        assert done.returncode == 0, done.stderr
        asked = (tmp_path / "asked").read_text().splitlines()
    assert asked == command(login.pw_name, tmp_path, argv[3:])[1:]
    assert "phone::otto" in (tmp_path / "fleet.toml").read_text(), "nothing is done as the caller"


@pytest.mark.needs_root
@pytest.mark.parametrize("given", [["serve"], ["chat", "--embedded"]], ids=" ".join)
def test_a_controller_runs_as_the_login_that_owns_its_home(tmp_path: Path, given: list[str]) -> None:
    """Started by root it would refuse the repositories of that login, and leave files that it cannot change."""
    sudo = tmp_path / "bin" / "sudo"
    sudo.parent.mkdir()
    sudo.write_text('#!/bin/sh\nprintf "%s\\n" "$@"\n')
    sudo.chmod(0o755)
    home = tmp_path / "home"
    home.mkdir()
    with throwaway_login("boss") as login:
        os.chown(home, login.pw_uid, login.pw_gid)
        argv = [sys.executable, "-m", "bot.cli", "--home", str(home), *given]
        env = {**os.environ, "PATH": f"{sudo.parent}:/usr/bin:/bin"}
        ran = subprocess.run(argv, env=env, capture_output=True, text=True, check=False, stdin=subprocess.DEVNULL)
    assert ran.stdout.splitlines() == command(login.pw_name, home, argv[3:])[1:], ran.stderr
    assert not list(home.iterdir()), "nothing of root's is in it"
