"""Signed notes and cosignatures, as C2SP writes them: a text, an empty line, and a line for each signature.

A log signs its checkpoint with Ed25519 (type 1). A witness signs the same text with a time before it (type 4).
"""

from __future__ import annotations

import base64
import binascii
import hashlib
import re
import struct
from dataclasses import dataclass
from enum import IntEnum
from typing import Final

from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey

from fleet.errors import Malformed
from gates.receipts.sshsig import public_of

_LINE: Final = re.compile(r"— ([^\s+]{1,200}) ([A-Za-z0-9+/]{4,400}={0,2})\n")
_KEY: Final = re.compile(r"([^\s+]{1,200})\+([0-9a-f]{8})\+([A-Za-z0-9+/]{40,60}={0,2})")
_MOST: Final = 100


class KeyType(IntEnum):
    """What a key of a note signs."""

    LOG = 1
    WITNESS = 4


@dataclass(frozen=True, slots=True)
class NoteKey:
    """A public key of a note: the name of its owner, and 32 raw bytes."""

    name: str
    type: KeyType
    raw: bytes

    @property
    def id(self) -> bytes:
        """Four bytes that stand before each signature."""
        return hashlib.sha256(f"{self.name}\n".encode() + bytes([self.type]) + self.raw).digest()[:4]

    @property
    def line(self) -> str:
        """``name+id+key``, as people exchange it."""
        return f"{self.name}+{self.id.hex()}+{base64.b64encode(bytes([self.type]) + self.raw).decode()}"

    @classmethod
    def parse(cls, line: str) -> NoteKey:
        """The inverse. Raises ``Malformed``."""
        found = _KEY.fullmatch(line.strip())
        try:
            if found is None:
                raise ValueError("it is not: NAME+ID+KEY")
            data = base64.b64decode(found[3], validate=True)
            key = cls(found[1], KeyType(data[0]), data[1:])
            if len(key.raw) != 32 or key.id.hex() != found[2]:
                raise ValueError("its id is not that of its name and key")
        except (ValueError, binascii.Error, IndexError) as error:
            raise Malformed(attempted="read a key of a note", on=line[:80], cause=str(error)) from error
        return key


@dataclass(frozen=True, slots=True)
class SignedNote:
    """A text and its signatures: who signed, and the bytes."""

    text: str
    signatures: tuple[tuple[str, bytes], ...]

    @classmethod
    def parse(cls, whole: str) -> SignedNote:
        """Reads a note. Raises ``Malformed``."""
        text, _, rest = whole.rpartition("\n\n")
        lines = rest.splitlines(keepends=True)
        found = [_LINE.fullmatch(line) for line in lines[: _MOST + 1]]
        try:
            if not text or not lines or len(lines) > _MOST:
                raise ValueError("it has no text, or no signatures")
            signatures = tuple((each[1], base64.b64decode(each[2], validate=True)) for each in found if each)
            if len(signatures) != len(lines):
                raise ValueError("a line of its signatures is malformed")
        except (ValueError, binascii.Error) as error:
            raise Malformed(attempted="read a signed note", cause=str(error)) from error
        return cls(f"{text}\n", signatures)

    def line_of(self, key: NoteKey) -> str:
        """The line of this key's signature; empty without one."""
        found = (blob for name, blob in self.signatures if name == key.name and blob[:4] == key.id)
        return next((f"— {key.name} {base64.b64encode(blob).decode()}\n" for blob in found), "")

    def signed_by(self, key: NoteKey) -> int | None:
        """When this key signed it, in seconds since the epoch, or 0 for a log's key; ``None``: it did not."""
        for name, blob in self.signatures:
            if name != key.name or blob[:4] != key.id:
                continue
            time, signature, message = 0, blob[4:], self.text.encode()
            if key.type is KeyType.WITNESS and len(blob) == 4 + 8 + 64:
                time, signature = struct.unpack(">Q", blob[4:12])[0], blob[12:]
                message = _cosigned(self.text, time)
            try:
                Ed25519PublicKey.from_public_bytes(key.raw).verify(signature, message)
            except InvalidSignature:
                continue
            return time
        return None


def log_key(origin: str, key: Ed25519PrivateKey | bytes) -> NoteKey:
    """The key of a log, which is named after its origin."""
    raw = key if isinstance(key, bytes) else public_of(key).raw
    return NoteKey(origin, KeyType.LOG, raw)


def sign(text: str, key: Ed25519PrivateKey) -> str:
    """The note of a checkpoint, signed by its log."""
    known = log_key(text.partition("\n")[0], key)
    return f"{text}\n{_signature(known, key.sign(text.encode()))}"


def cosign(text: str, name: str, key: Ed25519PrivateKey, seconds: int) -> str:
    """A witness's line for a checkpoint that it found consistent."""
    known = NoteKey(name, KeyType.WITNESS, public_of(key).raw)
    return _signature(known, struct.pack(">Q", seconds) + key.sign(_cosigned(text, seconds)))


def _cosigned(text: str, seconds: int) -> bytes:
    return f"cosignature/v1\ntime {seconds}\n{text}".encode()


def _signature(key: NoteKey, data: bytes) -> str:
    return f"— {key.name} {base64.b64encode(key.id + data).decode()}\n"
