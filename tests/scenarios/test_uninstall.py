"""``airboss uninstall``: nothing of ours is left on machines and in the login, and what is kept is said."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
from pathlib import Path
from typing import Any

import pytest

from bot.local.uninstalling import _FORGET_KEY
from tests.scenarios import controllers
from tests.scenarios.house import House, house


def airboss(built: House, *words: str) -> subprocess.CompletedProcess[str]:
    """A command of the login whose HOME is in the house."""
    return controllers.airboss(*words, home=built.home, HOME=str(built.directory / "person"))


def told(done: subprocess.CompletedProcess[str], status: int) -> dict[str, Any]:
    assert done.returncode == status, done.stdout + done.stderr
    found: dict[str, Any] = json.loads(done.stdout)
    return found


def left_of(place: Path) -> list[str]:
    """The files below a folder."""
    return sorted(str(path.relative_to(place)) for path in place.rglob("*") if path.is_file())


def test_it_leaves_no_unit_key_hook_or_worktree_behind_and_says_what_it_kept() -> None:
    with house() as built:
        (built.home / ".env").touch(mode=0o600)
        (built.home / ".env").write_text("SOME_TOKEN=abc\n")
        ssh, person = built.home / ".ssh", built.directory / "person"
        ssh.mkdir(mode=0o700)
        for name in ("client_key", "client_key.pub"):
            (ssh / name).write_bytes((built.sshd.directory / name).read_bytes())
        macbook = {**built.machines["macbook"], "identity": ".ssh/client_key"}
        built.configure(machines={"macbook": macbook})
        person.mkdir()
        built.start()
        assert built.say("/run on=macbook write GOOD on macbook", wait=True).status == 0
        assert built.say("/run on=evo-x2 write GOOD on evo-x2", wait=True).status == 0
        unlanded = built.say("/run on=evo-x2 write BAD", wait=True).task
        worktree = built.workspace(unlanded)
        assert all(left_of(built.directory / name) for name in ("evo-x2", "macbook"))
        assert airboss(built, "hooks", "install").returncode == 0
        assert airboss(built, "service", "install").returncode == 0
        unit = person / ".config/systemd/user/airboss.service"
        assert f"--home {built.home} serve" in unit.read_text()
        refused = airboss(built, "uninstall")
        assert refused.returncode == 2 and "nobody agreed" in refused.stderr
        waiting = built.say("/run on=evo-x2 shell sleep 600").task
        built.until(lambda: built.state(waiting) == "running", "a task is at work")
        refused = airboss(built, "uninstall", "--yes")
        assert refused.returncode == 2 and "tasks are at work: 1 on evo-x2" in refused.stderr
        assert built.say(f"/stop {waiting}").status == 0
        built.until(lambda: built.of(waiting, "session.ended"), "it is stopped, and its slot is free")
        refused = airboss(built, "uninstall", "--yes")
        assert refused.returncode == 2 and "its controller runs" in refused.stderr
        assert unit.exists(), "nothing is removed before it is sure"
        built.stop()

        (worktree / "by-hand.txt").write_text("nobody else has this")
        other = worktree.parent / "0badf00d-t1.s1-ab"
        other.mkdir()
        (other / "work.txt").write_text("of another fleet")
        pipe = other.parents[1] / "pipes" / other.name
        pipe.mkdir()
        unsafe = told(airboss(built, "uninstall", "--yes", "--json"), 3)
        assert any(f"the work of {unlanded} is only there" in row for row in unsafe["failed"])
        assert (worktree / "by-hand.txt").exists()
        assert (ssh / "client_key").exists()
        (worktree / "by-hand.txt").unlink()

        built.configure(machines={"macbook": {**macbook, "port": 9}})
        away = told(airboss(built, "uninstall", "--yes", "--json"), 3)
        assert any("macbook" in row for row in away["failed"])
        assert any("of another fleet are there: 0badf00d-t1.s1-ab" in row for row in away["kept"])
        assert (other / "work.txt").exists() and not worktree.exists()
        shutil.rmtree(other)
        again = told(airboss(built, "uninstall", "--yes", "--json"), 3)
        assert any("of another fleet are there: 0badf00d-t1.s1-ab" in row for row in again["kept"])
        assert list(pipe.parent.iterdir()) == [pipe], "another fleet's stays, and of ours nothing"
        pipe.rmdir()
        assert (ssh / "client_key").exists(), "the key that leads to it stays until it was asked again"

        built.configure(machines={"macbook": macbook})
        gone = told(airboss(built, "uninstall", "--yes", "--json"), 0)
        assert left_of(built.directory / "macbook") == left_of(built.directory / "evo-x2") == []
        assert not list(built.directory.glob("*/.airboss")), "nor an empty folder"
        assert left_of(person) == []
        kept = {path.name for path in built.home.iterdir()}
        assert ".env" not in kept and {"airboss.db", "receipts", "fleet.toml"} <= kept
        assert not [
            path for path in built.home.rglob("*") if path.is_file() and b"PRIVATE KEY" in path.read_bytes()
        ]
        left = {path.suffix for path in (built.home / "keys").iterdir()}
        assert left == {".pub"}, "receipts can still be checked, and no fingerprint of a secret can be guessed"
        assert any(str(built.home) in row for row in gone["kept"])
        assert told(airboss(built, "uninstall", "--yes", "--json"), 0)["failed"] == [], "twice is harmless"


@pytest.mark.parametrize("shell", ["sh", "bash"])  # a Mac's sh is bash, which gives another status
def test_a_copy_of_authorized_keys_that_cannot_be_written_does_not_become_the_file(
    tmp_path: Path, shell: str
) -> None:
    """Nobody could log in."""
    (tmp_path / ".ssh" / "authorized_keys.airboss").mkdir(parents=True)
    keys = tmp_path / ".ssh" / "authorized_keys"
    keys.write_text("ssh-ed25519 theirs\nssh-ed25519 ours airboss\n")
    words = [shell, "-c", _FORGET_KEY, "forget", "ssh-ed25519 ours"]

    def forget() -> int:
        return subprocess.run(words, env={**os.environ, "HOME": str(tmp_path)}, check=False).returncode

    assert forget() == 1 and "theirs" in keys.read_text() and "ours" in keys.read_text()
    (tmp_path / ".ssh" / "authorized_keys.airboss").rmdir()
    assert forget() == 0 and keys.read_text() == "ssh-ed25519 theirs\n"
    assert [path.name for path in keys.parent.iterdir()] == [keys.name]
