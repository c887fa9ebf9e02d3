"""The receipt of a day: an in-toto Statement about a range of the ledger, with the figures that it gives.

It depends on the ledger, the range, the zone of its days and the isolation in force, and on nothing else: whoever
has the ledger computes the same bytes. The next day's range starts where this one ends, so no event is in none.
"""

from __future__ import annotations

import asyncio
import hashlib
import logging
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final
from zoneinfo import ZoneInfo

import rfc8785

from fleet import shared_files
from fleet.errors import DiskFull, Refused, Unavailable
from fleet.events import DayIssued
from fleet.files import replace_durably
from fleet.range_figures import RangeFigures
from fleet.reading_figures import figures_of, kept_figures
from fleet.store import blobs, ledger, tree
from fleet.store.core import Store, Tx
from fleet.store.states import BlobKind
from gates.receipts import note, sshsig
from gates.receipts.checkpoint import Checkpoint
from gates.receipts.issue import write_signed
from gates.receipts.statement import STATEMENT_TYPE, UNWITNESSED

DAY_TYPE: Final = "urn:airboss:day:v1"
_MOST: Final = 100_000

_log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class DayRange:
    """The events ``first_seq`` to ``last_seq``, both included. ``zone`` says which day a time belongs to."""

    day: str
    zone: str
    first_seq: int
    last_seq: int


@dataclass(frozen=True, slots=True)
class DayReceipt:
    """A statement that is not written yet."""

    data: bytes
    root_sha256: str
    figures: RangeFigures

    @property
    def sha256(self) -> str:
        """Over the statement's bytes."""
        return hashlib.sha256(self.data).hexdigest()


async def compute(store: Store, wanted: DayRange, isolation: str, *, anew: bool = False) -> DayReceipt:
    """The statement of this range, with the figures that are kept of it; with ``anew``, or where none are kept,
    with those that its events give. Raises ``ValueError`` when the ledger does not have all of it."""
    zone = ZoneInfo(wanted.zone)

    def read(tx: Tx) -> tuple[RangeFigures | None, str, int, int]:
        begin, end = ledger.of_number(tx, wanted.first_seq), ledger.of_number(tx, wanted.last_seq)
        if begin is None or end is None:
            raise ValueError(f"the ledger has no events {wanted.first_seq} to {wanted.last_seq}")
        kept = None if anew else kept_figures(tx, wanted.first_seq, wanted.last_seq, zone)
        return kept, tree.root_at(tx, wanted.last_seq).hex(), begin.time_us, end.time_us

    kept, root, from_us, upto_us = await store.read(read, long=True)
    figures = kept or await figures_of(store, wanted.first_seq, wanted.last_seq, zone)
    statement: dict[str, Any] = {
        "_type": STATEMENT_TYPE,
        "subject": [{"name": f"ledger:{wanted.last_seq}", "digest": {"sha256": root}}],
        "predicateType": DAY_TYPE,
        "predicate": {
            "day": wanted.day,
            "zone": wanted.zone,
            "from_us": from_us,
            "upto_us": upto_us,
            "isolation": isolation,
            "figures": figures.plain(),
            "ledger": {
                "size": wanted.last_seq,
                "root_sha256": root,
                "first_seq": wanted.first_seq,
                "last_seq": wanted.last_seq,
            },
            "witness": UNWITNESSED,
        },
    }
    return DayReceipt(rfc8785.dumps(statement), root, figures)


async def again(store: Store, statement: dict[str, Any]) -> bytes:
    """The statement as the ledger gives it now. Raises as :func:`compute`."""
    said = statement["predicate"]
    wanted = DayRange(said["day"], said["zone"], said["ledger"]["first_seq"], said["ledger"]["last_seq"])
    return (await compute(store, wanted, said["isolation"], anew=True)).data


