"""A login that one run has to itself, with no namespace around it: no run reaches another or leaves anything.

The supervisor is the run's own login, or another that may become it by sudo.
"""

from __future__ import annotations

import asyncio
import json
import os
import pwd
import secrets
import shutil
import subprocess
import time
from collections.abc import AsyncIterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import pytest

from fleet.exits import Exited, Lost
from fleet.isolation import Alone, Sharing
from fleet.machines.local import LocalExecutor
from fleet.machines.login import LoginExecutor
from fleet.ports import PipeSpec
from tests.conftest import sampled
from tests.contracts.between_runs import ATTACKS, ON_SESSIONS, WITHIN_A_LOGIN, program
from tests.contracts.executor_logins import Life, follow, pipe_spec, private_directory, run_pipe, said, ssh_executor
from tests.contracts.victim import VICTIM
from tests.far_end.logins import throwaway_login
from tests.far_end.sshd import Sshd
from tests.far_end.sudo import python_with_sudo

pytestmark = pytest.mark.needs_root

PYTHON = "/usr/bin/python3"


@dataclass
class Slot:
    """One login of a pool. ``files`` works as the login itself, ``supervisor`` starts and follows its runs."""

    login: pwd.struct_passwd
    files: LoginExecutor
    supervisor: LoginExecutor

    @property
    def supervised(self) -> bool:
        """By another login than the run's."""
        return self.files is not self.supervisor

    async def room(self, name: str = "run") -> str:
        """A directory for a run, as gates have it."""
        await self.files.facts()
        room = f"{self.files.root}/gates/{name}"
        await self.files.write_file(f"{room}/scratch/.keep", b"")
        return room

    async def spec(self, *argv: str, name: str = "run", **options: Any) -> PipeSpec:
        """A run that has the login to itself."""
        room = await self.room(name)
        return pipe_spec(
            *argv, bare_env=True, merge=True, env={"TMPDIR": f"{room}/scratch", "PATH": "/usr/bin:/bin"},
            alone=Alone(room, self.login.pw_name if self.supervised else ""), **options,
        )  # fmt: skip

    async def run(self, script: str, *words: str, **options: Any) -> Life:
        """Runs a Python script there."""
        return await run_pipe(self.supervisor, await self.spec(PYTHON, "-c", script, *words, **options))


#: A run that its own login supervises goes the same way here and over SSH: one of the two is drawn.
WAYS = ["supervised", *sampled(["own-supervisor", "ssh"], 1)]


@pytest.fixture(params=WAYS)
async def slots(request: pytest.FixtureRequest, sshd: Sshd) -> AsyncIterator[tuple[Slot, Slot]]:
    with (
        throwaway_login("gates") as one,
        throwaway_login("gates") as two,
        throwaway_login("boss") as boss,
        private_directory(boss) as private,
    ):
        made: list[LoginExecutor] = []
        for path in (sshd.directory, private):
            path.chmod(0o711)
        python = python_with_sudo(private / "bin", boss.pw_name, [one.pw_name, two.pw_name])

        def executor(login: pwd.struct_passwd) -> LoginExecutor:
            if request.param == "ssh":
                return ssh_executor(sshd, user=login.pw_name, python=PYTHON)
            return LocalExecutor("near", run_as=login.pw_name, python=PYTHON)

        supervisor = LocalExecutor(
            "near", run_as=boss.pw_name, python=str(python), root=str(private / "root" / ".airboss")
        )
        (private / "root").mkdir()
        os.chown(private / "root", boss.pw_uid, boss.pw_gid)
        for login in (one, two):
            made.append(executor(login))
        supervises = request.param == "supervised"
        first, second = (
            Slot(login, files, supervisor if supervises else files)
            for login, files in zip((one, two), made, strict=True)
        )
        try:
            yield first, second
        finally:
            for each in (*made, supervisor):
                await each.close()


TRY_ALL = """
import json, subprocess, sys
for name, script in json.loads(sys.argv[1]).items():
    done = subprocess.run([sys.executable, "-c", script], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    print(name + ":", done.returncode, flush=True)
"""


