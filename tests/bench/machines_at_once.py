"""`uptime` on 100 machines at once, cold and warm, and their heartbeats, beside bare asyncssh.

One real OpenSSH server stands for all machines: each has a connection, a login and a runner of its own. Cold is
from no connection to the last answer. The base opens a connection a machine and runs the command in its own
session. Warm has the connections: ours asks the runner that is there, the base opens a session on the connection.
A heartbeat is what the controller asks of each machine twice a minute; it starts no process. Its floor is a line
that goes to a `cat` on each machine and back.

Arguments: how many machines, and how many rounds.
"""

from __future__ import annotations

import asyncio
import sys
import tempfile
import time
from collections.abc import Awaitable, Callable
from functools import partial
from pathlib import Path
from typing import Any, Final

import asyncssh

from fleet.machines.ssh import SshExecutor
from tests.bench.harness import Comparison, Trial, compare, report
from tests.far_end.sshd import Sshd, running_sshd

MACHINES: Final = 100
ROUNDS: Final = 9
COLD_BAR: Final = 1.15
WARM_BAR: Final = 0.3
HEARTBEAT_BAR: Final = 2.0
PATIENCE_SECONDS: Final = 120.0


class Fleet:
    """So many machines behind one server, reached in both ways."""

    def __init__(self, server: Sshd, root: Path, machines: int) -> None:
        self._server, self._root = server, root
        self._numbers = range(machines)
        self._options: dict[str, Any] = {
            "port": server.port,
            "username": server.user,
            "known_hosts": ([asyncssh.import_public_key(server.host_key)], [], []),
            "client_keys": [str(server.identity)],
            "agent_path": None,
            "config": None,
            "kex_algs": ["curve25519-sha256"],
        }
        self.ours: list[SshExecutor] = []
        self.bare: list[asyncssh.SSHClientConnection] = []
        self._cats: list[asyncssh.SSHClientProcess[str]] = []

    def executor(self, number: int) -> SshExecutor:
        """A machine that is not connected."""
        return SshExecutor(
            f"m{number}",
            host="127.0.0.1",
            user=self._server.user,
            port=self._server.port,
            host_key=self._server.host_key,
            identity=str(self._server.identity),
            root=str(self._root / f"m{number}"),
            python=sys.executable,
            connect_timeout=PATIENCE_SECONDS,
        )

    async def connect(self) -> None:
        """Opens what the warm sides use."""
        self.ours = [self.executor(number) for number in self._numbers]
        await asyncio.gather(*(each.facts() for each in self.ours))
        self.bare = list(await asyncio.gather(*(self._connected() for _ in self._numbers)))
        self._cats = list(await asyncio.gather(*(each.create_process("exec cat") for each in self.bare)))

    async def close(self) -> None:
        """Closes all of it."""
        await asyncio.gather(*(each.close() for each in self.ours))
        for connection in self.bare:
            connection.abort()

    def _connected(self) -> Awaitable[asyncssh.SSHClientConnection]:
        return asyncssh.connect("127.0.0.1", **self._options)

    async def cold(self) -> float:
        """Each machine's load from no connection, ours; without their closing."""
        executors = [self.executor(number) for number in self._numbers]
        started = time.perf_counter()
        ran = await asyncio.gather(*(each.run(["uptime"]) for each in executors))
        seconds = time.perf_counter() - started
        await asyncio.gather(*(each.close() for each in executors))
        assert all(b"load" in each.out for each in ran)
        return seconds

    async def cold_bare(self) -> float:
        """The same by asyncssh."""
        made: list[asyncssh.SSHClientConnection] = []

        async def one() -> str:
            made.append(connection := await self._connected())
            return str((await connection.run("uptime", check=True)).stdout)

        started = time.perf_counter()
        said = await asyncio.gather(*(one() for _ in self._numbers))
        seconds = time.perf_counter() - started
        for connection in made:
            connection.abort()
        assert all("load" in each for each in said)
        return seconds

    async def warm(self) -> float:
        """Each machine's load over the channel that is there."""
        return await _timed(lambda: asyncio.gather(*(each.run(["uptime"]) for each in self.ours)))

    async def warm_bare(self) -> float:
        """The same in a session of its own on the connection that is there."""
        return await _timed(lambda: asyncio.gather(*(each.run("uptime", check=True) for each in self.bare)))

    async def heartbeat(self) -> float:
        """What the controller asks of each machine twice a minute."""
        return await _timed(lambda: asyncio.gather(*(each.facts() for each in self.ours)))

    async def echo(self) -> float:
        """A line to each machine and back."""

        async def one(cat: asyncssh.SSHClientProcess[str]) -> None:
            cat.stdin.write("are you there\n")
            await cat.stdout.readline()

        return await _timed(lambda: asyncio.gather(*(one(each) for each in self._cats)))


async def _timed(work: Callable[[], Awaitable[object]]) -> float:
    started = time.perf_counter()
    await work()
    return time.perf_counter() - started


def measure(runner: asyncio.Runner, there: Fleet, machines: int, rounds: int) -> list[Comparison]:
    """The three figures."""

    def trial(work: Callable[[], Any]) -> Trial:
        return lambda: float(runner.run(work()))

    rows: list[tuple[str, Callable[[], Any], Callable[[], Any], str, float]] = [
        (f"uptime on {machines}, cold", there.cold, there.cold_bare, "asyncssh: connect, run", COLD_BAR),
        (f"uptime on {machines}, warm", there.warm, there.warm_bare, "asyncssh: run", WARM_BAR),
        (f"a heartbeat of {machines}", there.heartbeat, there.echo, "a line to cat and back", HEARTBEAT_BAR),
    ]
    found = []
    for name, ours, base, label, bar in rows:
        if ours == there.warm:
            runner.run(there.connect())
        sides = (("airboss", trial(ours)), (label, trial(base)))
        found.append(compare(name, *sides, bar=bar, rounds=rounds, warm=1))
    return found


def main() -> int:
    """Prints the ratios; exits 1 when one is above what is promised."""
    machines, rounds = (*map(int, sys.argv[1:]), *(MACHINES, ROUNDS)[len(sys.argv) - 1 :])
    started = partial(running_sshd, settings=("LoginGraceTime 120",), startup_files=False)
    with tempfile.TemporaryDirectory(prefix="bench-fleet-") as name, asyncio.Runner() as runner:
        directory = Path(name)
        with started(directory / "sshd") as server:
            there = Fleet(server, directory, machines)
            found = measure(runner, there, machines, rounds)
            runner.run(there.close())
    return report(found)


if __name__ == "__main__":
    sys.exit(main())
