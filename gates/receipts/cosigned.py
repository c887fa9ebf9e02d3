"""Who outside signed what a bundle has: its end, and the openings of the gates in it.

The bundle has one note that witnesses signed, of a size at its end or behind it, with the proof that the ledger of
that size begins with these events. The openings' notes are in the events themselves. Only keys that the reader
pinned count.
"""

from __future__ import annotations

import base64
import binascii
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from typing import Any, Final

import msgspec

from fleet.errors import Malformed
from fleet.events import GateClosed, GateOpened, GateWitnessed
from fleet.events.merkle import Frontier
from fleet.store import tree
from fleet.store.core import Tx
from fleet.verdict import Outcome
from gates.receipts.checkpoint import Checkpoint
from gates.receipts.log import verify_consistency
from gates.receipts.note import NoteKey, SignedNote, log_key
from gates.receipts.sshsig import PublicKey

KINDS: Final = frozenset((GateOpened.KIND, GateWitnessed.KIND, GateClosed.KIND))
_MOST_PROOF: Final = 64


class _OfRun(msgspec.Struct):
    """The part of an event that says who witnessed."""

    seq: int
    kind: str
    gate_run: str
    body: dict[str, Any]


_DECODE = msgspec.json.Decoder(_OfRun).decode


@dataclass(frozen=True, slots=True)
class Covering:
    """A note that others signed, and the proof that its ledger begins with the first ``size`` events of another."""

    note: str
    proof: tuple[bytes, ...]

    def to_json(self) -> dict[str, Any]:
        """As it stands in a bundle."""
        return {"note": self.note, "proof": [base64.b64encode(each).decode() for each in self.proof]}

    @classmethod
    def parse(cls, said: Any) -> Covering:
        """The inverse. Raises ``Malformed``."""
        try:
            proof = tuple(base64.b64decode(each, validate=True) for each in said["proof"])
            if len(proof) > _MOST_PROOF or any(len(each) != 32 for each in proof):
                raise ValueError("its proof is none")
            return cls(str(said["note"]), proof)
        except (ValueError, TypeError, KeyError, binascii.Error) as error:
            raise Malformed(attempted="read who witnessed a bundle", cause=str(error)) from error


def covering(tx: Tx, notes: Iterable[tuple[Checkpoint, str]], size: int, grown: int) -> Covering | None:
    """The note of others that is nearest to the end of the first ``size`` events of a ledger of ``grown``.
    ``notes`` have the largest first."""
    nearest: tuple[Checkpoint, str] | None = None
    for point, note in notes:
        if point.size < size:
            break
        if point.size <= grown and point.instance == tx.store.instance and others(note):
            nearest = point, note
    if nearest is None or not size or tree.root_at(tx, nearest[0].size) != nearest[0].root:
        return None
    return Covering(nearest[1], tuple(tree.consistency(tx, size, nearest[0].size)))


def others(note: str) -> tuple[str, ...]:
    """The names under a note, but for its log's own; whose they are is not checked."""
    signed = SignedNote.parse(note)
    origin = signed.text.partition("\n")[0]
    return tuple(dict.fromkeys(name for name, _ in signed.signatures if name != origin))


def signers(note: str, origin: str, pinned: Sequence[PublicKey], witnesses: Sequence[NoteKey]) -> Signers | str:
    """Who of the pinned witnesses signed this note of the log, or what is wrong with it."""
    try:
        signed = SignedNote.parse(note)
        point = Checkpoint.parse(signed.text)
    except Malformed as error:
        return error.cause
    if point.origin != origin:
        return f"it is a note of {point.origin}"
    if all(signed.signed_by(log_key(origin, key.raw)) is None for key in pinned):
        return "no pinned key of the log signed it"
    by = [(witness, signed.signed_by(witness)) for witness in witnesses]
    one_each = {witness.raw: (witness.name, time) for witness, time in by if time is not None}
    return Signers(point, dict(one_each.values()))


@dataclass(frozen=True, slots=True)
class Signers:
    """Who signed a checkpoint, with the times that they say, in seconds since the epoch."""

    point: Checkpoint
    names: dict[str, int]


def continues(signed: Signers, covering: Covering, size: int, root: bytes) -> bool:
    """Whether the signed checkpoint is of a ledger that begins with ``size`` events of this root."""
    return verify_consistency(size, signed.point.size, root, signed.point.root, covering.proof)