def problem(statement: Any) -> str:
    """What is missing in the statement of a day, or contradicts itself; empty: nothing."""
    match statement:
        case {
            "_type": str(kind),
            "subject": [{"name": str(name), "digest": {"sha256": str(subject)}}],
            "predicate": {
                "day": str(),
                "zone": str(zone),
                "isolation": str(),
                "figures": dict(),
                "ledger": {
                    "size": int(size),
                    "root_sha256": str(root),
                    "first_seq": int(first),
                    "last_seq": int(last),
                },
                "witness": str(),
            },
        }:
            pass
        case _:
            return "it lacks a field that every receipt of a day has"
    if kind != STATEMENT_TYPE:
        return f"it is of another type ({kind!r})"
    if subject != root or name != f"ledger:{size}" or size != last or not 1 <= first <= last:
        return "its subject is not the end of its range"
    try:
        ZoneInfo(zone)
    except (KeyError, ValueError, OSError):
        return f"it names an unknown time zone ({zone!r})"
    return ""


async def write(home: Path, wanted: DayRange, receipt: DayReceipt, instance: str) -> Path:
    """Signs and writes it under ``receipts``, by its range, so that writing it again changes nothing. Beside it is
    the checkpoint of the range's end as a signed note: see :func:`note_beside`.

    Raises ``DiskFull`` when it cannot be written.
    """
    point = Checkpoint(instance, wanted.last_seq, bytes.fromhex(receipt.root_sha256))
    return await _write(home, f"day-{wanted.day}-{wanted.last_seq}.json", receipt.data, point)


async def share(store: Store, home: Path) -> None:
    """Puts this home's receipts of days, those of earlier versions too, where other controllers get them. What
    cannot be put is put at the next try."""
    if not store.can_be_shared:
        return
    found = await asyncio.to_thread(lambda: sorted((home / "receipts").glob("day-*.json")))
    shared = await store.read(
        lambda tx: {blob.name for blob in blobs.of_kind(tx, BlobKind.RECEIPT, tx.now_us() + 1, 0, _MOST)}
    )
    for path in found:
        if (name := _name(path)) not in shared:
            try:
                await shared_files.keep(store, path, BlobKind.RECEIPT, name=name, owner="")
            except Unavailable as error:
                _log.warning("only this home has %s: %s", path, error)


async def here(store: Store, home: Path, issued: DayIssued) -> Path:
    """The receipt in this home: another controller may have written it into its own. The fleet's key signs it
    again.

    Raises ``Refused`` where the store does not have it, or has another.
    """
    path = Path(issued.path)
    if not store.can_be_shared or await asyncio.to_thread(path.exists):
        return path
    data = await shared_files.read(store, _name(path))
    if data is None or hashlib.sha256(data).hexdigest() != issued.sha256:
        raise Refused(
            attempted=f"show the receipt of {issued.day}",
            on=str(path),
            cause="it is in another controller's home, and not in the store"
            if data is None
            else "the store's copy is not what was issued that day",
            hint="That home's controller puts its receipts into the store with its next daily digest.",
        )
    point = Checkpoint(store.instance, issued.last_seq, bytes.fromhex(issued.root_sha256))
    return await _write(home, path.name, data, point)


def _name(path: Path) -> str:
    return f"receipts/{path.name}"


async def _write(home: Path, name: str, data: bytes, point: Checkpoint) -> Path:
    def work() -> Path:
        whole = note.sign(point.text, sshsig.load_or_create(home))
        path = write_signed(home, name, data)
        replace_durably(note_beside(path), whole.encode())
        return path

    try:
        return await asyncio.to_thread(work)
    except OSError as error:
        raise DiskFull(
            attempted="write the receipt of the day",
            on=str(home / "receipts"),
            cause=error.strerror or str(error),
            hint="Free some disk space; the next day's receipt covers this day too.",
        ) from error


def note_beside(path: Path) -> Path:
    """Where the signed note of a day's checkpoint is. Receipts of earlier versions have none."""
    return path.with_name(f"{path.name}.note")
