"""Appends to the ledger with and without the redactor, and the same rows as bare SQLite inserts.

A batch is what a busy agent says in one commit. The bare side writes rows of the same bytes with a prepared
statement into a table with the same indexes and triggers, and commits as durably.
"""

from __future__ import annotations

import sqlite3
import sys
import tempfile
from pathlib import Path

from fleet.events import AgentSaid, Refs, Source, ToolCallEnded, ToolCallStarted
from fleet.redact import Redactor
from fleet.store import ledger
from fleet.store.core import Store
from fleet.store.ledger import Entry
from tests.bench.harness import Side, compare, report, timed

BATCH = 300
BATCHES = 4
LINE = "tests/unit/test_shop.py::test_the_total_is_the_sum PASSED in 0.02s: 12 of 40 done, see docs/shop.md"


def batch() -> list[Entry]:
    """Events as an agent makes them: two words of it, a tool call and its end."""
    refs = Refs(task="t1", session="t1.1", turn="t1.1.1", machine="evo-x2")
    made: list[Entry] = []
    for number in range(BATCH // 3):
        for event in (
            AgentSaid(f"{number}: {LINE}"),
            ToolCallStarted(f"toolu_{number:024}", "Bash", "python3 -m pytest -q tests/unit"),
            ToolCallEnded(f"toolu_{number:024}", "ok", 0, ""),
        ):
            made.append(Entry(event, "agent:claude", Source.AGENT, refs))
    return made


def append(store: Store) -> None:
    for _ in range(BATCHES):
        with store.transaction() as tx:
            ledger.append_all(tx, batch())


class Bare:
    """The rows that ``like`` has, in a file of the same schema."""

    def __init__(self, like: Path, path: Path) -> None:
        source = sqlite3.connect(like)
        self._rows = source.execute("SELECT * FROM ledger LIMIT ?", (BATCH * BATCHES,)).fetchall()
        schema = source.execute("SELECT sql FROM sqlite_master WHERE tbl_name = 'ledger' AND sql <> ''").fetchall()
        source.close()
        self._database = sqlite3.connect(path, isolation_level=None)
        self._database.execute("PRAGMA journal_mode=WAL")
        self._database.execute("PRAGMA synchronous=FULL")
        for (statement,) in schema:
            self._database.execute(statement)
        self._seq = 0

    def insert(self) -> None:
        marks = ", ".join("?" * len(self._rows[0]))
        for number in range(BATCHES):
            rows = []
            for _, *row in self._rows[number * BATCH : (number + 1) * BATCH]:
                self._seq += 1
                rows.append((self._seq, *row))
            self._database.execute("BEGIN IMMEDIATE")
            self._database.executemany(f"INSERT INTO ledger VALUES ({marks})", rows)
            self._database.execute("COMMIT")


def main() -> int:
    with tempfile.TemporaryDirectory() as where:
        here = Path(where)
        redactor = Redactor(["a-secret-of-the-house", "12345:another-secret"])
        with (
            Store.open(f"sqlite:///{here / 'redacted.db'}", redact=redactor) as redacted,
            Store.open(f"sqlite:///{here / 'plain.db'}") as plain,
        ):
            append(plain)
            bare = Bare(here / "plain.db", here / "bare.db")
            sides = [
                ("redacted", timed(lambda: append(redacted))),
                ("not redacted", timed(lambda: append(plain))),
                ("bare inserts of the same bytes", timed(bare.insert)),
            ]
            found = [
                # The redactor takes what it took, and the rest a third of that: the same bar is harder to meet.
                compare("ledger appends, four commits of 300", sides[0], sides[1], bar=1 / 0.9, rounds=25),
                compare("ledger appends beside bare inserts", sides[1], sides[2], bar=4, rounds=25),
            ]
    for side in (found[0].ours, found[0].base, found[1].base):
        print(f"{side.name:32} {rate(side):>8.0f} rows a second")
    return report(found)


def rate(side: Side) -> float:
    return BATCH * BATCHES / side.median


if __name__ == "__main__":
    sys.exit(main())
