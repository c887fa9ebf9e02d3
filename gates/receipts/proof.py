"""That a receipt's own event is in the ledger of a checkpoint that somebody holds: a C2SP tlog-proof (``v1``).

Its ``extra`` has the event's bytes, so that the file and the log's key are all that is needed. The event is the
last one that the receipt is about. The hashes left of it in the audit path are those of the ledger before it: so
the path also shows that the receipt's root is a beginning of the checkpoint's.
"""

from __future__ import annotations

import base64
import binascii
import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Final

from fleet.errors import Malformed, Refused
from fleet.events import leaf_hash
from fleet.store import ledger, tree
from fleet.store.core import Tx
from gates.receipts import cosigned
from gates.receipts.checkpoint import Checkpoint
from gates.receipts.cosigned import Demand
from gates.receipts.log import roots_of_path
from gates.receipts.sshsig import PublicKey
from gates.receipts.verify import Check

SUFFIX: Final = ".tlog-proof"
_HEAD: Final = "c2sp.org/tlog-proof@v1"
_FORM: Final = re.compile(
    rf"{_HEAD}\nextra (\S+)\nindex (0|[1-9]\d{{0,15}})\n((?:\S{{44}}\n){{0,63}})\n(.+)", re.DOTALL
)


@dataclass(frozen=True, slots=True)
class Proof:
    """An event's bytes, its index from 0, the audit path, and the note of the checkpoint."""

    event: bytes
    index: int
    path: tuple[bytes, ...]
    note: str

    @property
    def text(self) -> str:
        """As a file has it."""
        extra, *path = (base64.b64encode(each).decode() for each in (self.event, *self.path))
        return "\n".join([_HEAD, f"extra {extra}", f"index {self.index}", *path, "", self.note])

    @classmethod
    def parse(cls, data: bytes) -> Proof:
        """The inverse. Raises ``Malformed``."""
        try:
            found = _FORM.fullmatch(data.decode())
            if found is None:
                raise ValueError("it is no tlog-proof with an event's bytes")
            event, *path = (base64.b64decode(each, validate=True) for each in (found[1], *found[3].split()))
        except (ValueError, binascii.Error) as error:
            raise Malformed(attempted="read the proof", cause=str(error)) from error
        return cls(event, int(found[2]), tuple(path), found[4])


def make(tx: Tx, seq: int, point: Checkpoint, note: str) -> Proof:
    """The proof of an event for this checkpoint. Raises ``Refused`` where the ledger is not that of the checkpoint,
    or does not have the event by then."""
    cause = ""
    if point.instance != tx.store.instance:
        cause = f"it is of {point.origin}, and this ledger is airboss/{tx.store.instance}"
    elif point.size < seq:
        cause = f"it is of {point.size:,} events, and the receipt is about event {seq:,}"
    elif (grown := ledger.size(tx)) < point.size:
        cause = f"it is of {point.size:,} events, and this ledger has {grown:,}"
    elif tree.root_at(tx, point.size) != point.root:
        cause = f"a fork: another one of the first {point.size:,} events was signed than this ledger has"
    recorded = ledger.of_number(tx, seq)
    if cause or recorded is None:
        hint = "Take a checkpoint of this ledger that was made after the receipt."
        raise Refused(attempted="prove it for that checkpoint", cause=cause or f"no event {seq}", hint=hint)
    return Proof(recorded.canonical, seq - 1, tuple(tree.inclusion(tx, seq - 1, point.size)), note)


def check(
    proof: Proof, statement: dict[str, Any], pinned: Sequence[PublicKey], demand: Demand
) -> tuple[list[Check], dict[int, bytes]]:
    """Whether the receipt's event is in the ledger of the proof's checkpoint, and who of the witnesses signed that;
    and the roots that are shown, by size."""
    said = statement["predicate"].get("ledger")
    if said is None:
        return [
            Check(
                "entry", False, "the receipt does not say where in the ledger it is: take the task's or the run's"
            )
        ], {}
    size, root = int(said["size"]), str(said["root_sha256"])
    origin = proof.note.partition("\n")[0]
    signed = cosigned.signers(proof.note, origin, pinned, demand.witnesses)
    if isinstance(signed, str):
        return [Check("entry", False, f"its checkpoint: {signed}")], {}
    point = signed.point
    if proof.index != size - 1:
        return [Check("entry", False, f"it is about event {proof.index + 1:,}, the receipt about {size:,}")], {}
    shown = roots_of_path(leaf_hash(proof.event), proof.index, point.size, proof.path)
    if shown is None or shown[1] != point.root:
        return [Check("entry", False, f"it does not show that event {size:,} is under the checkpoint")], {}
    if shown[0].hex() != root:
        said_ = f"a fork: the checkpoint of {point.size:,} events has others up to {size:,} than the receipt"
        return [Check("entry", False, said_)], {}
    found = [
        Check("entry", True, f"event {size:,}, and all before it, is under the checkpoint of {point.size:,} events")
    ]
    if demand.witnesses:
        names = ", ".join(signed.names) or "no pinned witness"
        enough = len(signed.names) >= demand.needed
        needed = "" if enough else f", {demand.needed} must"
        found.append(Check("witnesses", enough, f"{names} signed the checkpoint of {point.size:,} events{needed}"))
    return found, {size: shown[0], point.size: point.root}