async def test_no_run_reaches_one_of_another_login(slots: tuple[Slot, Slot]) -> None:
    """Only what needs a network of the run's own gets through, and the run says ``network: shared``."""
    attacker, other = slots
    name, key = f"airboss-{secrets.token_hex(6)}", secrets.randbelow(1 << 30) + 1
    room = await other.room()
    spec = await other.spec(PYTHON, "-c", VICTIM, name, str(key), room, stdin=True)
    await other.supervisor.start(spec)
    _, port, pid = (await said(other.supervisor, spec.id, b"\n")).split()
    values: dict[str, object] = {
        "ROOT": other.files.root, "VICTIM": room, "HOME": other.login.pw_dir, "PID": int(pid), "KEY": key,
        "NAME": name, "PORT": int(port),
    }  # fmt: skip
    life = await attacker.run(TRY_ALL, json.dumps({attack.name: program(attack, values) for attack in ATTACKS}))
    seen = life.ended.isolation
    assert seen.account is Sharing.OWN and seen.network is Sharing.SHARED, (life.ended, life.output)
    crossed = _crossed(life, len(ATTACKS))
    assert crossed == {attack.name for attack in ATTACKS if attack.over_network}
    if not attacker.supervised and isinstance(attacker.files, LocalExecutor):  # a session of a pool, for its task
        every = (*ATTACKS, *ON_SESSIONS)
        values["CONVERSATION"] = f"{other.files.root}/sessions/two/layers/x/upper/.claude/projects/p.jsonl"
        scripts = json.dumps({attack.name: program(attack, values) for attack in every})
        session = replace(await attacker.spec(PYTHON, "-c", TRY_ALL, scripts), alone=None)
        life = await run_pipe(attacker.files, session)
        assert _crossed(life, len(every)) - WITHIN_A_LOGIN == crossed
        assert life.ended.isolation.network is Sharing.SHARED
    await other.supervisor.send(spec.id, 0, b"", eof=True)
    ended = (await follow(other.supervisor, spec.id)).ended
    assert ended.exit == Exited(0) and ended.login == other.login.pw_name


def _crossed(life: Life, tried: int) -> set[str]:
    """The attacks that reached the other login."""
    found = dict(line.split(": ", 1) for line in life.output.decode().splitlines())
    assert len(found) == tried, life.output
    return {name for name, status in found.items() if status != "1"}


LEAVE = """
import ctypes, os, signal, subprocess, sys, time
name, home = sys.argv[1:]
for path in ("/tmp/", "/var/tmp/", "/dev/shm/", home + "/."):
    os.makedirs(path + name + "/in", exist_ok=True)
    open(path + name + "/in/file", "w").close()
open(home + "/.bashrc", "a").write("touch /tmp/" + name)
os.makedirs(home + "/.config/systemd/user", exist_ok=True)
open(home + "/.config/systemd/user/x.service", "w").close()
assert ctypes.CDLL(None).shmget(int(name, 16) & 0x3fffffff, 4096, 0o1600) >= 0
if os.path.exists("/usr/bin/crontab"):
    subprocess.run(["crontab", "-"], input=b"* * * * * true\\n")
for _ in range(3):
    if os.fork() == 0:
        os.setsid()
        for number in (signal.SIGTERM, signal.SIGHUP, signal.SIGINT):
            signal.signal(number, signal.SIG_IGN)
        if os.fork() == 0:
            os.environ.clear()
            os.closerange(0, 3)
            os.execve("/bin/sleep", ["sleep", "600"], {})
        os._exit(0)
print("left", flush=True)
"""


async def test_nothing_of_a_run_is_left_and_it_is_told(slots: tuple[Slot, Slot]) -> None:
    slot, _ = slots
    name = secrets.token_hex(6)
    life = await slot.run(LEAVE, name, slot.login.pw_dir)
    assert life.output.endswith(b"left\n"), life.output
    assert life.ended.exit == Exited(0) and life.ended.gone
    assert alive(slot.login.pw_uid) <= {"python3", "sshd", "setpriv", "sh"}
    told = "\n".join(life.ended.left)
    home = slot.login.pw_dir
    for path in (f"/tmp/{name}", f"/var/tmp/{name}", f"/dev/shm/{name}", f"{home}/.bashrc"):
        assert f"removed {path}" in told
        assert not Path(path).exists()
    assert "removed System V shm" in told and f"removed {home}/.config/systemd/user/x.service" in told
    if shutil.which("crontab"):
        listed = subprocess.run(["crontab", "-l", "-u", slot.login.pw_name], capture_output=True, check=False)
        assert not listed.stdout
    again = await slot.run("import os; print(os.getuid())")
    assert again.output == f"{slot.login.pw_uid}\n".encode() and again.ended.left == ()


async def test_what_lies_in_another_logins_directory_is_told_and_left(slots: tuple[Slot, Slot]) -> None:
    """Its owner could put a link there while the login is cleared."""
    slot, other = slots
    name = secrets.token_hex(6)
    await other.files.run(["sh", "-c", f"mkdir -m 777 /tmp/{name}"])
    life = await slot.run(f"open('/tmp/{name}/mine', 'w').close()")
    try:
        assert f"left in a directory of another login: /tmp/{name}/mine" in life.ended.left
        assert Path(f"/tmp/{name}/mine").exists()
    finally:
        shutil.rmtree(f"/tmp/{name}")


def alive(uid: int) -> set[str]:
    """The names of the processes of a login."""
    listing = subprocess.run(["ps", "-o", "comm=", "-u", str(uid)], capture_output=True, text=True, check=False)
    return set(listing.stdout.split())


