"""Doctor against real logins: walls that stand are told as closed, and each one that is opened is found."""

from __future__ import annotations

import asyncio
import json
import os
import pwd
import shutil
import subprocess
import sys
import tempfile
from collections.abc import AsyncIterator, Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from bot.doctor import Finding, Severity, examine, reach_table, status_of, to_json
from bot.doctor.controller import DISK_FLOOR, clock, disk
from fleet.config import FleetConfig, parse_fleet
from fleet.machines.executors import Executors
from tests.far_end.logins import throwaway_login
from tests.far_end.sshd import new_key, running_sshd

#: A Python that every login may run; the one of the tests may live in somebody's home.
PYTHON = shutil.which("python3", path="/usr/bin:/usr/local/bin:/bin") or sys.executable


@dataclass(frozen=True)
class World:
    """A controller's home and a base repository, in a directory that every login can enter."""

    base: Path
    home: Path
    repository: Path

    @property
    def key(self) -> Path:
        return self.home / "keys" / "receipt_ed25519"

    def fleet(self, machines: str, *, isolation: str, agents: str = "") -> FleetConfig:
        agents = agents or '[agents.shell]\ndriver = "command"\nprogram = ["sh"]\n'
        text = (
            f'isolation = "{isolation}"\n{machines}\n{agents}\n[repos.shop]\nurl = "{self.repository}"\n'
            '[[people]]\nname = "Ann"\nrole = "admin"\nids = ["console:here:ann"]\n'
        )
        (self.home / "fleet.toml").write_text(text)
        return parse_fleet(text, "fleet.toml")


@pytest.fixture
async def world() -> AsyncIterator[World]:
    base = Path(tempfile.mkdtemp(prefix="airboss-doctor-"))
    base.chmod(0o755)
    found = World(base, base / "home", base / "shop.git")
    for folder in (found.home, found.home / "keys"):
        folder.mkdir(mode=0o700)
    for private in (found.key, found.home / ".env", found.home / "airboss.db"):
        private.write_text("S=secret\n")
        private.chmod(0o600)
    subprocess.run(["git", "init", "-q", "--bare", "-b", "main", str(found.repository)], check=True)
    door = await asyncio.start_unix_server(lambda _reader, writer: writer.close(), found.home / "control.sock")
    (found.home / "control.sock").chmod(0o600)
    try:
        yield found
    finally:
        door.close()
        await door.wait_closed()
        shutil.rmtree(base)


async def doctor(world: World, fleet: FleetConfig) -> list[Finding]:
    executors = Executors(fleet, world.home)
    try:
        return await examine(fleet, world.home, executors)
    finally:
        await executors.close()


def opened(findings: list[Finding]) -> set[tuple[str, str, str]]:
    crossings = [finding.crossing for finding in findings if finding.crossing and finding.crossing.open]
    return {(crossing.role, crossing.deed, crossing.target) for crossing in crossings}


def told(findings: list[Finding]) -> str:
    return "\n".join(f"{finding.level} {finding.subject}: {finding.what}. {finding.remedy}" for finding in findings)


@dataclass(frozen=True)
class Logins:
    agents: str
    gates: str

    @property
    def machine(self) -> str:
        return (
            f'[machines.here]\nexecutor = "local"\npython = "{PYTHON}"\n'
            f'run_as = "{self.agents}"\ngate_as = "{self.gates}"\n'
        )


@pytest.fixture(scope="module")
def logins() -> Iterator[Logins]:
    """Two throwaway logins with homes of their own."""
    with throwaway_login("agents") as agents, throwaway_login("gates") as gates:
        yield Logins(agents.pw_name, gates.pw_name)


def vendor_login(login: str, path: str) -> None:
    """As after a person logged in an agent there."""
    owner = pwd.getpwnam(login)
    file = Path(owner.pw_dir) / path
    file.parent.mkdir(mode=0o700, exist_ok=True)
    file.write_text("token")
    file.chmod(0o600)
    for made in (file.parent, file):
        os.chown(made, owner.pw_uid, owner.pw_gid)


def leave_open(world: World, *, key: bool = False) -> None:
    world.home.chmod(0o711)
    if key:
        world.key.parent.chmod(0o711)


