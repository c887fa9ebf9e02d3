"""A million events of 505 bytes: taking them in, a day's receipt, an export's check; each beside the bare way.

One run of each, since a run takes a minute: ratios of neighbours, the machine's load beside them. What is not
promised is printed and fails nothing. ``--events`` makes it smaller.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import os
import re
import sqlite3
import subprocess
import sys
import tempfile
from collections.abc import Callable
from hashlib import sha256
from pathlib import Path
from time import perf_counter, process_time

import duckdb
import msgspec

from bot.days import days_of
from fleet.events import AgentSaid, Refs, Source, ToolCallEnded, ToolCallStarted
from fleet.redact import Redactor
from fleet.store import day_figures, ledger
from fleet.store.core import Store
from fleet.store.ledger import Entry
from gates.receipts import bundle, bundle_check, day, sshsig
from gates.receipts.day import DayRange
from tests.unit.test_bundle import KEY

BATCH, MONTH = 1_000, 21_875
PIN = sshsig.public_of(KEY)
TABLE = "CREATE TABLE ledger (seq INTEGER PRIMARY KEY, canonical BLOB NOT NULL)"
COUNT = (
    "SELECT count(*), count(*) FILTER (body.outcome = 'failed'), count(DISTINCT session), "
    "count(DISTINCT time_us // 86400000000) FROM read_parquet(?) WHERE kind = 'tool.ended'"
)


def batch(number: int) -> list[Entry]:
    """A thousand events of busy agents."""
    refs = Refs(task="t1", session=f"t1.{number % 46}", turn="t1.1.1", machine="evo-x2")
    made: list[Entry] = []
    for at in range(BATCH // 2):
        call = f"toolu_{number:08}{at:016}"
        if at % 4 == 3:
            made += [Entry(AgentSaid("word " * 47), "agent:claude", Source.AGENT, refs)] * 2
        else:
            made.append(Entry(ToolCallStarted(call, "Bash", "x" * 200), "agent:claude", Source.AGENT, refs))
            made.append(Entry(ToolCallEnded(call, "ok", 0, "y" * 200), "agent:claude", Source.AGENT, refs))
    return made


def fill(url: str, events: int) -> None:
    """Takes so many events in; the last month's calls are a range of their own, as after a daily digest."""
    with Store.open(url, redact=Redactor(["a-secret-of-the-house"])) as store:
        for number in range(events // BATCH):
            with store.transaction() as tx:
                made = batch(number)
                first = max(0, min(BATCH, events - 2 * MONTH - number * BATCH))
                ledger.append_all(tx, made[:first])
                if 0 <= events - 2 * MONTH - number * BATCH < BATCH:
                    day_figures.cut(tx, ledger.size(tx))
                ledger.append_all(tx, made[first:])


def took(work: Callable[[], object]) -> float:
    began = perf_counter()
    work()
    return perf_counter() - began


def cpu(work: Callable[[], object]) -> float:
    """Seconds of this process on a core: the load of the machine is not in it, nor what it waits for a disk."""
    began = process_time()
    work()
    return process_time() - began


def peak_mib() -> int:
    """The peak memory of this process since it began; ``ru_maxrss`` also has its parent's."""
    (line,) = re.findall(r"VmHWM:\s+(\d+) kB", Path("/proc/self/status").read_text())
    return int(line) >> 10


def bare(like: Path, path: Path) -> float:
    """The same bytes into a table without an index, in batches of a thousand, committed as durably."""
    source, target = sqlite3.connect(like), sqlite3.connect(path, isolation_level=None)
    for statement in ("PRAGMA journal_mode=WAL", "PRAGMA synchronous=FULL", TABLE):
        target.execute(statement)
    seconds, rows = 0.0, source.execute("SELECT seq, canonical FROM ledger ORDER BY seq")
    while part := rows.fetchmany(BATCH):
        began = perf_counter()
        target.execute("BEGIN IMMEDIATE")
        target.executemany("INSERT INTO ledger VALUES (?, ?)", part)
        target.execute("COMMIT")
        seconds += perf_counter() - began
    return seconds


def memory(events: int) -> int:
    """The peak memory of a process that takes in so many, in MiB."""
    command = [sys.executable, "-m", "tests.bench.ledger_million", "--fill", str(events)]
    return int(subprocess.run(command, check=True, capture_output=True, text=True).stdout)


async def receipt(store: Store) -> float:
    """Seconds that the figures of the last month's calls and their signed receipt take: as the schedule makes them,
    in a loop that runs, without its files. The best of twenty."""
    size = await store.read(ledger.size)
    wanted, seconds = DayRange("2026-11-29", "UTC", size - 2 * MONTH + 1, size), list[float]()
    for _ in range(20):
        began = perf_counter()
        made = await day.compute(store, wanted, "separate-logins")
        sshsig.sign(KEY, made.data, sshsig.NAMESPACE)
        seconds.append(perf_counter() - began)
    return min(seconds)


async def export(store: Store, target: Path) -> None:
    days = days_of("2020-01-01", "2099-12-31", "UTC")
    planned = await bundle.plan(store, bundle.Wanted(days.first, days.last, "UTC", days.period))
    with target.open("wb") as file:
        async for part in bundle.parts(store, planned, KEY):
            file.write(part)


def plain(lines: Path) -> None:
    with lines.open("rb") as file:
        for line in file:
            msgspec.json.decode(line)
            sha256(b"\0" + line[:-1]).digest()


def with_duckdb(store: Path, where: Path) -> float:
    """The day's figures by DuckDB, from a Parquet file that is there already; the best of five."""
    lines, parquet = where / "day.jsonl", str(where / "day.parquet")
    rows = sqlite3.connect(store).execute("SELECT canonical FROM ledger ORDER BY seq DESC LIMIT ?", (2 * MONTH,))
    lines.write_bytes(b"".join(bytes(row[0]) + b"\n" for row in rows))
    with duckdb.connect() as connection:
        connection.execute(f"COPY (SELECT * FROM read_json('{lines}')) TO '{parquet}' (FORMAT parquet)")
        return min(took(lambda: connection.execute(COUNT, [parquet]).fetchall()) for _ in range(5))


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--events", type=int, default=1_000_000)
    parser.add_argument("--fill", type=int, default=0, help="take so many in, and print the peak memory")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as room:
        where = Path(room)
        if options.fill:
            fill(f"sqlite:///{where / 'a.db'}", options.fill)
            print(peak_mib())
            return 0
        database, events = where / "a.db", options.events
        ours = took(lambda: fill(f"sqlite:///{database}", events))
        without = bare(database, where / "bare.db")
        found = {"ingest_s": ours, "bare_s": without, "ingest_of_bare": without / ours}
        with Store.open(f"sqlite:///{database}") as store:
            found["day_receipt_ms"] = asyncio.run(receipt(store)) * 1_000
            found["day_duckdb_ms"] = with_duckdb(database, where) * 1_000
            found["day_of_duckdb"] = found["day_receipt_ms"] / found["day_duckdb_ms"]
            target = where / "export"
            found["export_s"] = took(lambda: asyncio.run(export(store, target)))
        assert not [each for each in bundle_check.check(target, (PIN,)).checks if not each.ok]
        found["verify_cpu_s"] = min(cpu(lambda: bundle_check.check(target, (PIN,))) for _ in range(2))
        found["parse_and_hash_cpu_s"] = min(cpu(lambda: plain(target)) for _ in range(2))
        found["verify_of_plain"] = found["verify_cpu_s"] / found["parse_and_hash_cpu_s"]
        found["memory_mib"], found["memory_month_mib"] = memory(events), memory(MONTH)
        found["memory_ratio"] = found["memory_mib"] / found["memory_month_mib"]
        size = sqlite3.connect(database).execute("SELECT avg(length(canonical)) FROM ledger").fetchone()[0]
    found |= {"events": events, "bytes": round(size), "load": os.getloadavg()[0], "cores": os.cpu_count() or 0}
    print(json.dumps({name: round(value, 3) for name, value in found.items()}, indent=1))
    return 0


if __name__ == "__main__":
    sys.exit(main())