@dataclass(slots=True)
class OpeningsSeen:
    """Folds what a bundle's events say of openings: by run, where it was opened, the note, and how it ended."""

    opened: dict[str, int] = field(default_factory=dict)
    notes: dict[str, tuple[int, str]] = field(default_factory=dict)
    passed: set[str] = field(default_factory=set)

    def add(self, line: bytes) -> None:
        """Takes in an event of :data:`KINDS`."""
        said = _DECODE(line)
        if said.kind == GateOpened.KIND:
            self.opened[said.gate_run] = said.seq
        elif said.kind == GateWitnessed.KIND:
            self.notes[said.gate_run] = said.seq, str(said.body.get("note", ""))
        elif said.body.get("outcome") == Outcome.PASSED:
            self.passed.add(said.gate_run)

    def judged(
        self, origin: str, pinned: Sequence[PublicKey], witnesses: Sequence[NoteKey]
    ) -> dict[str, Signers | str]:
        """Who signed each opening before its run, as far as the notes alone say."""
        found: dict[str, Signers | str] = {}
        for run, (seq, note) in self.notes.items():
            signed = signers(note, origin, pinned, witnesses)
            if isinstance(signed, Signers) and not self.opened.get(run, seq) <= signed.point.size < seq:
                signed = "its checkpoint is not of before the run"
            found[run] = signed
        return found


def roots(header: dict[str, Any], leaves: bytes, sizes: Iterable[int]) -> dict[int, bytes]:
    """The roots of a ledger at these sizes, by a bundle's header and leaf hashes."""
    first = header["first_seq"]
    grown = Frontier(first - 1, [bytes.fromhex(each) for each in header["before"]])
    found = dict[int, bytes]()
    for size in sorted({size for size in sizes if first - 1 <= size <= header["size"]}):
        at, upto = ((each - first + 1) * 32 for each in (grown.size, size))
        grown.add_all([leaves[offset : offset + 32] for offset in range(at, upto, 32)])
        found[size] = grown.root()
    return found


@dataclass(frozen=True, slots=True)
class Demand:
    """The witnesses that a reader pinned, and how many of them must have signed."""

    witnesses: tuple[NoteKey, ...] = ()
    needed: int = 0


@dataclass(frozen=True, slots=True)
class Contents:
    """What a bundle has: its header, its leaf hashes, what it says of witnesses, and its openings."""

    header: dict[str, Any]
    leaves: bytes
    witnessed: Any
    openings: OpeningsSeen


def problem(demand: Demand, pinned: Sequence[PublicKey], has: Contents) -> tuple[str, str]:
    """What is wrong with who signed what, empty: nothing; and what they signed, for a person.

    The events, the leaves and the checkpoint of the bundle are checked already.
    """
    end, openings = Checkpoint.parse(has.header["checkpoint"]), has.openings
    judged = openings.judged(end.origin, pinned, demand.witnesses)
    unopened = sorted(openings.passed - openings.opened.keys())
    if unopened and has.header["first_seq"] == 1:
        return f"{unopened[0]} passed and was never opened", ""
    known = roots(
        has.header, has.leaves, (each.point.size for each in judged.values() if isinstance(each, Signers))
    )
    for run, signed in judged.items():
        if isinstance(signed, Signers) and known.get(signed.point.size, signed.point.root) != signed.point.root:
            return f"a fork: the opening of {run} was signed in another ledger", ""
    counts = {
        run: len(found.names) if isinstance(found := judged.get(run, ""), Signers) else 0 for run in openings.opened
    }
    weak = next((run for run in openings.passed if counts.get(run, demand.needed) < demand.needed), "")
    if weak:
        return f"the opening of {weak} was signed by {counts[weak]}, {demand.needed} must", ""
    names, size, why = dict[str, int](), 0, "nobody outside signed the end"
    if has.witnessed is not None:
        covering = Covering.parse(has.witnessed)
        signed = signers(covering.note, end.origin, pinned, demand.witnesses)
        if isinstance(signed, str):
            why = signed
        elif not continues(signed, covering, end.size, end.root):
            return "a fork: others signed a ledger that does not begin with these events", ""
        else:
            names, size = signed.names, signed.point.size
            why = "" if names else "no pinned witness signed the end"
    if len(names) < demand.needed:
        return f"{why or f'{len(names)} signed the end'}, {demand.needed} must", ""
    by = f"{', '.join(names)} signed {size:,} events, these among them" if names else why
    witnessed = sum(count > 0 for count in counts.values())
    before = f"; {len(unopened)} more passed, and would have been opened before these events" if unopened else ""
    return "", f"{by}; {witnessed} of {len(counts)} openings of gates were signed before the run{before}"
