"""DSSE envelopes: a statement and its signature in one JSON file, as in-toto's tools read it.

The same Ed25519 key signs as for SSHSIG, over bytes that begin differently: neither can be taken for the other.
"""

from __future__ import annotations

import base64
import binascii
import json
from dataclasses import dataclass
from typing import Final

from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey

from fleet.errors import Malformed
from gates.receipts.sshsig import PublicKey, public_of

STATEMENT: Final = "application/vnd.in-toto+json"
_START: Final = b'{"payload":'


@dataclass(frozen=True, slots=True)
class Envelope:
    """``payload`` is a statement; ``signatures`` are by keys that the reader may know."""

    payload: bytes
    signatures: tuple[bytes, ...]

    @classmethod
    def parse(cls, data: bytes) -> Envelope:
        """Reads an envelope. Raises ``Malformed``."""
        try:
            match json.loads(data):
                case {"payload": str(payload), "payloadType": str(kind), "signatures": [_, *_] as signatures}:
                    if kind != STATEMENT:
                        raise ValueError(f"its payload is of another type: {kind[:80]!r}")
                    found = tuple(base64.b64decode(each["sig"], validate=True) for each in signatures[:100])
                    return cls(base64.b64decode(payload, validate=True), found)
                case _:
                    raise ValueError("it has no payload, no type or no signatures")
        except (ValueError, TypeError, KeyError, binascii.Error, RecursionError) as error:
            raise Malformed(attempted="read a DSSE envelope", cause=str(error)) from error

    def signed_by(self, key: PublicKey) -> bool:
        """Whether this key signed the payload as a statement."""
        public = Ed25519PublicKey.from_public_bytes(key.raw)
        for signature in self.signatures:
            try:
                public.verify(signature, _signed(self.payload))
            except InvalidSignature:
                continue
            return True
        return False


def is_envelope(data: bytes) -> bool:
    """Whether a file says that it is an envelope of ours."""
    return data.startswith(_START)


def seal(key: Ed25519PrivateKey, statement: bytes) -> bytes:
    """The envelope of a statement."""
    said = {
        "payload": base64.b64encode(statement).decode(),
        "payloadType": STATEMENT,
        "signatures": [
            {"keyid": public_of(key).fingerprint, "sig": base64.b64encode(key.sign(_signed(statement))).decode()}
        ],
    }
    return json.dumps(said, separators=(",", ":")).encode() + b"\n"


def _signed(payload: bytes) -> bytes:
    kind = STATEMENT.encode()
    return b"DSSEv1 %d %s %d %s" % (len(kind), kind, len(payload), payload)
