"""What ``airboss verify --ledger`` does with a ledger, beside parsing and hashing the same lines from a file."""

from __future__ import annotations

import asyncio
import sys
import tempfile
from functools import partial
from hashlib import sha256
from pathlib import Path

import msgspec

from fleet.events.merkle import Frontier
from fleet.store import ledger, rehash
from fleet.store.core import Store
from tests.bench.harness import compare, report, timed
from tests.bench.ledger_append import BATCH, batch

BATCHES = 80
PAGE = 2_000


async def verify(store: Store) -> bytes:
    """As ``gates.receipts.verify`` reads it."""
    frontier = Frontier()
    while frontier.size < BATCH * BATCHES:
        read = partial(rehash.page, frontier=frontier, upto=min(BATCH * BATCHES, frontier.size + PAGE))
        frontier = (await store.read(read, long=True)).frontier
    return frontier.root()


def plain(lines: Path) -> None:
    with lines.open("rb") as file:
        for line in file:
            msgspec.json.decode(line)
            sha256(b"\0" + line[:-1]).digest()


def main() -> int:
    with tempfile.TemporaryDirectory() as where:
        lines = Path(where) / "ledger.jsonl"
        with Store.open(f"sqlite:///{Path(where) / 'airboss.db'}") as store, lines.open("wb") as file:
            for _ in range(BATCHES):
                with store.transaction() as tx:
                    made = ledger.append_all(tx, batch())
                file.writelines(recorded.canonical + b"\n" for recorded in made)
            file.flush()
            ours = timed(lambda: asyncio.run(verify(store)))
            base = timed(lambda: plain(lines))
            found = compare(
                f"the ledger's check, {BATCH * BATCHES} events",
                ("verify --ledger", ours),
                ("parse and hash the lines", base),
                bar=2,
            )
    return report([found])


if __name__ == "__main__":
    sys.exit(main())
