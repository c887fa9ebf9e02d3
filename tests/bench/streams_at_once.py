"""200 agents that say all they have at once to one controller: lines a second, and how long its loop is kept busy.

Each agent is a real process that prints a file of JSON lines once all have started. Ours is the product's way: the
runner with its spools on disk, one link, the framer, and the decoder of the drivers. The base reads each process
with ``readline`` and decodes the line with ``json``, without a spool. How busy the loop is says a task that sleeps
a millisecond at a time: by how much it oversleeps, as the 99th percentile.

Then, of ours alone, one line of 64 MB over a pipe and over SSH: it must arrive whole where the cap is higher.

Arguments: how many agents, and how many lines each.
"""

from __future__ import annotations

import asyncio
import hashlib
import json
import os
import sys
import tempfile
import time
import uuid
from collections.abc import Callable
from pathlib import Path
from typing import Final

from fleet.agents.framing import LineFramer, Oversized
from fleet.agents.lines import decode
from fleet.machines.local import LocalExecutor
from fleet.machines.login import LoginExecutor
from fleet.machines.ssh import SshExecutor
from fleet.ports import Ended, Output, PipeSpec
from tests.bench.harness import Comparison, Side, report
from tests.far_end.sshd import running_sshd

AGENTS: Final = 200
LINES: Final = 500
ROUNDS: Final = 3
LAG_BAR: Final = 0.1
TIME_BAR: Final = 1 / 1.5
LONG: Final = 64 << 20
NONCE: Final = "0f" * 16
SAID: Final = "tests/unit/test_shop.py::test_the_total_is_the_sum PASSED in 0.02s: 12 of 40 done, see docs/shop.md"
WAITING: Final = ': < "$1"; exec cat "$2"'  # a named pipe opens once it has a writer


class Lag:
    """By how much a sleep of a millisecond is late, while the block runs."""

    def __init__(self) -> None:
        self._late: list[float] = []

    async def __aenter__(self) -> Lag:
        self._task = asyncio.get_running_loop().create_task(self._watch())
        return self

    async def __aexit__(self, *_: object) -> None:
        self._task.cancel()

    async def _watch(self) -> None:
        while True:
            before = time.perf_counter()
            await asyncio.sleep(0.001)
            self._late.append(time.perf_counter() - before - 0.001)

    @property
    def p99(self) -> float:
        """The 99th percentile, in seconds."""
        return sorted(self._late)[int(len(self._late) * 0.99)]


async def followed(executor: LoginExecutor, pipe: str, take: Callable[[bytes], None], cap: int = 8 << 20) -> None:
    """Reads a pipe to its end, line by line."""
    framer = LineFramer(cap)
    async for event in executor.attach(pipe, NONCE, 0):
        if isinstance(event, Output):
            for line in framer.feed(event.data):
                assert not isinstance(line, Oversized), f"a line of {line.size} bytes"
                take(line.data)
        elif isinstance(event, Ended):
            return


def waited_for(directory: Path) -> Path:
    """What the agents of a round wait for."""
    go = directory / f"go-{uuid.uuid4().hex}"
    os.mkfifo(go)
    return go


async def ours(directory: Path, text: Path, agents: int) -> tuple[int, float, float]:
    """Lines, seconds, lag."""
    executor = LocalExecutor("here", root=str(directory / "root"), python=sys.executable)
    go, count = waited_for(directory), [0]

    def take(line: bytes) -> None:
        decode(line)
        count[0] += 1

    try:
        pipes = [f"bench-{uuid.uuid4().hex[:12]}" for _ in range(agents)]
        argv = ("sh", "-c", WAITING, "agent", str(go), str(text))
        for pipe in pipes:
            await executor.start(PipeSpec(id=pipe, nonce=NONCE, argv=argv, cwd=""))
        readers = [asyncio.ensure_future(followed(executor, pipe, take)) for pipe in pipes]
        await asyncio.sleep(1.0)
        async with Lag() as lag:
            started = time.perf_counter()
            go.write_bytes(b"")
            await asyncio.gather(*readers)
            return count[0], time.perf_counter() - started, lag.p99
    finally:
        await executor.close()