def open_key(world: World, _logins: Logins) -> None:
    leave_open(world, key=True)
    world.key.chmod(0o644)


def open_secrets(world: World, _logins: Logins) -> None:
    leave_open(world)
    (world.home / ".env").chmod(0o644)


def open_store(world: World, _logins: Logins) -> None:
    leave_open(world)
    (world.home / "airboss.db").chmod(0o622)


def open_socket(world: World, _logins: Logins) -> None:
    leave_open(world)
    (world.home / "control.sock").chmod(0o666)


def open_home(world: World, _logins: Logins) -> None:
    world.home.chmod(0o733)


def open_parent(world: World, _logins: Logins) -> None:
    world.base.chmod(0o777)


def open_refs(world: World, _logins: Logins) -> None:
    (world.repository / "refs" / "heads").chmod(0o777)


def open_git_config(world: World, _logins: Logins) -> None:
    (world.repository / "config").chmod(0o666)


BASE = "the base branch of shop"
OPENINGS: list[tuple[Callable[[World, Logins], None], set[tuple[str, str]]]] = [
    (open_key, {("read", "the receipt signing key")}),
    (open_secrets, {("read", "the secrets (.env)")}),
    (open_store, {("change", "the store")}),
    (open_socket, {("connect to", "the control socket")}),
    (open_home, {("change", "AIRBOSS_HOME")}),
    (
        open_parent,
        {("change", "a directory around AIRBOSS_HOME"), ("change", "a directory around the repository shop")},
    ),
    (open_refs, {("change", BASE)}),
    (open_git_config, {("change", BASE)}),
]


@pytest.mark.needs_root
class TestSeparateLogins:
    async def test_walls_that_stand(self, world: World, logins: Logins) -> None:
        vendor_login(logins.agents, ".codex/auth.json")
        findings = await doctor(world, world.fleet(logins.machine, isolation="separate-logins"))
        assert opened(findings) == set()
        assert status_of(findings) == 0, told(findings)
        rows = {row[0]: row[1:] for row in reach_table(findings)}
        assert rows["could"] == (f"agents on here ({logins.agents})", f"gates on here ({logins.gates})")
        for deed in (
            "read the receipt signing key",
            "read the secrets (.env)",
            "read the store",
            "connect to the control socket",
            "change the configuration (fleet.toml)",
            "change the base branch of shop",
            "signal the controller's process",
            "become root",
        ):
            assert rows[deed] == ("closed", "closed"), deed
        assert rows["change another session's worktree, from inside a session"] == ("closed", "")
        assert rows["read another agent's login, from inside a session"] == ("closed", "")
        assert rows["read the directory of gates"] == ("closed", "")
        assert rows["read the directory of agents"] == ("", "closed")

    async def test_sessions_without_walls_reach_each_other_unless_each_has_a_login(
        self, world: World, logins: Logins
    ) -> None:
        machine = logins.machine + "session_walls = false\n"
        vendor_login(logins.agents, ".codex/auth.json")
        findings = await doctor(world, world.fleet(machine, isolation="separate-logins"))
        inside = {
            ("agents", "change", "another session's worktree, from inside a session"),
            ("agents", "read", "another agent's login, from inside a session"),
        }
        assert opened(findings) == inside
        assert status_of(findings) == 0, "the cards say so too"
        with throwaway_login("agents") as second:
            vendor_login(second.pw_name, ".claude/.credentials.json")
            pool = machine.replace(f'"{logins.agents}"', f'["{logins.agents}", "{second.pw_name}"]')
            findings = await doctor(world, world.fleet(pool, isolation="separate-logins"))
        assert opened(findings) == set()
        tried = {(finding.crossing.deed, finding.crossing.target) for finding in findings if finding.crossing}
        assert {crossing[1:] for crossing in inside} <= tried

    @pytest.mark.parametrize(("opening", "found"), OPENINGS, ids=[opening.__name__ for opening, _ in OPENINGS])
    async def test_a_wall_that_was_opened_is_found(
        self,
        world: World,
        logins: Logins,
        opening: Callable[[World, Logins], None],
        found: set[tuple[str, str]],
    ) -> None:
        fleet = world.fleet(logins.machine, isolation="separate-logins")
        opening(world, logins)
        findings = await doctor(world, fleet)
        assert opened(findings) == {(role, *opening) for role in ("agents", "gates") for opening in found}
        assert status_of(findings) == 1
        bad = [finding for finding in findings if finding.level is Severity.BAD and finding.crossing]
        assert all("chmod" in finding.remedy for finding in bad), told(bad)

    async def test_a_gate_login_that_agents_can_enter_is_found(self, world: World, logins: Logins) -> None:
        fleet = world.fleet(logins.machine, isolation="separate-logins")
        gates = Path(pwd.getpwnam(logins.gates).pw_dir)
        gates.chmod(0o711)
        (gates / ".airboss").mkdir(exist_ok=True)
        (gates / ".airboss").chmod(0o777)
        try:
            findings = await doctor(world, fleet)
        finally:
            gates.chmod(0o700)
        target = "the directory of gates"
        assert opened(findings) == {("agents", "read", target), ("agents", "change", target)}
        assert status_of(findings) == 1

    @pytest.mark.parametrize(
        ("role", "twin", "words"),
        [
            ("gates", "agents", "bad agents on here: share the login"),
            ("gates", "root", "bad gates on here: run as the controller's own login"),
        ],
    )
    async def test_two_names_of_one_login_are_no_wall(
        self, world: World, logins: Logins, role: str, twin: str, words: str
    ) -> None:
        of = pwd.getpwnam(logins.agents if twin == "agents" else twin)
        with throwaway_login("twin", twin_of=of) as second:
            machine = logins.machine.replace(logins.gates, second.pw_name)
            findings = await doctor(world, world.fleet(machine, isolation="separate-logins"))
        assert words in told(findings)
        assert status_of(findings) == 1

    async def test_it_leaves_nothing_behind(self, world: World, logins: Logins) -> None:
        open_refs(world, logins)
        before = sorted(world.base.rglob("*"))
        fleet = world.fleet(logins.machine, isolation="separate-logins")
        await doctor(world, fleet)
        assert sorted(world.base.rglob("*")) == sorted([*before, world.home / "fleet.toml"])


