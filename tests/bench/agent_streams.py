"""50 agents that say 100 lines a second each, into the ledger through their Followers, and `/status` meanwhile.

Ours is the product's path on a store on disk: the pipe's reader, the framer, the `command` driver, the redactor,
the ledger, the session's offset. Only the machines are played. The base is a bare group-commit loop of sqlite3:
every 20 ms it inserts the lines that wait as rows and commits them as durably (WAL, ``synchronous=FULL``). Both
are given the same lines at the same pace in one run, and the clock stops when the last one is durable. A line
counts as said when it is due, so that a side that falls behind cannot slow its agents down.

`/status` is its store reads and its card, ten times a second during both; its quiet time is taken in between.

Arguments: other numbers of agents and of lines a second. 200 and 50 are 10,000 lines a second.
"""

from __future__ import annotations

import asyncio
import os
import re
import sqlite3
import statistics
import sys
import tempfile
import time
from collections import deque
from collections.abc import AsyncIterator, Callable, Coroutine, Sequence
from functools import partial
from pathlib import Path
from typing import Any

from bot.telemetry_view import look, status_card
from fleet.config import FleetConfig, parse_fleet
from fleet.events import AgentSaid, Recorded
from fleet.exits import Exited
from fleet.flight.follower import Follower
from fleet.ports import Ended, Output, PipeEvent
from fleet.redact import Redactor
from fleet.store import sessions
from fleet.store.core import Store, Tx
from tests.bench.harness import Comparison, Side, report
from tests.bench.streams_at_once import Lag
from tests.far_end.machine import Machine
from tests.flying import World

AGENTS = int(sys.argv[1]) if len(sys.argv) > 1 else 50
LINES_A_SECOND = int(sys.argv[2]) if len(sys.argv) > 2 else 100
SECONDS = 5
ROUNDS = 5
WARM = 1
QUIET_ASKS = 20
TICK_SECONDS = 0.01
GATHER_SECONDS = 0.02
DURABLE_WITHIN_SECONDS = 1.0
PATIENCE_SECONDS = 60.0
STREAM_BAR = 1 / 0.9
STATUS_BAR = 2.0
LINE = "tests/unit/test_shop.py::test_the_total_is_the_sum PASSED in 0.02s: 12 of 40 done, see docs/shop.md"
NUMBER = re.compile(r"#(\d+):")
FLEET = """
isolation = "unsafe-same-user"
[machines.box]
executor = "local"
[agents.helper]
driver = "command"
program = ["cat"]
[repos.shop]
url = "/nowhere"
agent = "helper"
"""

Say = Callable[[int, bytes], None]


class Speaker(Machine):
    """A machine whose agent says what it is told to, and needs no input. It costs little beside what is measured:
    a spool that is copied for each line would."""

    def __init__(self) -> None:
        super().__init__()
        self._lines: deque[bytes] = deque()

    def speak(self, line: bytes) -> None:
        self._lines.append(line)
        self._news()

    async def attach(self, pipe: str, nonce: str, offset: int) -> AsyncIterator[PipeEvent]:
        while True:
            moved = self._moved
            while self._lines:
                line = self._lines.popleft()
                yield Output(offset, line)
                offset += len(line)
            if self._over:
                yield Ended(Exited(0), 0, 1, 2, contained=False, gone=True)
                return
            await moved.wait()

    async def send(self, pipe: str, position: int, data: bytes, *, eof: bool = False) -> int:
        """Takes the prompt."""
        return position + len(data)


class Clock:
    """When each line of a round was due, and how long after that it was durable (seconds)."""

    def __init__(self) -> None:
        self._begun = 0.0
        self._first = 0
        self._next = 0
        self.delays: list[float] = []
        self._all = asyncio.Event()

    def durable(self, text: str) -> None:
        """A commit with these lines has ended."""
        now = time.perf_counter()
        for found in NUMBER.finditer(text):
            self.delays.append(now - self._due(int(found[1])))
        if len(self.delays) == AGENTS * LINES_A_SECOND * SECONDS:
            self._all.set()

    async def round(self, say: Say) -> float:
        """All agents speak; answers the seconds until the last line was durable."""
        self._begun, self._first, self.delays = time.perf_counter(), self._next, []
        self._all.clear()
        last = self._first + AGENTS * LINES_A_SECOND * SECONDS
        while self._next < last:
            while self._next < last and self._due(self._next) <= time.perf_counter():
                say(self._next % AGENTS, f"#{self._next}: {LINE}\n".encode())
                self._next += 1
            await asyncio.sleep(TICK_SECONDS)
        async with asyncio.timeout(PATIENCE_SECONDS):
            await self._all.wait()
        return time.perf_counter() - self._begun

    def _due(self, number: int) -> float:
        return self._begun + (number - self._first) // AGENTS / LINES_A_SECOND


