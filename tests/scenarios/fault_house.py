"""A controller on a thread of this process: faults can be set in it and counted, and it serves a whole house.

The machine is local; git, the runner, the store and the control socket are real; the agents are programs.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import selectors
import shutil
import socket
import sqlite3
import sys
import tempfile
import threading
import time
import uuid
from collections.abc import Callable, Coroutine, Iterator
from pathlib import Path
from typing import Any, Final, TypeVar

import tomlkit

from bot.app import App
from bot.chats.console.adapter import Following
from fleet.supervise import first
from tests.empty_store import filled
from tests.far_end.repositories import make_bare
from tests.far_end.tools import GATE_TOOLS
from tests.scenarios.house import AGENT, FILES, GATE

T = TypeVar("T")
_ROOT: Final = Path(__file__).parents[2]
_UNAVAILABLE: Final = 3
_LONGEST_SECONDS: Final = 200.0
_SETTLED_SECONDS: Final = 1.2  # longer than the pause between two forms of a card

#: Speaks like Claude Code, and asks for permission before it changes a file.
_ASKING: Final = f"""\
import json, sys
sys.path.insert(0, {str(_ROOT)!r})
from tests.unit import agent_lines as lines
def say(*messages):
    for message in messages:
        sys.stdout.buffer.write(lines.line(message) + b"\\n")
    sys.stdout.buffer.flush()
for heard in map(json.loads, sys.stdin):
    match heard:
        case {{"request": {{"subtype": "initialize"}}}}:
            say(lines.CONFIRMED, lines.INIT)
        case {{"type": "user", "message": {{"content": str(text)}}}}:
            say(lines.heard(text), lines.assistant(lines.text("I ask first")))
            say(lines.can_use("r1", "c1", "Bash", command="make deploy"))
        case {{"type": "control_response"}}:
            with open("work.txt", "a") as work:
                work.write("GOOD " + heard["response"]["response"]["behavior"] + "\\n")
            say(lines.assistant(lines.text("I heard the answer")), lines.result("all done"))
