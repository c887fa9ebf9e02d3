"""What doctor proves about a Mac's login session. The Mac's own programs are played."""

from __future__ import annotations

from pathlib import Path

import pytest

from bot.doctor.findings import Severity
from bot.doctor.mac import check_mac
from fleet.config import parse_fleet
from fleet.machines.local import LocalExecutor

FLEET = """
isolation = "unsafe-same-user"
[machines.mini]
executor = "ssh"
host = "mini"
user = "agents"
host_key = "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIGCC+14P+f6bSxlRoymDjQoxgIeS+KQEH6qdjVE2mGRr"
login_session = {session}
[agents.claude]
driver = "claude"
program = ["claude"]
[agents.keyed]
driver = "claude"
program = ["claude"]
env = ["ANTHROPIC_API_KEY"]
"""
IDENTITY = '  1) 0123456789ABCDEF0123456789ABCDEF01234567 "Apple Development: ada"'
LOCKED = "errSecInternalComponent"


@pytest.mark.parametrize("session", ["true", "false"])
@pytest.mark.parametrize(
    ("keychain", "identity", "signs", "found"),
    [
        (0, IDENTITY, 0, [Severity.OK, Severity.OK]),
        (44, "     0 valid identities found", 0, [Severity.WARN, Severity.WARN]),
        (36, IDENTITY, 1, [Severity.WARN, Severity.BAD]),
    ],
    ids=["all", "nothing", "locked"],
)
async def test_it_is_proved_that_agents_are_logged_in_and_code_is_signed(
    tmp_path: Path, session: str, keychain: int, identity: str, signs: int, found: list[Severity]
) -> None:
    programs = {
        "security": f"[ $1 = find-identity ] && {{ echo '{identity}'; exit 0; }}; exit {keychain}",
        "codesign": f"[ {signs} = 0 ] || echo {LOCKED} >&2; exit {signs}",
    }
    for name, text in programs.items():
        (tmp_path / name).write_text(f"#!/bin/sh\n{text}\n")
        (tmp_path / name).chmod(0o755)
    config = parse_fleet(FLEET.format(session=session), "fleet.toml")
    executor = LocalExecutor("mini", root=str(tmp_path / "root"), path=[str(tmp_path)])
    try:
        findings = await check_mac(config, "mini", executor)
    finally:
        await executor.close()
    assert [finding.level for finding in findings] == found
    assert all("untested on macOS" in finding.what for finding in findings)
    if signs:
        assert LOCKED in findings[-1].what
        assert ("unlock the keychain" if session == "true" else "login_session = true") in findings[-1].remedy
