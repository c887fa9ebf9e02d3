"""``airboss prove``: that the event of a receipt is in the ledger of a checkpoint that somebody holds."""

from __future__ import annotations

import argparse
import asyncio
import sys
from pathlib import Path

from bot.local.exporting import new_file
from bot.local.stores import store_of_home
from bot.local.verify import read_receipt
from fleet import files
from fleet.errors import Misused
from fleet.store.core import Store
from gates.receipts import cosigned, proof
from gates.receipts import verify as checks
from gates.receipts.checkpoint import Checkpoint
from gates.receipts.checkpoints import Checkpoints
from gates.receipts.note import SignedNote


def run(options: argparse.Namespace, home: Path) -> int:
    """Writes the proof. Raises ``Misused`` for what is no receipt or no checkpoint, ``Refused`` where the ledger is
    not that of the checkpoint."""
    receipt = Path(options.receipt).absolute()
    target = new_file(Path(options.output).absolute() if options.output else Path(f"{receipt}{proof.SUFFIX}"))
    size = _size(receipt)
    with store_of_home(home) as store:
        if options.checkpoint:
            point, note = _held(Path(options.checkpoint))
        else:
            point, note = asyncio.run(_newest(store, home, size))
        made = asyncio.run(store.read(lambda tx: proof.make(tx, size, point, note), long=True))
    with files.writing("write the proof", target):
        files.replace_durably(target, made.text.encode(), mode=0o644)
    sys.stdout.write(
        f"{target}: event {size:,} under the checkpoint of {point.size:,}. "
        f"Check it with: airboss verify {receipt} --proof {target}\n"
    )
    return 0


def _size(receipt: Path) -> int:
    """The number of the last event that the receipt is about."""
    shape, statement = checks.check_shape(read_receipt(receipt))
    if not shape.ok or "ledger" not in statement["predicate"]:
        cause = shape.detail if not shape.ok else "it does not say where in the ledger it is"
        hint = "Name a receipt: TASK.json, gates/RUN.json or day-DATE-SEQ.json."
        raise Misused(attempted="prove a receipt", on=str(receipt), cause=cause, hint=hint)
    return int(statement["predicate"]["ledger"]["size"])


def _held(path: Path) -> tuple[Checkpoint, str]:
    try:
        # One that was copied from a chat has lost the end of its last line.
        whole = path.read_text(encoding="utf-8").strip() + "\n"
    except (OSError, UnicodeError) as error:
        why = error.strerror if isinstance(error, OSError) else "it is not UTF-8"
        raise Misused(attempted="read the checkpoint", on=str(path), cause=str(why)) from error
    return Checkpoint.parse(SignedNote.parse(whole).text), whole


async def _newest(store: Store, home: Path, size: int) -> tuple[Checkpoint, str]:
    """The last one that others signed too, or else one of the ledger's end."""
    kept = Checkpoints(store, home)
    for point, note in await asyncio.to_thread(lambda: list(kept.folder.newest_first())):
        if point.size >= size and point.instance == store.instance and cosigned.others(note):
            return point, note
    return await kept.keep()
