"""Histories of locks, recorded from real processes that share a store while some are frozen, some are killed,
connections are cut, and the wall clocks of some are wrong: each is one that a single lock could have had."""

from __future__ import annotations

import json
import os
import random
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Final

import pytest

from fleet.events import Event, LocksGranted, LocksReleased
from fleet.store import ledger
from fleet.store.core import Store, Tx
from tests.conftest import SEED
from tests.contracts.lock_recorder import CLIENTS
from tests.far_end.clocks import wall_clock
from tests.far_end.postgres import Postgres
from tests.lock_history import Answer, Kind, Operation, check_grants, linearizable

FULL: Final = os.environ.get("AIRBOSS_CAMPAIGN") == "full"
LEASE_S: Final = 0.2
PROCESSES: Final = 4
KEYS: Final = {"sqlite": 70, "postgresql": 30} if FULL else {"sqlite": 92, "postgresql": 8}
LEAST: Final = 60
CLOCKS: Final = ("", "+3600", "-3600", "+0 x1.5")
"""What is wrong with the wall clock of each process: an hour ahead, an hour behind, too fast."""

ROUNDS: Final = 100 if FULL else 1


@pytest.mark.timeout(3600 if FULL else 300)  # on a busy machine more operations overlap, and more orders are tried
def test_every_history_is_one_that_a_single_lock_could_have_had(
    store: Store, store_url: str, tmp_path: Path, request: pytest.FixtureRequest
) -> None:
    chance, checked, answers = random.Random(SEED), 0, set[Answer]()
    server: Postgres | None = None if store_url.startswith("sqlite") else request.getfixturevalue("postgres")
    count = KEYS["sqlite" if server is None else "postgresql"]
    for number in range(ROUNDS):
        keys = [f"thing-{number}-{at}" for at in range(count)]
        histories = recorded(store_url, tmp_path, chance, keys, server)
        for key, history in histories.items():
            assert linearizable(history, LEASE_S), f"{key} of seed {SEED}: {history}"
            answers |= {operation.answer for operation in history}
            checked += len(history) >= LEAST
    assert checked == ROUNDS * count, f"{checked} histories were long enough"
    assert answers >= ({Answer.YES, Answer.NO, Answer.LOST} if FULL else {Answer.YES, Answer.NO})
    check_ledger(store)


def recorded(
    url: str, directory: Path, chance: random.Random, keys: list[str], server: Postgres | None
) -> dict[str, list[Operation]]:
    """One round: some processes over some keys. Some are frozen for longer than a lease; one is killed."""
    outs = [directory / f"{keys[0]}.{at}.jsonl" for at in range(PROCESSES)]
    program = (sys.executable, "-m", "tests.contracts.lock_recorder", url)
    calls = (LEAST // (PROCESSES - 1) // CLIENTS + 1) * (len(keys) + 2)
    running = [
        subprocess.Popen(
            [*program, str(out), f"{SEED}-{keys[0]}-{at}", str(calls), str(LEASE_S), *keys],
            env={**os.environ, **(wall_clock(CLOCKS[at], directory) if CLOCKS[at] else {})},
        )
        for at, out in enumerate(outs)
    ]
    victim, rounds = running[0], 0
    while any(process.poll() is None for process in running):
        time.sleep(3 * LEASE_S)
        if not all(out.exists() and out.stat().st_size for out in outs):
            continue
        frozen = chance.choice(running)
        if frozen.poll() is None:
            frozen.send_signal(signal.SIGSTOP)
            time.sleep(1.5 * LEASE_S)
            frozen.send_signal(signal.SIGCONT)
        rounds += 1
        if rounds == 1:
            victim.kill()
        if server is not None and rounds in (2, 3):
            server.disconnect(url)
    assert [process.returncode for process in running[1:]] == [0] * (PROCESSES - 1)
    return read(outs)


def read(outs: list[Path]) -> dict[str, list[Operation]]:
    """The histories by key. A call without an answer is lost."""
    rows: dict[str, dict[str, Any]] = {}
    for out in outs:
        for text in out.read_text(encoding="utf-8").splitlines(keepends=True):
            if text.endswith("\n"):  # a killed process may leave half a line
                row = json.loads(text)
                rows.setdefault(row["id"], {"answer": "lost", "returned": -1.0, "token": 0}).update(row)
    found: dict[str, list[Operation]] = {}
    for row in rows.values():
        kind, answer = Kind(row["kind"]), Answer(row["answer"])
        operation = Operation(kind, row["hold"], answer, row["called"], row["returned"], row["token"])
        found.setdefault(row["key"], []).append(operation)
    return found


def check_ledger(store: Store) -> None:
    with store.transaction() as tx:
        check_grants(_grants(tx))


def _grants(tx: Tx) -> Iterator[Event]:
    seq = 0
    while batch := ledger.read(tx, after=seq, kinds=(LocksGranted.KIND, LocksReleased.KIND)):
        seq = batch[-1].seq
        yield from (item.event for item in batch)
