"""A person lets a store go on that is older than what was seen outside it: one signed entry says what was lost."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Any, Final

import rfc8785
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from fleet.events import LedgerReset
from fleet.store import ledger, traces, tree
from fleet.store.core import Tx
from fleet.store.traces import Trace
from gates.receipts import sshsig

NAMESPACE: Final = "airboss-reset-v1"
_NAMED: Final = 200
"""So many lost things are named in the entry; the others are counted."""


def entry(tx: Tx, key: Ed25519PrivateKey, person: str, reason: str, lost: Sequence[Trace]) -> LedgerReset:
    """The signed entry, for the end of the ledger as it is now."""
    size = ledger.size(tx)
    made = LedgerReset(
        person=person,
        reason=tx.store.redact(reason) if tx.store.redact else reason,
        lost=tuple(trace.line for trace in lost[:_NAMED]),
        lost_count=len(lost),
        task_floor=traces.floor_above(tx, lost),
        size=size,
        root=tree.root_at(tx, size).hex(),
        key=sshsig.public_of(key).line,
        signature="",
    )
    return replace(made, signature=sshsig.sign(key, _signed(made), NAMESPACE))


def check(event: LedgerReset, pinned: sshsig.PublicKey) -> str:
    """Empty when the pinned key signed exactly this entry, else why not."""
    return sshsig.verify(event.signature, _signed(event), pinned, NAMESPACE)


def _signed(event: LedgerReset) -> bytes:
    body: dict[str, Any] = {name: value for name, value in event.body().items() if name != "signature"}
    return rfc8785.dumps({name: list(value) if isinstance(value, tuple) else value for name, value in body.items()})
