"""The words of C2SP's tlog-witness: what a log sends to a witness, and how a witness rules on it.

No I/O. A log sends ``old SIZE``, a consistency proof, an empty line and its signed checkpoint. A witness signs it
only if it continues what it signed before.
"""

from __future__ import annotations

import base64
import binascii
import re
from collections.abc import Sequence
from dataclasses import dataclass
from http import HTTPStatus
from typing import Final

from fleet.errors import Malformed
from gates.receipts.checkpoint import Checkpoint
from gates.receipts.log import verify_consistency
from gates.receipts.note import NoteKey, SignedNote

SIZE_TYPE: Final = "text/x.tlog.size"
BODY_LIMIT: Final = 64 << 10
_HEAD: Final = re.compile(r"old (0|[1-9]\d{0,15})\n((?:[A-Za-z0-9+/]{43}=\n){0,63})\n")


@dataclass(frozen=True, slots=True)
class Submission:
    """``old``: the size that the witness is thought to know."""

    old: int
    proof: tuple[bytes, ...]
    note: str

    @property
    def text(self) -> str:
        """The body of the request."""
        lines = [f"old {self.old}", *(base64.b64encode(found).decode() for found in self.proof)]
        return "".join(f"{line}\n" for line in lines) + f"\n{self.note}"

    @classmethod
    def parse(cls, body: bytes) -> Submission:
        """The inverse. Raises ``Malformed``."""
        try:
            text = body.decode()
            found = _HEAD.match(text)
            if found is None:
                raise ValueError("it does not begin with the old size and a proof")
            proof = tuple(base64.b64decode(line, validate=True) for line in found[2].split())
        except (ValueError, binascii.Error) as error:
            raise Malformed(attempted="read a request to a witness", cause=str(error)) from error
        return cls(int(found[1]), proof, text[found.end() :])


@dataclass(frozen=True, slots=True)
class Unsigned:
    """Why a witness does not sign. ``known``: the size that it has signed, where the log took another one."""

    status: HTTPStatus
    why: str
    known: int | None = None


def origin_of(request: Submission) -> str:
    """Whose checkpoint it is."""
    return request.note.partition("\n")[0]


def rule(request: Submission, keys: Sequence[NoteKey], latest: Checkpoint | None) -> Checkpoint | Unsigned:
    """The checkpoint to sign. ``keys`` are those of the log of that origin, ``latest`` is the last signed one."""
    if not keys:
        return Unsigned(HTTPStatus.NOT_FOUND, "no such log here")
    try:
        note = SignedNote.parse(request.note)
        point = Checkpoint.parse(note.text)
    except Malformed as error:
        return Unsigned(HTTPStatus.BAD_REQUEST, error.cause)
    if all(note.signed_by(key) is None for key in keys):
        return Unsigned(HTTPStatus.FORBIDDEN, "no key of this log signed it")
    if request.old > point.size:
        return Unsigned(HTTPStatus.BAD_REQUEST, "the old size is larger than the checkpoint's")
    known = latest.size if latest else 0
    if request.old != known:
        return Unsigned(HTTPStatus.CONFLICT, f"{known} was signed last", known)
    if latest is None:
        empty = not request.proof
        return point if empty else Unsigned(HTTPStatus.UNPROCESSABLE_ENTITY, "a first checkpoint has no proof")
    if point.size == known and point.root != latest.root:
        return Unsigned(HTTPStatus.CONFLICT, f"another root of {known} events was signed", known)
    if not verify_consistency(known, point.size, latest.root, point.root, request.proof):
        return Unsigned(HTTPStatus.UNPROCESSABLE_ENTITY, f"it does not continue the {known} events signed last")
    return point
