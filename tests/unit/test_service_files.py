"""The service files do what their comments promise."""

from __future__ import annotations

import argparse
import configparser
import plistlib
import subprocess
import sys
from pathlib import Path

import pytest

from bot.doctor.findings import Severity
from bot.doctor.offers import on_mac
from bot.local import service
from fleet.errors import Misused

DEPLOY = Path(__file__).resolve().parents[2] / "deploy"


def systemd() -> configparser.SectionProxy:
    unit = configparser.ConfigParser(interpolation=None, strict=True)
    unit.optionxform = str  # type: ignore[assignment,method-assign]  # systemd's keys are case-sensitive
    unit.read_string((DEPLOY / "airboss.service").read_text())
    return unit["Service"]


def launchd() -> dict[str, object]:
    loaded: dict[str, object] = plistlib.loads((DEPLOY / "com.airboss.plist").read_bytes())
    return loaded


def test_a_restart_of_the_controller_leaves_its_agents_running() -> None:
    assert systemd()["KillMode"] == "process"
    assert launchd()["AbandonProcessGroup"] is True


def test_both_start_serve_under_its_own_login_with_private_files() -> None:
    unit, plist = systemd(), launchd()
    assert (unit["User"], plist["UserName"]) == ("airboss", "airboss")
    assert unit["ExecStart"].split() == plist["ProgramArguments"]
    assert int(unit["UMask"], 8) == plist["Umask"] == 0o077


def test_what_nobody_has_run_on_a_mac_says_so() -> None:
    docs = DEPLOY.parent / "docs"
    for path in (DEPLOY / "com.airboss.plist", *(docs / name for name in ("README.md", "agents.md", "gates.md"))):
        assert "untested on macos" in path.read_text().lower(), path
    for finding in on_mac("mini"):
        assert finding.level is Severity.WARN and finding.what.startswith("untested on macOS: ") and finding.remedy


def test_a_broken_configuration_is_not_tried_again_and_again() -> None:
    assert systemd()["RestartPreventExitStatus"] == "2"


def test_the_compose_file_publishes_no_port_and_names_files_that_are_here() -> None:
    text = (DEPLOY / "compose.yaml").read_text()
    assert "ports:" not in text and "untested" in text.lower()
    assert "dockerfile: deploy/Dockerfile" in text and (DEPLOY / "Dockerfile").exists()
    assert systemd()["TimeoutStopSec"] == "30" and "stop_grace_period: 30s" in text


def test_no_key_of_the_home_gets_into_an_image() -> None:
    """The build's context is the directory that also has ``home`` and ``secrets``."""
    first, *rest = [
        line
        for line in (DEPLOY / "Dockerfile.dockerignore").read_text().splitlines()
        if line and not line.startswith("#")
    ]
    assert first == "*" and not [line for line in rest if "home" in line or "secret" in line or ".env" in line]
    needed = {"bot", "deploy", "fleet", "gates", "pyproject.toml", "requirements.lock", "README.md", "LICENSE"}
    assert {line[1:] for line in rest if line.startswith("!")} == needed
    assert "${AIRBOSS_USER:?" in (DEPLOY / "compose.yaml").read_text(), "the controller runs as who owns home"


def test_a_logins_own_unit_promises_what_the_systems_does(tmp_path: Path) -> None:
    made = configparser.ConfigParser(interpolation=None, strict=True)
    made.optionxform = str  # type: ignore[assignment,method-assign]  # systemd's keys are case-sensitive
    made.read_string(service.text_of(tmp_path, mac=False, login="").decode())
    for key in ("KillMode", "Restart", "RestartPreventExitStatus", "UMask", "TimeoutStopSec", "LimitCORE"):
        assert made["Service"][key] == systemd()[key], key
    assert "User" not in made["Service"] and f"--home {tmp_path} serve" in made["Service"]["ExecStart"]
    plist = plistlib.loads(service.text_of(tmp_path, mac=True, login=""))
    for name in ("AbandonProcessGroup", "KeepAlive", "ThrottleInterval", "Umask", "RunAtLoad"):
        assert plist[name] == launchd()[name], name
    for home, login in ((tmp_path / "a\nb", ""), (tmp_path, "no such login")):
        with pytest.raises(Misused):
            service.text_of(home, mac=False, login=login)


@pytest.mark.parametrize("mac", [False, True])
@pytest.mark.parametrize("name", ["a&b", "a b", 'it\'s %h "$HOME" \\x; ü'])
def test_a_service_file_says_whose_controller_it_runs(tmp_path: Path, mac: bool, name: str) -> None:
    made = tmp_path / "file"
    assert service.serves(made) is None
    made.write_bytes(service.text_of(tmp_path / name, mac=mac, login=""))
    assert service.serves(made) == tmp_path / name
    made.write_text("[Service]\nExecStart=/bin/true\n")
    assert service.serves(made) is None


def test_a_second_home_of_a_login_does_not_take_the_firsts_service(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HOME", str(tmp_path))
    options = argparse.Namespace(system="")
    service.install(options, tmp_path / "one")
    service.install(options, tmp_path / "one")
    with pytest.raises(Misused, match="one"):
        service.install(options, tmp_path / "two")
    assert service.serves(service.place(mac=service.on_mac())) == tmp_path / "one"


def test_a_service_runs_the_command_that_wrote_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Not another installation that comes first in PATH. A dollar would be a variable of systemd's."""
    for place in ("first", "own"):
        (tmp_path / place).mkdir()
        (tmp_path / place / "airboss").touch(mode=0o755)
    monkeypatch.setenv("PATH", str(tmp_path / "first"))
    run = "import sys; from pathlib import Path; from bot.local import service; sys.argv[0] = sys.argv.pop(); "
    run += "sys.stdout.buffer.write(service.text_of(Path('/h'), mac=False, login=''))"
    words = [sys.executable, "-c", run, str(tmp_path / "own" / "airboss")]
    said = subprocess.run(words, capture_output=True, text=True, check=True).stdout
    assert f"ExecStart={tmp_path}/own/airboss --home /h serve\n" in said
    unit = service.text_of(tmp_path / "a $HOME", mac=False, login="").decode()
    assert f'--home "{tmp_path}/a $$HOME" serve\n' in unit