HERE = f'[machines.here]\nexecutor = "local"\npython = "{PYTHON}"\n'


async def test_one_shared_login_is_told_plainly(world: World) -> None:
    machine = f'{HERE}home = "{world.base}"\n'
    findings = await doctor(world, world.fleet(machine, isolation="unsafe-same-user"))
    reached = opened(findings)
    walls = {
        ("read", "the receipt signing key"),
        ("change", BASE),
        ("connect to", "the control socket"),
        ("signal", "the controller's process"),
    }
    if Path("/proc").is_dir():
        walls.add(("read", "the controller's environment"))
    assert {("agents", *wall) for wall in walls} <= reached
    assert status_of(findings) == 0
    warned = [finding for finding in findings if finding.crossing and finding.crossing.open]
    assert all(
        finding.level is Severity.WARN and "unsafe-same-user says on every card" in finding.what
        for finding in warned
    )


async def test_agents_and_their_versions(world: World) -> None:
    tools = world.base / "tools"
    tools.mkdir()
    (tools / "claude").write_text("#!/bin/sh\necho '9.9.9 (Claude Code)'\n")
    (tools / "claude").chmod(0o755)
    machine = f'{HERE}home = "{world.base}"\npath = ["{tools}"]\n'
    agents = (
        '[agents.claude]\ndriver = "claude"\nprogram = ["claude"]\nenv = ["NOT_THERE"]\n'
        '[agents.codex]\ndriver = "codex"\nprogram = ["no-such-codex"]\n'
        '[agents.second]\ndriver = "claude"\nprogram = ["claude"]\n'
        f'[agents.second.settings]\nCLAUDE_CONFIG_DIR = "{tools}"\n'
    )
    findings = await doctor(world, world.fleet(machine, isolation="unsafe-same-user", agents=agents))
    lines = told(findings)
    assert (
        "warn agents on here: has claude 9.9.9; the tested version is 2.1.197. npm install -g @anthropic-ai"
        in lines
    )
    assert "warn agents on here: has no no-such-codex, so the agent codex cannot work here" in lines
    assert "bad agent codex: is not installed on any machine" in lines
    assert "warn controller: the agent claude needs NOT_THERE, which .env does not set" in lines
    assert f"second is not logged in: {pwd.getpwuid(os.getuid()).pw_name} has no {tools}/.credentials.json" in lines
    (tools / ".credentials.json").write_text("{}")
    findings = await doctor(world, world.fleet(machine, isolation="unsafe-same-user", agents=agents))
    assert "second is not logged in" not in told(findings)


