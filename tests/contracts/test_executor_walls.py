"""A run's walls, on every kind of login: no run reaches another, and what is in force is seen from inside."""

from __future__ import annotations

import asyncio
import secrets
from collections.abc import AsyncIterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from fleet.exits import Exited
from fleet.isolation import UNWALLED, RunIsolation, Sharing
from fleet.machines.login import LoginExecutor
from fleet.ports import PipeSpec, Walls
from tests.contracts.between_runs import ATTACKS, Attack, program
from tests.contracts.executor_logins import Life, Login, follow, pipe_spec, run_pipe, said

OWN = RunIsolation(Sharing.OWN, Sharing.OWN, Sharing.NONE)

#: What the other run is: it holds a file, sockets, shared memory and a FIFO, and says when it is ready.
VICTIM = """
import ctypes, os, socket, sys, time
name, key, directory = sys.argv[1], int(sys.argv[2]), sys.argv[3]
os.mkdir(directory + "/tree")
for path in ("/tree/secret", "/log"):
    open(directory + path, "w").close()
os.mkfifo(directory + "/ctl")
fifo = os.open(directory + "/ctl", os.O_RDWR)
libc = ctypes.CDLL(None, use_errno=True)
shared, queue = libc.shmget(key, 4096, 0o1600), libc.msgget(key, 0o1600)
for path in ("/dev/shm/" + name, "/var/tmp/" + name):
    open(path, "w").close()
listening = []
for address in ("\\0" + name, "/tmp/" + name):
    listening.append(socket.socket(socket.AF_UNIX))
    listening[-1].bind(address)
    listening[-1].listen()
port = socket.create_server(("127.0.0.1", 0))
print("ready", port.getsockname()[1], os.getpid(), flush=True)
sys.stdin.read()
libc.shmctl(shared, 0, None), libc.msgctl(queue, 0, None)
for path in ("/dev/shm/" + name, "/var/tmp/" + name, "/tmp/" + name):
    os.unlink(path)
"""


@dataclass
class Ground:
    """A login with another run at work on it."""

    executor: LoginExecutor
    values: dict[str, object]
    room: str
    home: Path

    def spec(self, attack: Attack, *, walls: bool) -> PipeSpec:
        """A run that tries the attack, with walls around it or nothing."""
        script = program(attack, self.values)
        if not walls:
            return pipe_spec(
                "/usr/bin/python3", "-c", script, bare_env=True, merge=True, env={"TMPDIR": f"{self.room}/scratch"}
            )
        return walled(self.room, "/usr/bin/python3", "-c", script)


def walled(room: str, *argv: str, network: bool = False) -> PipeSpec:
    """A walled run in that directory."""
    return pipe_spec(
        *argv, bare_env=True, merge=True, contain=True, env={"TMPDIR": "/tmp", "PATH": "/usr/bin:/bin"},
        walls=Walls(room, network=network),
    )  # fmt: skip


async def room_of(executor: LoginExecutor, name: str) -> str:
    """A run's directory, as gates have it."""
    await executor.facts()
    room = f"{executor.root}/gates/{name}"
    await executor.write_file(f"{room}/scratch/.keep", b"")
    return room


@pytest.fixture
async def ground(login: Login) -> AsyncIterator[Ground]:
    executor = login.executor()
    facts = await executor.facts()
    name, key = f"airboss-{secrets.token_hex(6)}", secrets.randbelow(1 << 30) + 1
    home, victim = f"{executor.root}/home", f"{executor.root}/gates/victim"
    await executor.write_file(f"{victim}/.keep", b"")
    await executor.write_file(f"{home}/.keep", b"")
    spec = pipe_spec("/usr/bin/python3", "-c", VICTIM, name, str(key), victim, stdin=True)
    await executor.start(spec)
    _, port, pid = (await said(executor, spec.id, b"\n")).split()
    values: dict[str, object] = {
        "ROOT": executor.root, "VICTIM": victim, "HOME": home, "PID": int(pid), "KEY": key, "NAME": name,
        "PORT": int(port),
    }  # fmt: skip
    assert facts.walled
    try:
        yield Ground(executor, values, await room_of(executor, "attacker"), Path(home))
    finally:
        await executor.send(spec.id, 0, b"", eof=True)
        assert (await follow(executor, spec.id)).ended.exit == Exited(0)


async def test_no_run_reaches_another(ground: Ground) -> None:
    ended = await asyncio.gather(
        *(run_pipe(ground.executor, ground.spec(attack, walls=True)) for attack in ATTACKS)
    )
    crossed = {attack.name: life.output for attack, life in zip(ATTACKS, ended, strict=True) if not stayed(life)}
    assert not crossed
    for attack in ATTACKS:
        life = await run_pipe(ground.executor, ground.spec(attack, walls=False))
        assert life.ended.exit == Exited(0), (attack.name, life.output)
        assert life.ended.isolation == UNWALLED


def stayed(life: Life) -> bool:
    return life.ended.exit == Exited(1) and life.ended.isolation == OWN
