"""Histories of locks over the control socket, from real processes that wait in line, while these are frozen and the
controller is killed. ``tests/contracts/test_lock_histories.py`` has most histories."""

from __future__ import annotations

import json
import os
import random
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Final

from fleet.events import LocksGranted, LocksReleased
from tests.lock_history import Answer, Kind, Operation, check_grants, linearizable
from tests.scenarios.house import House, house

SEED: Final = int(os.environ["AIRBOSS_SEED"])
FULL: Final = os.environ.get("AIRBOSS_CAMPAIGN") == "full"
LEASE_S: Final = 0.2
WORKERS: Final = 4
KEYS: Final = 25
CALLS: Final = 400
ROUNDS: Final = 20


def every_history_is_one_that_a_single_lock_could_have_had() -> None:
    with house() as made:
        made.start()
        chance, checked, calls = random.Random(SEED), 0, 0
        for number in range(ROUNDS):
            histories = recorded(made, chance, number)
            for key, history in histories.items():
                assert linearizable(history, LEASE_S), f"{key} of seed {SEED}: {history}"
                checked, calls = checked + 1, calls + len(history)
        answers = {operation.answer for history in histories.values() for operation in history}
        assert answers == set(Answer), "there were grants, refusals and lost answers"
        print(f"{checked} histories, {calls} calls")
        check_grants(item.event for item in made.ledger(LocksGranted.KIND, LocksReleased.KIND))


def recorded(made: House, chance: random.Random, number: int) -> dict[str, list[Operation]]:
    """One round: some processes over some keys, one of them frozen now and then; the controller dies once."""
    keys = [f"thing-{number}-{at}" for at in range(KEYS)]
    outs = [made.directory / f"worker-{number}-{at}.jsonl" for at in range(WORKERS)]
    program = (sys.executable, "-m", "tests.scenarios.lock_worker", str(made.home))
    workers = [
        subprocess.Popen([*program, str(out), f"{SEED}-{number}-{at}", str(CALLS), str(LEASE_S), *keys])
        for at, out in enumerate(outs)
    ]
    made.until(lambda: all(out.exists() and out.stat().st_size for out in outs), "every process has begun")
    killed = False
    while any(worker.poll() is None for worker in workers):
        frozen = chance.choice(workers)
        if frozen.poll() is None:
            frozen.send_signal(signal.SIGSTOP)
            time.sleep(1.5 * LEASE_S)
            frozen.send_signal(signal.SIGCONT)
        if not killed:
            made.kill()
            made.start()
            killed = True
        time.sleep(LEASE_S)
    assert [worker.returncode for worker in workers] == [0] * WORKERS
    return read(outs)


def read(outs: list[Path]) -> dict[str, list[Operation]]:
    """The histories by key."""
    found: dict[str, list[Operation]] = {}
    for out in outs:
        for line in out.read_text(encoding="utf-8").splitlines():
            row = json.loads(line)
            operation = Operation(
                Kind(row["kind"]),
                row["hold"],
                Answer(row["answer"]),
                row["called"],
                row["returned"],
                row["token"],
                waits=row["waits"],
                behind=row["behind"],
            )
            found.setdefault(row["key"], []).append(operation)
    return found


if FULL:  # make torture: the rounds take minutes
    test_every_history = every_history_is_one_that_a_single_lock_could_have_had
