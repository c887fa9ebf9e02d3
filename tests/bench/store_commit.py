"""What group commit gives to many writers, and what it costs a lone one.

Both sides append one event of an agent to the ledger, in stores of their own on the same disk, each append awaited
by its writer. The base is the engine before group commit: every function has a transaction and an fsync to itself.
"""

from __future__ import annotations

import asyncio
import os
import sys
import tempfile
from collections.abc import Awaitable, Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from fleet.events import AgentSaid, Refs, Source
from fleet.store import databases, ledger
from fleet.store.core import Store, Tx
from tests.bench.harness import Trial, compare, report, timed

WRITERS = 16
EACH = 20
MANY_BAR = 1 / 3
LONE_BAR = 1.10

Write = Callable[[Callable[[Tx], None]], Awaitable[None]]

LINE = AgentSaid("The tests pass; I will look at the second failure now. " * 2)
REFS = Refs(task="t1", session="t1.1", machine="macbook")


def say(tx: Tx) -> None:
    ledger.append(tx, LINE, actor="agent:claude", source=Source.AGENT, refs=REFS)


class OneByOne:
    """A transaction a function: what ``Store.write`` did before group commit, with the same engine and pragmas."""

    def __init__(self, store: Store, url: str) -> None:
        self._store, self._database = store, databases.connect(url, create=False)
        self._thread = ThreadPoolExecutor(1)

    async def write(self, fn: Callable[[Tx], None]) -> None:
        await asyncio.get_running_loop().run_in_executor(self._thread, self._run, fn)

    def close(self) -> None:
        self._thread.shutdown()
        self._database.dispose()

    def _run(self, fn: Callable[[Tx], None]) -> None:
        with self._database.translating_errors("write to the store"), self._database.writer.begin() as connection:
            databases.take_writer_lock(connection)
            fn(Tx(self._store, connection))


def lone(loop: asyncio.AbstractEventLoop, write: Write) -> Trial:
    async def once() -> None:
        await write(say)

    return timed(lambda: loop.run_until_complete(once()))


def many(loop: asyncio.AbstractEventLoop, write: Write) -> Trial:
    async def writer() -> None:
        for _ in range(EACH):
            await write(say)

    async def every() -> None:
        await asyncio.gather(*(writer() for _ in range(WRITERS)))

    return timed(lambda: loop.run_until_complete(every()))


def main() -> int:
    loop = asyncio.new_event_loop()
    with tempfile.TemporaryDirectory() as directory:
        urls = [f"sqlite:///{Path(directory, name)}" for name in ("group.db", "one.db")]
        with Store.open(urls[0]) as ours, Store.open(urls[1]) as other:
            base = OneByOne(other, urls[1])
            found = [
                compare(
                    f"{WRITERS} writers, {EACH} awaited commits each",
                    ("group commit", many(loop, ours.write)),
                    ("a transaction and an fsync for each", many(loop, base.write)),
                    bar=MANY_BAR,
                ),
                compare(
                    "one writer alone, one commit",
                    ("group commit", lone(loop, ours.write)),
                    ("a transaction for each", lone(loop, base.write)),
                    bar=LONE_BAR,
                    rounds=400,
                    warm=20,
                ),
            ]
            base.close()
        for side in (found[0].ours, found[0].base):
            print(f"{side.name}: {WRITERS * EACH / side.median:,.0f} commits a second (median)")
    loop.close()
    return report(found)


if __name__ == "__main__":
    # On a disk: a file system in memory has no fsync to share.
    os.environ.setdefault("TMPDIR", "/var/tmp")
    sys.exit(main())
