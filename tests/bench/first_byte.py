"""From `/run` to the agent's first byte on a warm SSH machine, against a plain `ssh HOST true`.

The clock starts when a chat hands over the message and stops when the agent's first words are committed to the
ledger: in between lie the inbox, the rights, the task, the placement, a fresh worktree on the machine, the
runner, and the way back of the bytes. Both sides speak to the same real OpenSSH server on loopback.
"""

from __future__ import annotations

import asyncio
import json
import os
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
from tests.bench.harness import Trial, command, compare, report
from tests.far_end.repositories import make_bare
from tests.far_end.sshd import Sshd, running_sshd

BAR = 2.0
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


def plain_ssh(directory: Path, server: Sshd) -> Trial:
    """`ssh HOST true` with nothing of this person's configuration, the host key pinned."""
    known = directory / "known_hosts"
    known.write_text(f"[127.0.0.1]:{server.port} {server.host_key}\n")
    options = {"UserKnownHostsFile": str(known), "StrictHostKeyChecking": "yes", "BatchMode": "yes"}
    argv = ["ssh", "-F", os.devnull, "-i", str(server.identity), "-p", str(server.port)]
    for name, value in options.items():
        argv += ["-o", f"{name}={value}"]
    return command([*argv, f"{server.user}@127.0.0.1", "true"])


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
        with running_sshd(directory / "sshd") as server:
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
            with Flights(home).open() as fly:
                base = ("ssh HOST true", plain_ssh(directory, server))
                ours = ("/run to the agent's first byte, warm", fly)
                return report([compare("a task on a warm machine", ours, base, bar=BAR, rounds=15, warm=3)])


if __name__ == "__main__":
    sys.exit(main())
