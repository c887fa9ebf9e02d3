"""What doctor says of the controller that runs."""

from __future__ import annotations

from pathlib import Path

from bot.doctor.controller import running, unenforced
from bot.doctor.findings import Severity
from fleet.config import AgentConfig


def test_doctor_names_what_the_running_controller_has_from_env(tmp_path: Path) -> None:
    served = {"version": "1", "since_us": 1_764_338_400_000_000, "secrets": ["B_KEY", "A_KEY"], "troubles": []}
    (tmp_path / ".env").write_text("A_KEY=very-secret\nB_KEY=more-secret\n")
    found = list(running(served, "1", tmp_path))
    assert "has from .env: A_KEY, B_KEY" in [finding.what for finding in found]
    assert {finding.level for finding in found} == {Severity.OK}
    (tmp_path / ".env").write_text("A_KEY=very-secret\nC_KEY=third\n")
    (late,) = (finding for finding in running(served, "1", tmp_path) if finding.level is not Severity.OK)
    assert (late.level, late.what) == (Severity.WARN, "has not read the last edit of .env (B_KEY, C_KEY)")


def test_doctor_says_where_a_list_of_hosts_cannot_be_enforced() -> None:
    free = AgentConfig(driver="claude", program=["claude"])
    kept = AgentConfig(driver="claude", program=["claude"], egress=["example.com"])
    (finding,) = unenforced("agents on mac", {"free": free, "kept": kept})
    assert finding.level is Severity.WARN and "cannot keep the agent kept to its `egress`" in finding.what


def test_doctor_says_that_a_controller_of_another_login_serves_the_home(tmp_path: Path) -> None:
    refused = {"end": 2, "error": "airboss is not registered here."}
    (finding,) = running(refused, "1", tmp_path)
    assert finding.level is Severity.BAD and "another login" in finding.what and "airboss serve" in finding.remedy
