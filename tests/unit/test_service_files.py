"""The service files do what their comments promise."""

from __future__ import annotations

import configparser
import plistlib
from pathlib import Path

from bot.doctor.findings import Severity
from bot.doctor.offers import on_mac

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
