"""``airboss gate log``: what a gate run wrote, from this home or from the store that several controllers share."""

from __future__ import annotations

import argparse
import asyncio
import shutil
import sys
from pathlib import Path

from fleet import shared_files
from fleet.config import Secrets
from fleet.errors import Misused
from fleet.store.core import Store


def run(options: argparse.Namespace, home: Path) -> int:
    """Prints it. Raises ``Misused`` where nobody has it, ``Unavailable`` where the store's copy is damaged."""
    gate_run: str = options.gate_run
    name = shared_files.gate_output(gate_run)
    path = home / name
    if "/" in gate_run or not (asyncio.run(_bring(home, name, path)) or path.exists()):
        raise Misused(
            attempted="print the output of a gate",
            on=gate_run,
            cause="there is none of this run, here or in the store",
            hint="Runs are in receipts and in the ledger; output is kept for gate_log_days.",
        )
    with path.open("rb") as file:
        shutil.copyfileobj(file, sys.stdout.buffer)
    sys.stdout.flush()
    return 0


async def _bring(home: Path, name: str, path: Path) -> bool:
    with Store.open(Secrets.load(home).store_of(home), create=False) as store:
        return await shared_files.bring(store, name, path) is not None
