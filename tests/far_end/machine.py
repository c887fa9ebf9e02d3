"""A machine in memory, with one agent on it that speaks Claude Code's protocol: the far end of the executor's port.

Its spool and its input outlive every attachment, as a real runner's do.
"""

from __future__ import annotations

import asyncio
import json
import math
from collections.abc import AsyncIterator, Collection, Mapping, Sequence
from pathlib import Path
from typing import Any

from fleet.exits import UNRECORDED, Exited
from fleet.faults import Point, fault
from fleet.ports import Ended, LoginFacts, LoginOffers, Output, PipeEvent, PipeSpec, Ran
from tests.unit import agent_lines as lines

AGENT_FACTS: dict[str, Any] = {
    "user": "ada",
    "uid": 1000,
    "home": "/x",
    "host": "box",
    "boot": "b1",
    "system": "linux",
    "python": "3.11",
    "cpus": 2,
    "load_milli": 0,
    "disk_free": 1 << 40,
    "clock_us": 0,
    "contained": False,
    "walled": False,
}
"""What a login says of itself."""


class Machine:
    """One login. ``heard`` is every message that the agent was sent; ``started`` the pipes, each once;
    ``removed`` the directories.

    ``trouble`` is raised by every call while it is set.
    """

    def __init__(self, machine: str = "box") -> None:
        self.machine, self.root = machine, "/x"
        self.heard: list[dict[str, Any]] = []
        self.started: list[str] = []
        self.removed: list[str] = []
        self.trouble: Exception | None = None
        self.left: tuple[str, ...] = ()  # what of a process it could not end
        self.lingers = 0.0  # for how many seconds the agent goes on when its input ends; inf: for ever
        self.killed = False  # whether it had to be stopped
        self._spool = b""
        self._input = b""
        self._read = 0
        self._over: Ended | None = None
        self.boot = "b1"
        self._moved = asyncio.Event()

    @property
    def over(self) -> bool:
        """Whether its process has ended."""
        return self._over is not None

    # --- the agent ------------------------------------------------------------------------------------

    def say(self, *messages: lines.Message) -> None:
        """The agent writes these."""
        for message in messages:
            self._spool += lines.line(message) + b"\n"
        self._news()

    def end(self) -> None:
        """The agent's process ends."""
        self._over = self._over or Ended(Exited(0), 0, 1, 2, contained=False, gone=not self.left, left=self.left)
        self._news()

    def vanish(self, boot: str = "b1") -> None:
        """The process ends without an exit record: in the same boot it was killed with its supervisor."""
        self.boot = boot
        self._over = Ended(UNRECORDED, None, 0, 0, contained=False, gone=False)
        self._news()

    def _news(self) -> None:
        moved, self._moved = self._moved, asyncio.Event()
        moved.set()

    def _hear(self, message: dict[str, Any]) -> None:
        self.heard.append(message)
        match message:
            case {"request": {"subtype": "initialize"}}:
                self.say(lines.CONFIRMED, lines.INIT)
            case {"type": "user", "message": {"content": str(text)}}:
                self.say(lines.heard(text), lines.assistant(lines.text("I look first")))
                self.say(lines.can_use("r1", "c1", "Bash", command="ls"))
            case {"type": "control_response"}:
                self.say(lines.assistant(lines.text("It is allowed")), lines.result("all done"))

    # --- the port -------------------------------------------------------------------------------------

    async def facts(self) -> LoginFacts:
        self._reach()
        return LoginFacts(**{**AGENT_FACTS, "host": self.machine, "boot": self.boot})

    async def offers(self, programs: Mapping[str, Sequence[str]]) -> LoginOffers:
        self._reach()
        return LoginOffers({}, "", ())

    async def run(
        self,
        argv: Sequence[str],
        *,
        cwd: str = "",
        env: Mapping[str, str] | None = None,
        stdin: bytes | Path = b"",
        stdout: Path | None = None,
        timeout: float = 60.0,
        limit: int = 1 << 20,
    ) -> Ran:
        return Ran(Exited(0), b"", b"")

    async def write_file(self, path: str, data: bytes, mode: int = 0o600) -> None:
        self._reach()

    async def read_file(self, path: str, limit: int) -> bytes:
        raise NotImplementedError

    async def remove_tree(self, path: str) -> None:
        self._reach()
        self.removed.append(path)

    async def take_tree(self, store: str, place: str, wanted: str) -> str:
        raise NotImplementedError

    async def move_tree(self, place: str, change: Path) -> None:
        raise NotImplementedError

    async def put_back_tree(self, store: str, place: str, tree: str) -> None:
        self._reach()

    async def start(self, spec: PipeSpec) -> None:
        self._reach()
        if spec.id not in self.started:
            self.started.append(spec.id)
            self._spool, self._input, self._read, self._over = b"", b"", 0, None

    async def attach(self, pipe: str, nonce: str, offset: int) -> AsyncIterator[PipeEvent]:
        """A line at a time, so that each is a commit of its own."""
        self._reach()
        while True:
            moved = self._moved
            while offset < len(self._spool):
                end = self._spool.index(b"\n", offset) + 1
                yield Output(offset, self._spool[offset:end])
                offset = end
            if self._over is not None:
                yield self._over
                return
            await moved.wait()

    async def send(self, pipe: str, position: int, data: bytes, *, eof: bool = False) -> int:
        self._reach()
        assert position <= len(self._input), "a gap in the input"
        self._input += data[len(self._input) - position :]
        while b"\n" in self._input[self._read :]:
            end = self._input.index(b"\n", self._read) + 1
            line, self._read = self._input[self._read : end], end
            self._hear(json.loads(line))
        if eof and not self.lingers:
            self.end()
        elif eof and self.lingers < math.inf:
            asyncio.get_running_loop().call_later(self.lingers, self.end)
        return len(self._input)

    async def stop(self, pipe: str, grace: float = 5.0) -> None:
        self._reach()
        self.killed = self.killed or not self.over
        self.end()

    async def tail(self, pipe: str, stream: str, limit: int) -> bytes:
        return self._spool[-limit:]

    async def forget(self, older_than_us: int, keep: Collection[str] = ()) -> int:
        return 0

    async def close(self) -> None:
        pass

    def _reach(self) -> None:
        fault(Point.MACHINE_CALL)
        if self.trouble is not None:
            raise self.trouble


class Machines:
    """The machine for every login; the agents' and the gates'."""

    def __init__(self, machine: Machine) -> None:
        self.machine = machine

    def agent(self, machine: str, login: str = "") -> Machine:
        return self.machine

    def gate(self, machine: str, login: str = "") -> Machine:
        return self.machine
