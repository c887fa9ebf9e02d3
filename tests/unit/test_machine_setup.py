"""``airboss machines setup``: what is printed, for whom, and what it says of a mistake."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from bot.cli import main
from fleet.config import MachineConfig
from fleet.config.reading import controller_login
from fleet.machines.setup import Setup
from tests.far_end.sshd import new_key

NEAR = '[machines.near]\nexecutor = "local"\nrun_as = "agents"\ngate_as = "gates"\n'


def far(home: Path, key: str) -> str:
    return (
        '[machines."far.away"]\nexecutor = "ssh"\nhost = "far"\nuser = "agents"\ngate_as = "gates"\n'
        f'host_key = "{key}"\nidentity = "{home}/id"\n'
    )


def printed(capsys: pytest.CaptureFixture[str], home: Path, *words: str) -> tuple[int, str]:
    status = main(["--home", str(home), "machines", "setup", *words])
    out, err = capsys.readouterr()
    return status, out + err


def test_the_only_machine_needs_no_name(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "fleet.toml").write_text(NEAR)
    status, text = printed(capsys, tmp_path)
    assert status == 0
    assert "agents_login agents\ngates_login gates\n" in text
    assert "configure_sshd" not in text
    assert ("allow_sudo" in text) == (controller_login() != "root")
    subprocess.run(["sh", "-n"], input=text.encode(), check=True)


def test_over_ssh_the_gates_get_the_controllers_key(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    key = new_key(tmp_path / "id")
    (tmp_path / "fleet.toml").write_text(NEAR + far(tmp_path, key))
    status, text = printed(capsys, tmp_path, "far.away")
    assert status == 0
    assert f"key='{key}'" in text and "allow_key gates\nconfigure_sshd gates\n" in text
    assert "PRIVATE" not in text and "allow_key agents" not in text
    assert "name=far_away" in text  # sudo reads no file with a dot in its name
    assert "allow_sudo" not in text


def test_a_name_is_needed_among_several(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "fleet.toml").write_text(NEAR + far(tmp_path, new_key(tmp_path / "id")))
    for words in ((), ("elsewhere",)):
        status, text = printed(capsys, tmp_path, *words)
        assert status == 2 and "near, far.away" in text


def test_a_private_key_that_cannot_be_read_is_named(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "fleet.toml").write_text(far(tmp_path, new_key(tmp_path / "id")))
    (tmp_path / "id").unlink()
    status, text = printed(capsys, tmp_path)
    assert status == 2 and f"{tmp_path}/id" in text


def test_the_controllers_own_login_may_become_the_others_and_no_more() -> None:
    machine = MachineConfig(executor="local", run_as=["agents"], gate_as=["gates"])
    script = Setup("near", machine, "boss").script()
    assert "'boss ALL=(agents,gates) NOPASSWD: ALL'" in script
    assert "allow_sudo" not in Setup("near", machine, "root").script()
    subprocess.run(["sh", "-n"], input=script.encode(), check=True)


def test_apply_asks_first_and_uses_the_pinned_host_key(tmp_path: Path) -> None:
    """ssh is the far end here: it notes how it was called, and what came on its standard input."""
    key = new_key(tmp_path / "id")
    (tmp_path / "fleet.toml").write_text(far(tmp_path, key))
    ssh = tmp_path / "ssh"
    ssh.write_text(f'#!/bin/sh\nprintf "%s\\n" "$@" > {tmp_path}/called\ncat > {tmp_path}/script\n')
    ssh.chmod(0o755)
    command = [sys.executable, "-m", "bot.cli", "--home", str(tmp_path), "machines", "setup", "--apply"]
    env = {**os.environ, "PATH": f"{tmp_path}:{os.environ['PATH']}"}
    for answer, words, status in (
        ("no", ["--through", "root"], 1),
        ("yes", [], 2),
        ("yes", ["--through", "root"], 0),
    ):
        assert not (tmp_path / "called").exists()
        done = subprocess.run(
            [*command, *words], input=f"{answer}\n", env=env, text=True, capture_output=True, check=False
        )
        assert done.returncode == status, done.stderr
    called = (tmp_path / "called").read_text().splitlines()
    assert f"KnownHostsCommand=/bin/echo %H {key}" in called and called[called.index("-l") + 1] == "root"
    assert "gates_login gates" in (tmp_path / "script").read_text()
