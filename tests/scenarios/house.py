"""A whole house for a scenario: a real sshd, a bare repository, a fleet.toml, and ``airboss serve`` as a process.

Nothing of ours is replaced: the controller is the installed command, the agents are programs, the machine called
macbook is reached through OpenSSH.
"""

from __future__ import annotations

import contextlib
import json
import os
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import tomlkit

from fleet.events import Recorded
from fleet.store import ledger, reconciling, sessions
from fleet.store.core import Store
from tests.conftest import living_in
from tests.empty_store import filled
from tests.far_end.repositories import git, make_bare
from tests.far_end.sshd import Sshd, running_sshd
from tests.far_end.tools import GATE_TOOLS
from tests.scenarios.controllers import Controller, begun, started

#: A gate that needs nothing but Python: red until GOOD is in work.txt, and it says why.
CHECK = """\
import pathlib, sys, time
text = pathlib.Path("work.txt").read_text()
if "SLOW" in text:
    time.sleep(600)
if "GOOD" not in text:
    print("E   work.txt lacks the word: " + text.strip()[:80])
    sys.exit(1)
print("1 passed")
"""
GATE = f"""\
[gates.check]
run = [{json.dumps(sys.executable)}, "check.py"]
timeout = "30s"
protected = ["check.py"]
rework_turns = 2
"""
FILES: dict[str, str | bytes] = {
    "airboss.toml": GATE,
    "check.py": CHECK,
    "work.txt": "nothing yet\n",
    "other.txt": "one\ntwo\nthree\n",
    ".gitignore": "*.log\n",
}
#: A plain program as an agent: it does what its prompt's lines say, so that a scenario is one readable text.
AGENT = """\
import os, subprocess, sys, time
prompt = sys.stdin.read()
red = "did not accept your change" in prompt
for line in prompt.splitlines():
    word, _, rest = line.partition(" ")
    if word == "write" or (word == "then-write" and red):
        open("work.txt", "w").write(rest + "\\n"); print("wrote", rest, flush=True)
    elif word == "shell":
        print(subprocess.run(rest, shell=True, capture_output=True, text=True).stdout, flush=True)
    elif word == "then-await" and red:
        while not os.path.exists(rest):
            time.sleep(0.02)
    elif word == "chatter":
        for n in range(int(rest)):
            print("line", n, flush=True); time.sleep(0.02)
    elif word == "exit":
        sys.exit(int(rest))
if red and os.path.isfile("work.txt") and "GOOD" not in open("work.txt", errors="replace").read():
    # The same work twice would be no progress; and a word of 16 characters would be searched for secrets for 0.5 s.
    open("work.txt", "a").write(f"again {os.urandom(6).hex()}\\n")
print("Done. All tests pass.")
"""


@dataclass(frozen=True)
class Answer:
    """What a chat line came to: the exit status by the contract, every card that was shown, the task."""

    status: int
    shown: str
    task: str


