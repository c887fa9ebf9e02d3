"""Writes receipts under ``AIRBOSS_HOME/receipts``: statement, signature, envelope, allowed signers.

A landed task's is ``TASK.json``, a gate run's ``gates/RUN.json``; ``test-results`` has, by in-toto's own predicate,
the result of each.
"""

from __future__ import annotations

import asyncio
import hashlib
import logging
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from fleet import files
from fleet.errors import AirbossError, DiskFull
from fleet.events import GateClosed, Recorded
from fleet.store import ledger, tree
from fleet.store.core import Store, Tx
from gates.receipts import dsse, gate_run, keys, results, sshsig, statement

GATES: Final = "gates"
RESULTS: Final = "test-results"
_PAGE: Final = 5_000

log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Issued:
    """A receipt on disk. ``sha256`` is over the statement's bytes."""

    path: Path
    commit: str
    sha256: str


async def issue(store: Store, home: Path, task: str) -> Issued:
    """Makes a landed task's receipt, or makes the same one again: it depends only on the ledger.

    Raises ``Refused`` when the ledger does not show that the task landed with a passing verdict, ``DiskFull`` when
    the receipt cannot be written.
    """
    data, commit = await store.read(lambda tx: compute(tx, task), long=True)
    for run in await store.read(lambda tx: _closed_runs(tx, task), long=True):
        if not (home / "receipts" / GATES / f"{run}.json").exists():  # killed before it was written
            await issue_gate(store, home, run, task)
    try:
        return await asyncio.to_thread(_write, home, task, data, commit)
    except OSError as error:
        raise DiskFull(
            attempted="write the receipt",
            on=str(home / "receipts"),
            cause=error.strerror or str(error),
            hint="Free some disk space; the receipt is then written automatically.",
        ) from error


async def issue_gate(store: Store, home: Path, run: str, task: str) -> None:
    """Makes the receipt of a gate run that was closed. One that cannot be written is written at the landing."""
    try:
        data = await store.read(lambda tx: compute_gate(tx, run, task), long=True)
        await asyncio.to_thread(_write_both, home, f"{GATES}/{run}.json", data)
    except (AirbossError, OSError) as error:
        log.warning("the receipt of gate run %s is missing: %s", run, error)


def compute(tx: Tx, task: str, predicate_type: str = statement.PREDICATE_TYPE) -> tuple[bytes, str]:
    """The statement's bytes and the landed commit, from the ledger."""
    events = _events(tx, task)
    landing = statement.landing_of(task, events)
    data = statement.build(task, events, tree.root_at(tx, landing.seq), predicate_type)
    return data, statement.landed_commit(landing)


def compute_gate(tx: Tx, run: str, task: str) -> bytes:
    """The statement of a gate run of this task, from the ledger."""
    events = _events(tx, task)
    return gate_run.build(run, events, tree.root_at(tx, gate_run.close_of(run, events).seq))


def _closed_runs(tx: Tx, task: str) -> list[str]:
    return [each.refs.gate_run for each in ledger.read(tx, limit=_PAGE, kinds=(GateClosed.KIND,), task=task)]


def _events(tx: Tx, task: str) -> list[Recorded]:
    events: list[Recorded] = []
    while page := ledger.read(tx, after=events[-1].seq if events else 0, limit=_PAGE, task=task):
        events += page
    return events


def _write(home: Path, task: str, data: bytes, commit: str) -> Issued:
    return Issued(_write_both(home, f"{task}.json", data), commit, hashlib.sha256(data).hexdigest())


def _write_both(home: Path, name: str, data: bytes) -> Path:
    path = home / "receipts" / name
    result = home / "receipts" / RESULTS / path.name
    said = results.result_of(data)
    steps = [_beside(home, result, said) | _beside(home, path, data), {result: said}, {path: data}]
    files.replace_in_order(steps, mode=0o644)
    return path


def write_signed(home: Path, name: str, data: bytes) -> Path:
    """Writes a statement with its signature and the signer's line beside it. Raises ``OSError``."""
    path = home / "receipts" / name
    files.replace_in_order([_beside(home, path, data), {path: data}], mode=0o644)
    return path


def _beside(home: Path, path: Path, data: bytes) -> dict[Path, bytes]:
    """What stands beside a statement. It is there first: then a statement on disk always has its signature."""
    key = sshsig.load_or_create(home)
    path.parent.mkdir(parents=True, exist_ok=True)
    return {
        path.with_name(f"{path.name}.sig"): sshsig.sign(key, data).encode(),
        path.with_name(f"{path.name}.dsse"): dsse.seal(key, data),
        path.with_name("allowed_signers"): keys.allowed_signers(home).encode(),
    }