"""


class _PacedSelector(selectors.DefaultSelector):
    """Waits so many times shorter than it is asked to."""

    def __init__(self, pace: float) -> None:
        super().__init__()
        self._pace = pace

    def select(self, timeout: float | None = None) -> list[tuple[selectors.SelectorKey, int]]:
        return super().select(None if timeout is None else timeout / self._pace)


class PacedLoop(asyncio.SelectorEventLoop):
    """An event loop whose clock runs ``pace`` times as fast, so that everything that waits on it waits shorter.

    Programs, the disk and the store's leases keep their real time.
    """

    def __init__(self, pace: float) -> None:
        super().__init__(_PacedSelector(pace))
        self._pace = pace

    def time(self) -> float:
        return time.monotonic() * self._pace


def slowly(work: Coroutine[Any, Any, T]) -> T:
    """Runs it on a clock that goes at a fifth of its pace: what comes within a second comes so on a busy machine,
    too."""
    with asyncio.Runner(loop_factory=lambda: PacedLoop(0.2)) as runner:
        return runner.run(work)


class Controller:
    """A controller on a thread of this process, so that faults can be set and counted."""

    def __init__(self, directory: Path, bare: Path, pace: float) -> None:
        self.directory, self.home, self.bare = directory, directory / "home", bare
        self.cards: Following | None = None
        self.unwell: tuple[str, ...] = ()
        self.error: BaseException | None = None
        self._loop = PacedLoop(pace)
        self.now = self._loop.time
        self._ready, self._stop = threading.Event(), asyncio.Event()
        self._thread = threading.Thread(target=self._run, name="controller")

    def start(self) -> None:
        """Returns once it answers."""
        self._thread.start()
        self.until(self._ready.is_set, "the controller begins")

    def stop(self) -> None:
        """Ends it, and raises what ended it before."""
        if self._thread.is_alive():
            self._loop.call_soon_threadsafe(self._stop.set)
            self._thread.join(120)
        assert not self._thread.is_alive(), "the controller did not end"
        if self.error is not None:
            raise self.error

    def _run(self) -> None:
        try:
            with asyncio.Runner(loop_factory=lambda: self._loop) as runner:
                runner.run(self._serve())
        except BaseException as error:
            self.error = error

    async def _serve(self) -> None:
        async with App.open(self.home) as app:
            with app.console.follow() as self.cards:
                self._ready.set()
                await first(self._stop.wait(), app.failed)
            self.unwell = tuple(health.name for health in app.supervisor.health() if not health.running)
            if app.failed.done():
                await app.failed

    # --- the chat ---------------------------------------------------------------------------------------

    def say(self, text: str) -> str:
        """A line on the console, as often as it is refused for now, under one id. Answers what was shown."""
        request, shown = {"v": 1, "do": "say", "text": text, "id": uuid.uuid4().hex}, ""

        def heard() -> bool:
            nonlocal shown
            status, shown = self._ask(request)
            assert status in (0, _UNAVAILABLE), shown
            return status == 0

        self.until(heard, f"{text!r} is heard")
        return shown

    def tell(self, text: str) -> int:
        """A line on the console, once. Answers its status."""
        return self._ask({"v": 1, "do": "say", "text": text, "id": uuid.uuid4().hex})[0]

    def _ask(self, request: dict[str, Any]) -> tuple[int, str]:
        with socket.socket(socket.AF_UNIX) as channel:
            channel.settimeout(_LONGEST_SECONDS)
            channel.connect(str(self.home / "control.sock"))
            channel.sendall(json.dumps(request).encode() + b"\n")
            shown = ""
            with channel.makefile("rb") as lines:
                for answer in map(json.loads, lines):
                    shown += answer.get("out", "") + answer.get("error", "")
                    if "end" in answer:
                        return answer["end"], shown
        raise ConnectionError("the controller went away")

    # --- what stands written, read without the product's store, whose points are counted -----------------

    def rows(self, query: str, *values: object) -> list[sqlite3.Row]:
        """The rows of a query."""
        with contextlib.closing(
            sqlite3.connect(f"file:{self.home / 'airboss.db'}?mode=ro", uri=True)
        ) as connection:
            connection.row_factory = sqlite3.Row
            return connection.execute(query, values).fetchall()

    def has(self, kind: str, task: str) -> bool:
        """Whether the ledger has an event of this kind about this task."""
        return bool(self.rows("SELECT seq FROM ledger WHERE kind = ? AND task = ?", kind, task))

    def await_event(self, kind: str, task: str = "t1") -> None:
        """Until the ledger has an event of this kind about this task."""
        self.until(lambda: self.has(kind, task), f"{kind} of {task}")

    def await_state(self, state: str, task: str = "t1") -> None:
        """Until a task stands there. Fails at once where it ended otherwise."""

        def there() -> bool:
            rows = self.rows("SELECT state, why FROM tasks WHERE id = ?", task)
            now = rows[0]["state"] if rows else ""
            ended = now in ("landed", "answered", "failed", "refused", "unavailable", "lost", "stopped")
            assert now == state or not ended, f"{task} ended {now}: {rows[0]['why']}"
            return bool(now == state)

        self.until(there, f"{task} is {state}")

    def await_card(self, words: str) -> None:
        """Until a card with these words was shown."""
        query = "SELECT id FROM outbox WHERE state = 'delivered' AND instr(card_json, ?)"
        self.until(lambda: bool(self.rows(query, words)), f"a card says {words!r}")

    def await_quiet(self, *tasks: str) -> None:
        """Until the sessions of these tasks are closed and everything was shown."""
        for task in tasks:
            self.await_event("session.ended", task)
        events = "SELECT seq FROM ledger ORDER BY seq DESC LIMIT 1"
        pending = "SELECT id FROM outbox WHERE state IN ('waiting', 'in_flight') UNION ALL "
        pending += "SELECT id FROM inbox WHERE settled_us = 0"
        seen: tuple[object, float] = (None, 0.0)

        def quiet() -> bool:
            nonlocal seen
            now = (self.rows(events)[0]["seq"], len(self.rows("SELECT id FROM outbox")))
            if self.rows(pending) or now != seen[0]:
                seen = (now, time.monotonic())
            return time.monotonic() - seen[1] > _SETTLED_SECONDS

        self.until(quiet, "everything is shown")

    def until(self, true: Callable[[], bool], what: str) -> None:
        """Waits until something is so. Fails when it does not come, or when the controller ended."""
        give_up = time.monotonic() + _LONGEST_SECONDS
        while not true():
            if self.error is not None:
                raise self.error
            assert time.monotonic() < give_up, f"it did not happen: {what}"
            time.sleep(0.02)


@contextlib.contextmanager
def built(pace: float = 1.0) -> Iterator[Controller]:
    """A house with one machine and two agents, whose controller is not started; ends it all."""
    directory = Path(tempfile.mkdtemp(prefix="ab-"))
    try:
        (directory / "home").mkdir(mode=0o700)
        filled(directory / "home" / "airboss.db")
        gate = GATE.replace("rework_turns = 2", "rework_turns = 1")
        bare = make_bare(directory / "shop.git", {**FILES, "airboss.toml": gate})
        for name, text in (("agent.py", AGENT), ("asking.py", _ASKING)):
            (directory / name).write_text(text)
        machine: dict[str, Any] = {"executor": "local", "slots": 4, "python": sys.executable}
        machine |= {"home": str(directory / "evo-x2"), "agent_read": [str(_ROOT)], **GATE_TOOLS}
        document = {
            "isolation": "unsafe-same-user",
            "machines": {"evo-x2": machine},
            "agents": {
                "plain": {"driver": "command", "program": [sys.executable, str(directory / "agent.py")]},
                "asking": {
                    "driver": "claude",
                    "program": [sys.executable, str(directory / "asking.py")],
                    "ask": ["Bash"],
                },
            },
            "repos": {"shop": {"url": str(bare), "agent": "plain"}},
        }
        (directory / "home" / "fleet.toml").write_text(tomlkit.dumps(document))
        there = Controller(directory, bare, pace)
        try:
            yield there
        finally:
            there.stop()
    finally:
        shutil.rmtree(directory, ignore_errors=True)
