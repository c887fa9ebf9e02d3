"""From `/run` to the agent's first byte on a warm SSH machine, beside two floors of OpenSSH.

The clock starts when a chat hands over the message and stops when the agent's first words are committed to the
ledger: in between lie the inbox, the rights, the task, the placement, a fresh worktree on the machine, the
runner, and the way back of the bytes. All sides speak to the same real OpenSSH server on loopback, which keeps the
login's start-up files out of every command.

The sides do not do the same work. Ours has its connection already and does all of the above. The cold floor,
`ssh HOST true`, makes a connection and logs in, and does nothing more; the bar is against it. The warm floor is the
same command over a connection that OpenSSH shares (ControlMaster): as warm as ours, and what one command on a
machine costs at least. It has no bar: the ratio says how many such commands a task's start is worth.
"""

from __future__ import annotations

import asyncio
import json
import os
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from bot.app import App
from bot.message import Message
from fleet.events import AgentSaid, Recorded, SessionEnded
from fleet.model import ChatRef, PersonId
from fleet.store.core import Tx
from tests.bench.harness import Comparison, Trial, command, compare, report
from tests.far_end.repositories import make_bare
from tests.far_end.sshd import Sshd, running_sshd

BAR = 2.0
#: bash reads .bashrc for a command of sshd, unless it seems to be inside another shell.
NO_START_UP_FILES = ("SetEnv SHLVL=1",)
PATIENCE_SECONDS = 60.0
FLEET = """
isolation = "unsafe-same-user"

[machines.far]
executor = "ssh"
host = "127.0.0.1"
port = {port}
user = "{user}"
host_key = "{host_key}"
identity = "{identity}"
python = "{python}"
home = "{machine}"

[agents.greeter]
driver = "command"
program = ["echo", "hello"]

[repos.shop]
url = "{repository}"
agent = "greeter"

[[people]]
name = "bench"
role = "operator"
ids = ["console:bench:bench"]
"""


class Flights:
    """A controller in a thread of its own, and one `/run` at a time through it."""

    def __init__(self, home: Path) -> None:
        self._home = home
        self._ready, self._stop = threading.Event(), asyncio.Event()
        self._loop = asyncio.new_event_loop()
        self._said, self._ended = asyncio.Event(), asyncio.Event()
        self._said_at = 0.0
        self._count = 0
        self._thread = threading.Thread(target=self._loop.run_until_complete, args=(self._serve(),))

    @contextmanager
    def open(self) -> Iterator[Trial]:
        """Answers the trial: one task, from its message to the agent's first words."""
        self._thread.start()
        while not self._ready.wait(0.1):
            if not self._thread.is_alive():
                sys.exit("bench: the controller did not come up")
        try:
            yield lambda: asyncio.run_coroutine_threadsafe(self._fly(), self._loop).result()
        finally:
            self._loop.call_soon_threadsafe(self._stop.set)
            self._thread.join()
            self._loop.close()

    async def _serve(self) -> None:
        async with App.open(self._home) as app:
            self._app = app
            app.store.observe(self._observe)
            self._ready.set()
            await self._stop.wait()

    def _observe(self, tx: Tx, recorded: Recorded) -> None:
        if isinstance(recorded.event, AgentSaid):
            tx.after_commit(self._mark)
        elif isinstance(recorded.event, SessionEnded):
            tx.after_commit(self._ended.set)

    def _mark(self) -> None:
        self._said_at = time.perf_counter()
        self._said.set()

    async def _fly(self) -> float:
        self._count += 1
        self._said.clear()
        self._ended.clear()
        message = Message(
            "console",
            f"bench-{self._count}",
            PersonId("console", "bench", "bench"),
            ChatRef("console", "bench"),
            text="/run say hello",
        )
        started = time.perf_counter()
        await self._app.core.receive(message)
        async with asyncio.timeout(PATIENCE_SECONDS):
            await self._said.wait()
            await self._ended.wait()
        return self._said_at - started


def ssh(directory: Path, server: Sshd, *more: str) -> list[str]:
    """The arguments of `ssh HOST true` with nothing of this person's configuration, the host key pinned."""
    known = directory / "known_hosts"
    known.write_text(f"[127.0.0.1]:{server.port} {server.host_key}\n")
    options = {"UserKnownHostsFile": str(known), "StrictHostKeyChecking": "yes", "BatchMode": "yes"}
    argv = ["ssh", "-F", os.devnull, "-i", str(server.identity), "-p", str(server.port)]
    for name, value in options.items():
        argv += ["-o", f"{name}={value}"]
    return [*argv, *more, f"{server.user}@127.0.0.1", "true"]


@contextmanager
def shared_connection(directory: Path, server: Sshd) -> Iterator[Trial]:
    """`ssh HOST true` over one connection that stays open."""
    door = ("-S", str(directory / "mux"))
    argv = ssh(directory, server, *door)
    kept = ssh(directory, server, *door, "-N", "-o", "ControlMaster=yes")[:-1]
    master = subprocess.Popen(kept, stdin=subprocess.DEVNULL)
    try:
        give_up = time.monotonic() + PATIENCE_SECONDS
        while not (directory / "mux").exists():
            if master.poll() is not None or time.monotonic() > give_up:
                sys.exit("bench: ssh did not share its connection")
            time.sleep(0.02)
        yield command(argv)
    finally:
        master.terminate()
        master.wait()


def main() -> int:
    """Prints the figure; 1 when it misses its bar."""
    with tempfile.TemporaryDirectory(prefix="airboss-bench-") as name:
        directory = Path(name)
        gate = json.dumps([sys.executable, "-c", "pass"])
        repository = make_bare(
            directory / "shop.git", {"airboss.toml": f"[gates.tests]\nrun = {gate}\n", "a.txt": "a\n"}
        )
        home = directory / "home"
        home.mkdir(mode=0o700)
        with running_sshd(directory / "sshd", settings=NO_START_UP_FILES) as server:
            (home / "fleet.toml").write_text(
                FLEET.format(
                    port=server.port,
                    user=server.user,
                    host_key=server.host_key,
                    identity=server.identity,
                    python=sys.executable,
                    machine=directory / "machine",
                    repository=repository,
                )
            )
            cold = ("cold: ssh HOST true, connect and log in", command(ssh(directory, server)))
            with Flights(home).open() as fly, shared_connection(directory, server) as mux:
                ours = ("/run to the agent's first byte, warm", fly)
                warm = ("warm: ssh HOST true, shared connection", mux)
                beside = compare("beside the warm floor", ours, warm, bar=0, rounds=15, warm=3)
                found = compare("a task on a warm machine", ours, cold, bar=BAR, rounds=15, warm=3)
    tell_floor(beside)
    return report([found])


def tell_floor(found: Comparison) -> None:
    """Prints a comparison that has no bar."""
    low, high = found.base.spread
    print(
        f"{found.base.name}: {found.base.median * 1000:.1f} ms (quartiles {low * 1000:.1f} and {high * 1000:.1f}); "
        f"a task's first byte is {found.ratio:.1f} of it "
        f"(quartiles {found.ratios[0]:.1f} and {found.ratios[1]:.1f}; no bar)"
    )


if __name__ == "__main__":
    sys.exit(main())