@dataclass
class House:
    """One scenario's world. ``start`` runs the controller; ``say`` speaks to it as the owner's console does.

    ``apart``: the controller is a program of its own, whose name and environment are to be seen from outside.
    """

    directory: Path
    home: Path
    bare: Path
    sshd: Sshd
    agents: dict[str, dict[str, Any]] = field(default_factory=dict)
    gate_read: list[str] = field(default_factory=lambda: list(GATE_TOOLS["gate_read"]))
    walls: bool = False
    apart: bool = False
    controller: Controller | None = None

    @property
    def machines(self) -> dict[str, dict[str, Any]]:
        """What ``configure`` says of the machines, to be changed and given back to it."""
        ssh = {
            "executor": "ssh",
            "host": "127.0.0.1",
            "port": self.sshd.port,
            "user": self.sshd.user,
            "host_key": self.sshd.host_key,
            "identity": str(self.sshd.identity),
            "labels": ["macos"],
            "slots": 4,
            "gates": False,
            "python": sys.executable,
            "home": str(self.directory / "macbook"),
            "session_walls": self.walls,
        }
        here = {"executor": "local", "labels": ["linux"], "slots": 4, "python": sys.executable}
        here |= {"session_walls": self.walls}
        here |= {"gate_path": GATE_TOOLS["gate_path"], "gate_read": self.gate_read}
        return {"evo-x2": {**here, "home": str(self.directory / "evo-x2")}, "macbook": ssh}

    def configure(self, **more: Any) -> None:
        """Writes fleet.toml: evo-x2 here, macbook over SSH, the plain agent and those in ``agents``.

        ``more`` is added to it by section; ``None`` in place of an entry takes that out.
        """
        plain = {"driver": "command", "program": [sys.executable, str(self.directory / "agent.py")]}
        document: dict[str, Any] = {
            "isolation": "unsafe-same-user",
            "machines": self.machines,
            "agents": {"plain": plain, **self.agents},
            "repos": {"shop": {"url": str(self.bare), "agent": "plain"}},
        }
        for name, value in more.items():
            merged = {**document.get(name, {}), **value} if isinstance(value, dict) else value
            document[name] = {k: v for k, v in merged.items() if v} if isinstance(merged, dict) else merged
        written = self.home / "fleet.toml.new"
        written.write_text(tomlkit.dumps(document))
        written.replace(self.home / "fleet.toml")

    # --- the controller -----------------------------------------------------------------------------------

    def start(self, failpoint: str = "", **environ: str) -> None:
        """Starts ``airboss serve``, with more in its environment, and waits until it answers."""
        environment = {**os.environ, **environ, "AIRBOSS_HOME": str(self.home)}
        environment.pop("AIRBOSS_FAILPOINT", None)
        if failpoint:
            environment["AIRBOSS_FAILPOINT"] = failpoint
        begin = started if self.apart else begun
        self.controller = begin(environment, self.directory / "serve.log")
        self.until(lambda: self._answers() or self._died(), "the controller answers")
        if self._died() and not failpoint:
            raise AssertionError(f"serve ended: {(self.directory / 'serve.log').read_text()[-3000:]}")

    def _answers(self) -> bool:
        with contextlib.suppress(OSError):
            return bool(self._ask({"do": "status"}).status == 0)
        return False

    def _died(self) -> bool:
        return self.controller is not None and self.controller.poll() is not None

    def kill(self) -> None:
        """``kill -9``, as a power cut would."""
        assert self.controller is not None
        self.controller.kill()
        self.controller.wait()

    def died(self) -> int:
        """Waits until the controller ended by itself; its return code."""
        assert self.controller is not None
        return self.controller.wait(120)

    def stop(self) -> None:
        """Ends the controller as systemd does."""
        if self.controller is not None and self.controller.poll() is None:
            self.controller.send_signal(signal.SIGTERM)
            try:
                self.controller.wait(60)
            except subprocess.TimeoutExpired:
                self.controller.kill()
                self.controller.wait()
                raise

    # --- the chat -----------------------------------------------------------------------------------------

    def say(self, text: str, *, wait: bool = False, id_: str = "") -> Answer:
        """One line on the console. ``wait``: until the task it began ends or waits for a person."""
        request: dict[str, Any] = {"do": "say", "text": text, "wait": wait}
        return self._ask({**request, "id": id_} if id_ else request)

    def wait(self, task: str) -> Answer:
        """Until a task ends or waits for a person."""
        return self._ask({"do": "wait", "task": task})

    def _ask(self, request: dict[str, Any]) -> Answer:
        with socket.socket(socket.AF_UNIX) as channel:
            channel.settimeout(200)
            channel.connect(str(self.home / "control.sock"))
            channel.sendall(json.dumps({"v": 1, **request}).encode() + b"\n")
            shown = []
            with channel.makefile("rb") as lines:
                for line in lines:
                    answer = json.loads(line)
                    shown.append(answer.get("out", "") + answer.get("error", ""))
                    if "end" in answer:
                        return Answer(answer["end"], "".join(shown), answer.get("task", ""))
        raise ConnectionError("the controller went away")

    def in_background(self, text: str) -> Callable[[], Answer]:
        """Says something that takes long, and gives a function that waits for its answer."""
        answers: list[Answer] = []
        thread = threading.Thread(target=lambda: answers.append(self.say(text, wait=True)), daemon=True)
        thread.start()

        def result() -> Answer:
            thread.join(200)
            return answers[0]

        return result

    # --- what stands written ------------------------------------------------------------------------------

    def ledger(self, *kinds: str, task: str = "") -> list[Recorded]:
        """The ledger's events, of these kinds if any are named."""
        with Store.open(f"sqlite:///{self.home / 'airboss.db'}", create=False) as store, store.transaction() as tx:
            return ledger.read(tx, limit=100_000, kinds=kinds, task=task)

    def bodies(self, kind: str) -> list[dict[str, Any]]:
        """The bodies of one kind of event, in order."""
        return [recorded.event.body() for recorded in self.ledger(kind)]

    def of(self, task: str, *kinds: str) -> list[Recorded]:
        """The ledger's events about one task, of these kinds if any are named."""
        return self.ledger(*kinds, task=task)

    def state(self, task: str) -> str:
        """Where a task stands."""
        moves = [recorded.event.body()["new"] for recorded in self.of(task, "task.moved")]
        return str(moves[-1]) if moves else "queued"

    def why(self, task: str) -> str:
        """The reason of a task's last move."""
        return str(self.of(task, "task.moved")[-1].event.body()["why"])

    def workspace(self, task: str) -> Path:
        """The worktree of a task's last session; the machines' directories are all here."""
        with Store.open(f"sqlite:///{self.home / 'airboss.db'}", create=False) as store, store.transaction() as tx:
            return Path(sessions.of_task(tx, task)[-1].workspace)

    def compared(self, task: str) -> int:
        """How many of the task's calls were found in the agent's own file."""
        calls = {recorded.event.body()["call"] for recorded in self.of(task, "tool.started")}
        with Store.open(f"sqlite:///{self.home / 'airboss.db'}", create=False) as store, store.transaction() as tx:
            return sum(len(reconciling.found(tx, each.id, calls)) for each in sessions.of_task(tx, task))

    def room(self, task: str) -> Path:
        """Where the task's last session keeps what its agent writes outside the worktree."""
        workspace = self.workspace(task)
        return workspace.parents[1] / "sessions" / workspace.name

    def main(self, path: str = "work.txt") -> str:
        """A file as it is on the base branch."""
        return git(self.bare, "show", f"main:{path}")

    def commits(self) -> list[str]:
        """The base branch's commits, newest first."""
        return git(self.bare, "log", "--format=%H", "main").split()

    def until(self, true: Callable[[], object], what: str, seconds: float = 120.0) -> None:
        """Waits until something is so; fails with the controller's log when it does not come."""
        give_up, pause = time.monotonic() + seconds, 0.02
        while not true():
            if time.monotonic() > give_up:
                log = (self.directory / "serve.log").read_text(errors="replace")[-3000:]
                raise AssertionError(f"it never came about that {what}\n{log}")
            time.sleep(pause)
            pause = min(1.2 * pause, 0.06)  # a look costs 3 ms of CPU


@contextlib.contextmanager
def house(files: dict[str, str | bytes] | None = None, *, walls: bool = False) -> Iterator[House]:
    """Builds a house, not yet served, in a directory of its own (short, for the socket's path); ends it all.

    ``walls``: around sessions. Without, agents reach files by which a scenario tells them what to do, as on a Mac.
    """
    directory = Path(tempfile.mkdtemp(prefix="ab-"))
    try:
        with running_sshd(directory / "sshd", startup_files=False) as sshd:
            home = directory / "home"
            home.mkdir(mode=0o700)
            filled(home / "airboss.db")
            (directory / "agent.py").write_text(AGENT)
            bare = make_bare(directory / "shop.git", {**FILES, **(files or {})})
            made = House(directory, home, bare, sshd, walls=walls)
            made.configure()
            try:
                yield made
            finally:
                made.stop()
                _end_pipes(directory)
    finally:
        shutil.rmtree(directory, ignore_errors=True)


def _end_pipes(directory: Path) -> None:
    """Ends what a scenario deliberately left running on its machines, or failed beside."""
    for pid in living_in(directory):
        with contextlib.suppress(ProcessLookupError):
            os.kill(pid, signal.SIGKILL)