async def test_modes_of_the_controllers_files(world: World) -> None:
    for path, mode in ((world.home, 0o755), (world.home / ".env", 0o640), (world.key, 0o604)):
        path.chmod(mode)
    fleet = world.fleet(f'{HERE}home = "{world.base}"\n', isolation="unsafe-same-user")
    (world.home / "fleet.toml").chmod(0o664)
    findings = await doctor(world, fleet)
    remedies = {finding.remedy for finding in findings if finding.level is Severity.BAD}
    env, toml = world.home / ".env", world.home / "fleet.toml"
    assert remedies == {
        f"chmod 700 {world.home}",
        f"chmod 600 {env}",
        f"chmod 600 {world.key}",
        f"chmod 600 {toml}",
    }


async def test_an_ssh_machine_and_its_host_key(world: World) -> None:
    with running_sshd(world.base / "sshd") as server:

        def machine(host_key: str, port: int) -> str:
            return (
                f'[machines.mac]\nexecutor = "ssh"\nhost = "127.0.0.1"\nport = {port}\nuser = "{server.user}"\n'
                f'host_key = "{host_key}"\nidentity = "{server.identity}"\n'
                f'python = "{PYTHON}"\nhome = "{world.base}"\n'
            )

        right = await doctor(
            world, world.fleet(machine(server.host_key, server.port), isolation="unsafe-same-user")
        )
        assert "ok agents on mac: host key matches the pinned key" in told(right)
        assert ("agents", "read", "the receipt signing key") in opened(right), "the same host, seen through ssh"
        assert status_of(right) == 0, told(right)

        other = new_key(world.base / "other")
        wrong = await doctor(world, world.fleet(machine(other, server.port), isolation="unsafe-same-user"))
        assert status_of(wrong) == 1
        assert "agents on mac" in {
            finding.subject for finding in wrong if finding.level is Severity.BAD and not finding.unavailable
        }
        gone = server.port
    away = await doctor(world, world.fleet(machine(server.host_key, gone), isolation="unsafe-same-user"))
    assert status_of(away) == 3
    assert {finding.subject for finding in away if finding.unavailable} == {"agents on mac", "gates on mac"}


async def test_the_json_form_is_what_its_schema_says(world: World) -> None:
    found = to_json(
        await doctor(world, world.fleet(f'{HERE}home = "{world.base}"\n', isolation="unsafe-same-user"))
    )
    schema = json.loads((Path(__file__).parents[2] / "docs/schema/doctor.schema.json").read_text("utf-8"))
    assert set(found) == set(schema["required"])
    for part in ("findings", "reach"):
        item = schema["properties"][part]["items"]
        for entry in found[part]:
            assert set(entry) == set(item["required"]) == set(item["properties"])
            for key, wanted in item["properties"].items():
                assert entry[key] in wanted["enum"] if "enum" in wanted else True, (key, entry[key])
    assert json.loads(json.dumps(found)) == found


def test_clocks_and_disks() -> None:
    assert clock("m", 1_500_000, 1_000_000, 2_000_000).level is Severity.OK
    assert clock("m", 1, 2_000_001, 2_100_000).level is Severity.OK
    assert "by 3.0 s" in clock("m", 5_000_000, 1_000_000, 2_000_000).what
    assert clock("m", 0, 2_000_001, 2_100_000).level is Severity.WARN
    assert disk("m", DISK_FLOOR, "/x").level is Severity.OK
    assert disk("m", DISK_FLOOR - 1, "/x").level is Severity.WARN
