"""Start-up files of a gates' login, over a real sshd: code under test edits them, and nothing runs them.

sshd starts commands through the login's shell, so each shell of this machine is tried. With nothing done about it
they do run, else these tests would prove nothing.
"""

from __future__ import annotations

import contextlib
import json
import os
import pwd
import shutil
import subprocess
from collections.abc import AsyncIterator, Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from fleet.config import MachineConfig
from fleet.exits import Exited
from fleet.isolation import Walls
from fleet.machines.login import LoginExecutor
from fleet.machines.setup import Setup
from tests.contracts.executor_logins import pipe_spec, run_pipe, ssh_executor
from tests.far_end.logins import homes_of_logins, login_name
from tests.far_end.sshd import Sshd, new_key, running_sshd

pytestmark = pytest.mark.needs_root

SHELLS = [shell for shell in ("bash", "zsh", "dash") if shutil.which(shell)]

#: What runs at the next connection where nothing is done about it: with every shell, and with one.
ALWAYS_RUN = {".ssh/rc", ".ssh/environment", ".ssh/authorized_keys"}
RUN_BY = {"bash": {".bashrc"}, "zsh": {".zshenv"}, "dash": set[str]()}

PLANT = """
import json, os, sys
for path, text in json.loads(sys.argv[2]).items():
    path = os.path.join(sys.argv[1], path)
    try:
        os.makedirs(os.path.dirname(path), 0o700, exist_ok=True)
        with open(path, "w") as file:
            file.write(text)
        os.chmod(path, 0o755)
        print(path, flush=True)
    except OSError:
        pass
"""


@dataclass(frozen=True)
class Far:
    """A gates' login behind sshd. ``marks`` is where a start-up file that runs leaves its name."""

    sshd: Sshd
    login: pwd.struct_passwd
    marks: Path

    @property
    def plants(self) -> dict[str, str]:
        """Every file that a shell or sshd might run, by its path in the home."""
        home, key = self.login.pw_dir, new_key(self.sshd.identity)
        shells = (".bashrc", ".bash_profile", ".profile", ".zshenv", ".zprofile", ".ssh/rc")
        command = f'touch {self.mark(".ssh/authorized_keys")}; exec sh -c \\"$SSH_ORIGINAL_COMMAND\\"'
        return {
            **{path: f"touch {self.mark(path)}\n" for path in shells},
            ".ssh/environment": f"PATH={home}/bin:/usr/bin:/bin\n",
            "bin/id": f'#!/bin/sh\ntouch {self.mark(".ssh/environment")}\nexec /usr/bin/id "$@"\n',
            ".ssh/authorized_keys": f'command="{command}" {key}\n',
        }

    def mark(self, path: str) -> Path:
        return self.marks / path.replace("/", "+")

    def ran(self) -> set[str]:
        """The start-up files that ran."""
        return {mark.name.replace("+", "/") for mark in self.marks.iterdir()}

    def executor(self) -> LoginExecutor:
        return ssh_executor(self.sshd, user=self.login.pw_name, python="/usr/bin/python3")

    async def plant(self, *, walls: bool = False) -> set[str]:
        """Code under test writes all of them; returns those that it could write."""
        executor = self.executor()
        try:
            await executor.facts()
            room = f"{executor.root}/gates/planter"
            await executor.write_file(f"{room}/scratch/.keep", b"")
            argv = ("/usr/bin/python3", "-c", PLANT, self.login.pw_dir, json.dumps(self.plants))
            options = {"contain": True, "walls": Walls(room)} if walls else {}
            life = await run_pipe(executor, pipe_spec(*argv, **options))
        finally:
            await executor.close()
        assert life.ended.exit == Exited(0), life.output
        assert not self.ran()
        return {line.removeprefix(f"{self.login.pw_dir}/") for line in life.output.decode().splitlines()}

    async def connect(self) -> None:
        """Our next connection."""
        executor = self.executor()
        try:
            assert (await executor.facts()).user == self.login.pw_name
            assert (await executor.run(["id", "-un"])).out.decode().strip() == self.login.pw_name
        finally:
            await executor.close()


@contextlib.contextmanager
def far(directory: Path, shell: str, *, setup: bool) -> Iterator[Far]:
    """A login with that shell: as ``airboss machines setup`` makes it, or as ``useradd`` and a key do."""
    with homes_of_logins() as homes:
        name = login_name("gates")
        etc, marks = homes / "etc", homes / "marks"
        for directory in (marks, homes / "sshd"):
            directory.mkdir()
        marks.chmod(0o1777)
        key = new_key(homes / "sshd" / "client_key")
        machine = MachineConfig(executor="ssh", host="far", user=[login_name("agents")], gate_as=[name])
        script = Setup("far", machine, public_key=key, etc=str(etc), homes=str(homes)).script()
        for _ in range(2):
            subprocess.run(["sh", "-s"], input=script.encode(), check=True, stdout=subprocess.DEVNULL)
        subprocess.run(["usermod", "--shell", str(shutil.which(shell)), name], check=True)
        login = pwd.getpwnam(name)
        # What the machine's owner wrote: sshd takes the first value that it finds, so the script's come first.
        settings = ["PermitUserEnvironment yes", f"Match User {name}", "AuthorizedKeysFile .ssh/authorized_keys"]
        if setup:
            settings.insert(0, f"Include {etc}/ssh/sshd_config.d/*.conf")
        else:
            home = Path(login.pw_dir)
            os.chown(home, login.pw_uid, login.pw_gid)
            (home / ".ssh").mkdir()
            (home / ".ssh" / "authorized_keys").write_text(f"{key}\n")
            for path in (home / ".ssh", home / ".ssh" / "authorized_keys"):
                os.chown(path, login.pw_uid, login.pw_gid)
        with running_sshd(homes / "sshd", settings=settings) as sshd:
            yield Far(sshd, login, marks)


@pytest.fixture(params=SHELLS)
async def bare(request: pytest.FixtureRequest, tmp_path: Path) -> AsyncIterator[Far]:
    with far(tmp_path, request.param, setup=False) as made:
        yield made


@pytest.fixture(params=SHELLS)
async def prepared(request: pytest.FixtureRequest, tmp_path: Path) -> AsyncIterator[Far]:
    with far(tmp_path, request.param, setup=True) as made:
        yield made


async def test_planted_files_run_where_nothing_prevents_it(bare: Far) -> None:
    """And inside the walls of a run nothing can be planted, whatever sshd and the shell would run."""
    await bare.plant(walls=True)  # into a home and /tmp of the run's own
    await bare.connect()
    assert bare.ran() == set()
    assert await bare.plant() == set(bare.plants)
    await bare.connect()
    assert bare.ran() == ALWAYS_RUN | RUN_BY[Path(bare.login.pw_shell).name]


async def test_after_setup_nothing_can_be_planted_and_sshd_would_not_run_it(prepared: Far) -> None:
    """Not even in a home that belongs to the login after all."""
    assert await prepared.plant() == set()
    await prepared.connect()
    assert prepared.ran() == set()
    os.chown(prepared.login.pw_dir, prepared.login.pw_uid, prepared.login.pw_gid)
    assert await prepared.plant() == set(prepared.plants)
    await prepared.connect()
    assert prepared.ran() == set()
