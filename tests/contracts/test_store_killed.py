"""A process that appends to the ledger, killed with SIGKILL after as many commits as a seed says, again and again.

What it said was committed is there, nothing is torn, and the ledger never says anything else than before.
"""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from pathlib import Path
from random import Random

from fleet.store import ledger, rehash, tree
from fleet.store.core import Store
from tests import recount
from tests.conftest import FULL, SEED

ROOT = Path(__file__).resolve().parents[2]
KILLS = 100 if FULL else 2
"""On each of the two databases."""


def killed(url: str, random: Random, name: str) -> int:
    """The size that the process said last before it was killed, in the middle of whatever it did then."""
    command = [sys.executable, "-m", "tests.contracts.store_processes", "append-until-killed", url, name]
    with subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE) as process:
        assert process.stdout is not None
        said = 0
        for _ in range(random.randrange(1, 12)):
            said = int(process.stdout.readline())
        time.sleep(random.random() / 500)
        os.kill(process.pid, signal.SIGKILL)
        left = process.stdout.read().split()
    return int(left[-1]) if left else said


def test_a_killed_writer_loses_nothing_that_it_said_and_leaves_nothing_torn(store: Store, store_url: str) -> None:
    random, before, root = Random(SEED), 0, b""
    for number in range(KILLS):
        said = killed(store_url, random, f"w{number}")
        with store.transaction() as tx:
            size = ledger.size(tx)
            assert size >= said > before
            assert not before or tree.root_at(tx, before) == root, "an earlier event is another one"
            page = rehash.page(tx, frontier=tree.frontier_at(tx, before), upto=size)
            assert page.damage is None and page.frontier.root() == tree.frontier(tx).root()
            before, root = size, page.frontier.root()
    with store.transaction() as tx:
        assert recount.kept(tx) == recount.computed(tx)
        assert [entry.seq for entry in ledger.read(tx, limit=before + 1)] == list(range(1, before + 1))
