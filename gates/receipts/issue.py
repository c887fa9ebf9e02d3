"""Writes a landed task's receipt under ``AIRBOSS_HOME/receipts``: statement, signature, allowed signers."""

from __future__ import annotations

import asyncio
import hashlib
from dataclasses import dataclass
from pathlib import Path

from fleet import files
from fleet.errors import DiskFull
from fleet.events import Recorded
from fleet.store import ledger, tree
from fleet.store.core import Store, Tx
from gates.receipts import dsse, keys, sshsig, statement

_PAGE = 5_000


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
    try:
        return await asyncio.to_thread(_write, home, task, data, commit)
    except OSError as error:
        raise DiskFull(
            attempted="write the receipt",
            on=str(home / "receipts"),
            cause=error.strerror or str(error),
            hint="Free some disk space; the receipt is then written automatically.",
        ) from error


def compute(tx: Tx, task: str) -> tuple[bytes, str]:
    """The statement's bytes and the landed commit, from the ledger."""
    events: list[Recorded] = []
    while page := ledger.read(tx, after=events[-1].seq if events else 0, limit=_PAGE, task=task):
        events += page
    landing = statement.landing_of(task, events)
    data = statement.build(task, events, tree.root_at(tx, landing.seq))
    return data, statement.landed_commit(landing)


def _write(home: Path, task: str, data: bytes, commit: str) -> Issued:
    return Issued(write_signed(home, f"{task}.json", data), commit, hashlib.sha256(data).hexdigest())


def write_signed(home: Path, name: str, data: bytes) -> Path:
    """Writes a statement with its signature and the signer's line beside it. Raises ``OSError``."""
    key = sshsig.load_or_create(home)
    folder = home / "receipts"
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / name
    # The signature goes first: then a statement on disk always has its signature.
    _public(folder / f"{name}.sig", sshsig.sign(key, data).encode())
    _public(folder / f"{name}.dsse", dsse.seal(key, data))
    _public(folder / "allowed_signers", keys.allowed_signers(home).encode())
    _public(path, data)
    return path


def _public(path: Path, data: bytes) -> None:
    files.replace_durably(path, data, mode=0o644)