class Bare:
    """A group-commit loop and nothing else."""

    def __init__(self, path: Path, clock: Clock) -> None:
        self._clock = clock
        self._waiting: list[tuple[int, bytes]] = []
        self._database = sqlite3.connect(path, isolation_level=None, check_same_thread=False)
        self._database.execute("PRAGMA journal_mode=WAL")
        self._database.execute("PRAGMA synchronous=FULL")
        self._database.execute("CREATE TABLE said (id INTEGER PRIMARY KEY, agent INTEGER, line BLOB)")

    def say(self, agent: int, line: bytes) -> None:
        self._waiting.append((agent, line))

    async def run(self) -> None:
        while True:
            await asyncio.sleep(GATHER_SECONDS)
            rows, self._waiting = self._waiting, []
            if rows:
                await asyncio.to_thread(self._commit, rows)
                self._clock.durable(b"".join(line for _, line in rows).decode())

    def _commit(self, rows: list[tuple[int, bytes]]) -> None:
        self._database.execute("BEGIN IMMEDIATE")
        self._database.executemany("INSERT INTO said (agent, line) VALUES (?, ?)", rows)
        self._database.execute("COMMIT")


async def status(store: Store, config: FleetConfig) -> float:
    """Seconds of one `/status`."""
    started = time.perf_counter()
    view = await store.read(look)
    status_card(config, view, {})
    return time.perf_counter() - started


async def asked_meanwhile(
    ask: Callable[[], Coroutine[Any, Any, float]], work: Coroutine[Any, Any, float]
) -> tuple[float, float]:
    """The seconds of ``work``, and the median of the `/status` that were asked during it."""
    working, times = asyncio.ensure_future(work), []
    while not working.done():
        times.append(await ask())
        await asyncio.sleep(0.1)
    return await working, statistics.median(times)


async def measure(directory: Path) -> tuple[list[Comparison], bool]:
    """Both figures, and whether every line of ours was durable within a second."""
    with Store.open(f"sqlite:///{directory / 'airboss.db'}", redact=Redactor()) as store:
        there = World(directory, store, parse_fleet(FLEET, "fleet.toml"))
        ask = partial(status, store, there.config)
        said, bare_said = Clock(), Clock()
        loop = asyncio.get_running_loop()

        def observe(tx: Tx, recorded: Recorded) -> None:
            if isinstance(recorded.event, AgentSaid):
                text = recorded.event.text
                tx.after_commit(partial(said.durable, text))

        store.observe(observe)
        speakers = [Speaker() for _ in range(AGENTS)]

        def speak(agent: int, line: bytes) -> None:
            speakers[agent].speak(line)

        followers, running = [], []
        for speaker in speakers:
            task = await there.running()
            session = await there.session(task)
            turn = (await store.read(partial(sessions.turns, session_id=session.id)))[-1]
            followers.append(Follower(there.services, speaker, task, session, turn))
            running.append(loop.create_task(followers[-1].turn_end(turn)))
        bare = Bare(directory / "bare.db", bare_said)
        loop_of_bare = loop.create_task(bare.run())

        ours, base, busy, quiet = list[float](), list[float](), list[float](), list[float]()
        delays, bare_delays = list[float](), list[float]()
        lags = list[float]()
        for number in range(-WARM, ROUNDS):
            async with Lag() as lag:
                stream, asked = await asked_meanwhile(ask, said.round(speak))
            alone = statistics.median([await ask() for _ in range(QUIET_ASKS)])
            bare_stream, _ = await asked_meanwhile(ask, bare_said.round(bare.say))
            if number >= 0:
                ours.append(stream)
                base.append(bare_stream)
                busy.append(asked)
                quiet.append(alone)
                delays += said.delays
                lags.append(lag.p99)
                bare_delays += bare_said.delays
        for speaker in speakers:
            speaker.end()
        await asyncio.gather(*running)
        for follower in followers:
            await follower.close()
        loop_of_bare.cancel()
    tell("Airboss", ours, delays)
    print(f"the loop is late by {statistics.median(lags) * 1000:.1f} ms at the 99th percentile (median of rounds)")
    tell("bare loop", base, bare_delays)
    found = [
        Comparison(
            f"{AGENTS} agents, {LINES_A_SECOND} lines a second each, for {SECONDS} s: all durable",
            Side("Followers into the ledger", tuple(ours)),
            Side("bare sqlite3 group-commit loop", tuple(base)),
            STREAM_BAR,
        ),
        Comparison(
            "/status: store reads and card",
            Side("while they stream, medians of rounds", tuple(busy)),
            Side("quiet, medians of rounds", tuple(quiet)),
            STATUS_BAR,
        ),
    ]
    return found, max(delays) <= DURABLE_WITHIN_SECONDS


def tell(name: str, rounds: Sequence[float], delays: Sequence[float]) -> None:
    """Prints lines a second, and how long a line waited until it was durable."""
    rate = AGENTS * LINES_A_SECOND * SECONDS / statistics.median(rounds)
    low, middle, high = (value * 1000 for value in statistics.quantiles(delays, n=4))
    print(
        f"{name}: {rate:,.0f} lines a second durable (median); a line is durable {middle:.0f} ms after it was said "
        f"(quartiles {low:.0f} and {high:.0f}, longest {max(delays) * 1000:.0f})"
    )


def main() -> int:
    """Prints the figures; 1 when one misses its bar, or a line was durable later than a second."""
    with tempfile.TemporaryDirectory(prefix="airboss-bench-") as name, asyncio.Runner() as runner:
        found, in_time = runner.run(measure(Path(name)))
    print(f"every line durable within {DURABLE_WITHIN_SECONDS:g} s: {'kept' if in_time else 'MISSED'}")
    status = report(found)
    return status if in_time else 1


if __name__ == "__main__":
    # On a disk: a file system in memory has no fsync to share.
    os.environ.setdefault("TMPDIR", "/var/tmp")
    sys.exit(main())