async def test_what_ran_before_is_ended_first(slots: tuple[Slot, Slot]) -> None:
    """As after a supervisor that was killed."""
    slot, _ = slots
    await slot.files.facts()
    becomes = ["setpriv", "--reuid", slot.login.pw_name, "--clear-groups"]
    with subprocess.Popen([*becomes, "sh", "-c", "echo up; exec sleep 600"], stdout=subprocess.PIPE) as stray:
        assert stray.stdout is not None and stray.stdout.readline() == b"up\n"
        life = await slot.run("print('alone')")
        assert life.ended.exit == Exited(0) and life.ended.isolation.account is Sharing.OWN
        assert stray.wait(timeout=60) == -9


async def test_what_a_task_changed_in_its_home_goes_with_it(slots: tuple[Slot, Slot]) -> None:
    """The vendor's login, what was there before, and our own directory stay."""
    slot, _ = slots
    home, vendor = Path(slot.login.pw_dir), ".claude/.credentials.json"
    await slot.files.run(["sh", "-c", "mkdir -p ~/.claude ~/.airboss; echo old > ~/.vimrc; sleep 0.05"])
    since_us = time.time_ns() // 1000
    changed = " ".join(f"~/{name}" for name in (".claude/settings.json", vendor, ".zshenv", ".airboss/mine"))
    planted = f"echo x | tee {changed}; ln -s / ~/link"
    await slot.files.run(["sh", "-c", f"sleep 0.05; {planted}"])
    spec = await slot.spec("true")
    assert spec.alone is not None
    spec = replace(spec, alone=replace(spec.alone, since_us=since_us, kept=(f"{home}/{vendor}",)))
    ended = (await run_pipe(slot.supervisor, spec)).ended
    assert ended.exit == Exited(0) and ended.gone
    assert f"removed {home}/.zshenv" in ended.left
    left = {str(path.relative_to(home)) for path in home.rglob("*") if not path.is_dir()}
    own = {path for path in left if path.startswith(".airboss/")}
    assert left - own == {".vimrc", vendor} and ".airboss/mine" in own


async def test_who_supervises_is_seen_from_inside(slots: tuple[Slot, Slot]) -> None:
    slot, _ = slots
    life = await slot.run("import os; print(os.getuid())")
    assert int(life.output) == slot.login.pw_uid
    assert life.ended.login == slot.login.pw_name
    assert life.ended.isolation.shares_its_supervisors_login is not slot.supervised
    assert not life.ended.isolation.shares_a_login


@pytest.mark.parametrize("how", ["stop", "timeout"])
async def test_a_run_that_heeds_no_signal_ends(slots: tuple[Slot, Slot], how: str) -> None:
    slot, _ = slots
    deaf = "import signal, time\nsignal.signal(15, signal.SIG_IGN)\nprint('deaf', flush=True)\ntime.sleep(600)"
    options: dict[str, Any] = {"timeout_us": 500_000} if how == "timeout" else {}
    spec = await slot.spec(PYTHON, "-c", deaf, **options)
    await slot.supervisor.start(spec)
    if how == "stop":
        await said(slot.supervisor, spec.id, b"deaf")
        await slot.supervisor.stop(spec.id, 0.1)
    ended = (await follow(slot.supervisor, spec.id)).ended
    assert ended.gone and not isinstance(ended.exit, Exited | Lost), ended


async def test_a_program_that_is_not_there_is_unavailable(slots: tuple[Slot, Slot]) -> None:
    slot, _ = slots
    life = await run_pipe(slot.supervisor, await slot.spec("no-such-program"))
    assert "no-such-program" in life.ended.unavailable


async def test_the_tree_is_checked_in_a_login_that_is_alone(slots: tuple[Slot, Slot]) -> None:
    slot, _ = slots
    room = await slot.room()
    await slot.files.write_file(f"{room}/tree/a.txt", b"a\n", 0o644)
    right = "b2c5e9d7ea6b0dd0c0a5d6a9a7d2a6d6e4f1a0b1"
    spec = await slot.spec(PYTHON, "-c", "pass", expect_trees=((f"{room}/tree", right),))
    life = await run_pipe(slot.supervisor, spec)
    assert right in life.ended.unavailable and life.ended.tree != right
    spec = await slot.spec(PYTHON, "-c", "pass", expect_trees=((f"{room}/tree", life.ended.tree),))
    again = await run_pipe(slot.supervisor, spec)
    assert again.ended.exit == Exited(0) and again.ended.tree == life.ended.tree


async def test_input_reaches_the_command(slots: tuple[Slot, Slot]) -> None:
    slot, _ = slots
    spec = await slot.spec(PYTHON, "-c", "import sys; print(len(sys.stdin.read()))", stdin=True)
    await slot.supervisor.start(spec)
    await slot.supervisor.send(spec.id, 0, b"x" * 300_000, eof=True)
    assert (await follow(slot.supervisor, spec.id)).output == b"300000\n"


async def test_runs_of_two_logins_run_at_once(slots: tuple[Slot, Slot]) -> None:
    lives = await asyncio.gather(*(slot.run("import time; time.sleep(0.2)") for slot in slots))
    assert [life.ended.exit for life in lives] == [Exited(0), Exited(0)]
