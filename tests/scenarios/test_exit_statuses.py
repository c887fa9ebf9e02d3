"""How `airboss serve` ends: 3 is worth another try by the service manager, 2 is not."""

from __future__ import annotations

import configparser
import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from fleet.store import leases
from fleet.store.core import Store

ROOT = Path(__file__).resolve().parents[2]
FLEET = 'isolation = "unsafe-same-user"\n'


def serve(home: Path) -> subprocess.Popen[str]:
    command = [sys.executable, "-m", "bot.cli", "serve"]
    environment = {**os.environ, "AIRBOSS_HOME": str(home)}
    return subprocess.Popen(
        command, cwd=ROOT, env=environment, text=True, stdout=subprocess.PIPE, stderr=subprocess.PIPE
    )


def make_home(home: Path, fleet: str = FLEET) -> Path:
    home.mkdir(mode=0o700)
    (home / "fleet.toml").write_text(fleet)
    (home / "fleet.toml").chmod(0o600)
    return home


@pytest.fixture
def served(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Path, subprocess.Popen[str]]]:
    """A home, with a short path for its socket, and the controller that serves it."""
    home = make_home(tmp_path_factory.mktemp("h") / "home")
    running = serve(home)
    assert running.stdout is not None
    assert "airboss serves" in running.stdout.readline()
    yield home, running
    if running.poll() is None:
        running.terminate()
    running.communicate(timeout=60)


def test_a_home_that_is_served_already(served: tuple[Path, subprocess.Popen[str]]) -> None:
    home, running = served
    second = serve(home)
    _, said = second.communicate(timeout=60)
    assert second.returncode == 3, said
    assert "another controller is already running on this AIRBOSS_HOME" in said
    assert running.poll() is None, "the first goes on"


def test_a_leadership_that_passed_on(served: tuple[Path, subprocess.Popen[str]]) -> None:
    home, running = served
    with Store.open(f"sqlite:///{home / 'airboss.db'}") as store, store.transaction() as tx:
        leases.seize(tx, leases.LEADERSHIP, "another controller", 60_000_000)
    _, said = running.communicate(timeout=60)
    assert running.returncode == 3, said
    assert "it passed to another controller" in said
    with Store.open(f"sqlite:///{home / 'airboss.db'}") as store, store.transaction() as tx:
        held = leases.look(tx, leases.LEADERSHIP)
    assert held is not None and held.holder == "another controller", "the end takes nothing from the other"


def test_a_terminal_that_closes_ends_it_in_order(served: tuple[Path, subprocess.Popen[str]]) -> None:
    home, running = served
    for number in (
        signal.SIGHUP,
        signal.SIGTERM,
        signal.SIGINT,
        signal.SIGHUP,
    ):  # who is in a hurry changes nothing
        running.send_signal(number)
    _, said = running.communicate(timeout=60)
    assert (running.returncode, said) == (0, "")
    assert not (home / "control.sock").exists()


def test_a_chat_with_a_controller_of_its_own_is_left_by_ctrl_c(tmp_path_factory: pytest.TempPathFactory) -> None:
    """Whoever reads its keys is not waited for, and it does not wait for a controller that is to return."""
    home = make_home(tmp_path_factory.mktemp("h") / "home")
    command = [sys.executable, "-m", "bot.cli", "--home", str(home), "chat", "--embedded"]
    pipe = subprocess.PIPE
    with subprocess.Popen(command, cwd=ROOT, text=True, stdin=pipe, stdout=pipe, stderr=pipe) as talk:
        assert talk.stdin is not None and talk.stdout is not None and talk.stderr is not None
        talk.stdin.write("/whoami\n")
        talk.stdin.flush()
        assert any("Your id" in line for line in talk.stdout)
        talk.send_signal(signal.SIGINT)
        assert (talk.wait(60), talk.stderr.read()) == (130, "")
    assert not (home / "control.sock").exists()


def test_a_wrong_configuration(tmp_path: Path) -> None:
    ended = serve(make_home(tmp_path / "home", 'isolation = "none at all"\n'))
    _, said = ended.communicate(timeout=60)
    assert ended.returncode == 2, said
    assert "fleet.toml" in said


def test_a_store_that_cannot_be_reached(tmp_path: Path) -> None:
    home = make_home(tmp_path / "home")
    (home / ".env").touch(mode=0o600)
    (home / ".env").write_text(f"AIRBOSS_STORE=postgresql://postgres@/airboss?host={tmp_path}\n")
    ended = serve(home)
    _, said = ended.communicate(timeout=60)
    assert ended.returncode == 3, said
    assert "Check that PostgreSQL runs" in said


def test_the_service_manager_gives_up_on_2_only_and_never_for_the_number_of_tries() -> None:
    unit = configparser.RawConfigParser(strict=False)
    unit.read(ROOT / "deploy" / "airboss.service")
    assert unit["Service"]["Restart"] == "always"
    assert unit["Service"]["RestartPreventExitStatus"] == "2"
    assert unit["Unit"]["StartLimitIntervalSec"] == "0"