async def base(directory: Path, text: Path, agents: int) -> tuple[int, float, float]:
    """The same with ``readline`` and ``json``."""
    go = waited_for(directory)

    async def read(process: asyncio.subprocess.Process) -> int:
        assert process.stdout is not None
        lines = 0
        while line := await process.stdout.readline():
            json.loads(line)
            lines += 1
        await process.wait()
        return lines

    argv = ("sh", "-c", WAITING, "agent", str(go), str(text))
    made = [await asyncio.create_subprocess_exec(*argv, stdout=asyncio.subprocess.PIPE) for _ in range(agents)]
    readers = [asyncio.ensure_future(read(process)) for process in made]
    await asyncio.sleep(1.0)
    async with Lag() as lag:
        started = time.perf_counter()
        go.write_bytes(b"")
        return sum(await asyncio.gather(*readers)), time.perf_counter() - started, lag.p99


async def long_line(executor: LoginExecutor, name: str) -> bool:
    """Whether a line of 64 MB arrives as it was said."""
    script = f"import sys; sys.stdout.write('x' * {LONG} + chr(10))"
    pipe, got = f"bench-{uuid.uuid4().hex[:12]}", list[bytes]()
    started = time.perf_counter()
    try:
        await executor.start(PipeSpec(id=pipe, nonce=NONCE, argv=(sys.executable, "-c", script), cwd=""))
        await followed(executor, pipe, got.append, cap=LONG + 1024)
    finally:
        await executor.close()
    said = hashlib.sha256(b"x" * LONG).digest()
    whole = len(got) == 1 and hashlib.sha256(got[0].rstrip(b"\n")).digest() == said
    seconds = time.perf_counter() - started
    print(f"a line of {LONG >> 20} MiB {name}: {'whole' if whole else 'BROKEN'}, {seconds:.1f} s")
    return whole


async def long_lines(directory: Path) -> bool:
    """Over a pipe and over SSH."""
    local = await long_line(LocalExecutor("here", root=str(directory / "root"), python=sys.executable), "by a pipe")
    with running_sshd(directory / "sshd", startup_files=False) as server:
        far = SshExecutor(
            "far",
            host="127.0.0.1",
            user=server.user,
            port=server.port,
            host_key=server.host_key,
            identity=str(server.identity),
            root=str(directory / "far"),
            python=sys.executable,
        )
        return await long_line(far, "over SSH") and local


def main() -> int:
    """Prints the ratios; exits 1 when one is above what is promised."""
    agents, lines = (*map(int, sys.argv[1:]), *(AGENTS, LINES)[len(sys.argv) - 1 :])
    times: dict[str, list[float]] = {name: [] for name in ("ours", "base", "our lag", "base lag")}
    with tempfile.TemporaryDirectory(prefix="bench-streams-") as name, asyncio.Runner() as runner:
        directory = Path(name)
        text = directory / "said.jsonl"
        said = (json.dumps({"type": "said", "number": number, "text": SAID}) for number in range(lines))
        text.write_text("".join(f"{line}\n" for line in said))
        for number in range(ROUNDS):
            for side, work in (("ours", ours), ("base", base)) if number % 2 else (("base", base), ("ours", ours)):
                count, seconds, lag = runner.run(work(directory, text, agents))
                assert count == agents * lines, count
                times[side].append(seconds)
                times["our lag" if side == "ours" else "base lag"].append(lag)
        whole = runner.run(long_lines(directory))
    what = f"{agents} agents, {lines} lines each, at once"
    found = [
        Comparison(
            f"{what}: {name}",
            Side("airboss", tuple(times[mine])),
            Side("readline, json", tuple(times[theirs])),
            bar,
        )
        for name, mine, theirs, bar in (
            ("seconds", "ours", "base", TIME_BAR),
            ("lag p99", "our lag", "base lag", LAG_BAR),
        )
    ]
    status = report(found)
    return status if whole else 1


if __name__ == "__main__":
    sys.exit(main())
