"""SSHSIG signatures (OpenSSH's PROTOCOL.sshsig) with Ed25519, as used by ``ssh-keygen -Y sign`` and ``-Y verify``.

Anyone with OpenSSH and our public key can check a receipt, without our software. The namespace is part of what is
signed, so a signature made for something else can never count as a receipt.
"""

from __future__ import annotations

import base64
import hashlib
import re
import struct
import textwrap
from collections.abc import Collection
from dataclasses import dataclass
from pathlib import Path

from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey

from fleet import files
from fleet.errors import Malformed, Unavailable

NAMESPACE = "airboss-receipt-v1"
BUNDLE_NAMESPACES = ("airboss-bundle-v1", "airboss-checkpoint-v1")
"""Of an export: its header, and its checkpoint."""

PRINCIPAL = "airboss"
KEY_FILE = "receipt_ed25519"
PINNED = "this-controller.pub"
_RESTORE = "restore it from a backup, or move it away to start with a new key, which people must pin"
"""Where a home pins its own key."""
_MAGIC = b"SSHSIG"
_KEY_TYPE = b"ssh-ed25519"
_BEGIN, _END = "-----BEGIN SSH SIGNATURE-----", "-----END SSH SIGNATURE-----"


@dataclass(frozen=True, slots=True)
class PublicKey:
    """An Ed25519 public key, 32 raw bytes."""

    raw: bytes

    @property
    def line(self) -> str:
        """``ssh-ed25519 AAAA…``, as in a ``.pub`` file, without a comment."""
        return f"ssh-ed25519 {base64.b64encode(self._blob).decode('ascii')}"

    @property
    def fingerprint(self) -> str:
        """``SHA256:…``, as ``ssh-keygen -l`` prints it."""
        digest = base64.b64encode(hashlib.sha256(self._blob).digest()).decode("ascii")
        return f"SHA256:{digest.rstrip('=')}"

    @property
    def _blob(self) -> bytes:
        return _string(_KEY_TYPE) + _string(self.raw)

    @classmethod
    def parse(cls, line: str) -> PublicKey:
        """Parses ``ssh-ed25519 AAAA… [comment]``. Raises ``Malformed`` for another type or bad base64."""
        parts = line.split()
        if len(parts) < 2 or parts[0] != "ssh-ed25519":
            raise Malformed(
                attempted="read a public key",
                on=line[:80],
                cause="it does not start with 'ssh-ed25519 '",
                hint="use the line from AIRBOSS_HOME/keys/receipt_ed25519.pub",
            )
        try:
            return _key_from_blob(base64.b64decode(parts[1], validate=True))
        except ValueError as error:
            raise Malformed(attempted="read a public key", on=line[:80], cause=str(error)) from error


class _Truncated(ValueError):
    """The bytes end before the structure does, or continue after it."""


def _string(data: bytes) -> bytes:
    return struct.pack(">I", len(data)) + data


def _take(data: bytes) -> tuple[bytes, bytes]:
    if len(data) < 4:
        raise _Truncated("a length is truncated")
    (size,) = struct.unpack(">I", data[:4])
    if len(data) - 4 < size:
        raise _Truncated("a field is truncated")
    return data[4 : 4 + size], data[4 + size :]


def _key_from_blob(blob: bytes) -> PublicKey:
    kind, rest = _take(blob)
    raw, rest = _take(rest)
    if kind != _KEY_TYPE or len(raw) != 32 or rest:
        raise _Truncated("not an Ed25519 public key")
    return PublicKey(raw)


def _to_be_signed(message: bytes, namespace: str) -> bytes:
    return (
        _MAGIC
        + _string(namespace.encode())
        + _string(b"")
        + _string(b"sha512")
        + _string(hashlib.sha512(message).digest())
    )


def sign(key: Ed25519PrivateKey, message: bytes, namespace: str = NAMESPACE) -> str:
    """The armoured signature of ``message``, ready for a ``.sig`` file."""
    signature = _string(_KEY_TYPE) + _string(key.sign(_to_be_signed(message, namespace)))
    blob = (
        _MAGIC
        + struct.pack(">I", 1)
        + _string(public_of(key)._blob)
        + _string(namespace.encode())
        + _string(b"")
        + _string(b"sha512")
        + _string(signature)
    )
    body = "\n".join(textwrap.wrap(base64.b64encode(blob).decode("ascii"), 70))
    return f"{_BEGIN}\n{body}\n{_END}\n"


def verify(armoured: str, message: bytes, pinned: PublicKey, namespace: str = NAMESPACE) -> str:
    """Empty when ``pinned`` signed exactly ``message`` for ``namespace``; otherwise why not, for a person.

    The key inside the signature is compared with the pinned one and never trusted on its own.
    """
    try:
        key, found_namespace, hash_name, signature = _parse(armoured)
    except ValueError as error:
        return f"the signature file is damaged: {error}"
    if key != pinned:
        return f"it is signed by another key ({key.fingerprint}), not by the pinned one ({pinned.fingerprint})"
    if found_namespace != namespace.encode():
        return f"the signature was made for {found_namespace.decode(errors='replace')!r}, not for {namespace!r}"
    if hash_name != b"sha512":
        return f"the signature uses the hash {hash_name.decode(errors='replace')!r}; only sha512 is accepted"
    try:
        Ed25519PublicKey.from_public_bytes(pinned.raw).verify(signature, _to_be_signed(message, namespace))
    except InvalidSignature:
        return "the signature does not match: the receipt was changed after it was signed"
    return ""


def _parse(armoured: str) -> tuple[PublicKey, bytes, bytes, bytes]:
    text = armoured.strip()
    if not text.startswith(_BEGIN) or not text.endswith(_END):
        raise _Truncated("it has no SSH SIGNATURE armour")
    blob = base64.b64decode("".join(text[len(_BEGIN) : -len(_END)].split()), validate=True)
    if blob[:6] != _MAGIC or blob[6:10] != struct.pack(">I", 1):
        raise _Truncated("it is not an SSHSIG of version 1")
    key_blob, rest = _take(blob[10:])
    namespace, rest = _take(rest)
    _reserved, rest = _take(rest)
    hash_name, rest = _take(rest)
    wrapped, rest = _take(rest)
    kind, signature = _take(wrapped)
    raw, more = _take(signature)
    if rest or more or kind != _KEY_TYPE:
        raise _Truncated("it is not an Ed25519 signature")
    return _key_from_blob(key_blob), namespace, hash_name, raw


def public_of(key: Ed25519PrivateKey) -> PublicKey:
    """The public key."""
    return PublicKey(key.public_key().public_bytes(serialization.Encoding.Raw, serialization.PublicFormat.Raw))


def allowed_signers_line(key: PublicKey) -> str:
    """A line for ``ssh-keygen -Y verify -f``, bound to our namespaces."""
    return f'{PRINCIPAL} namespaces="{",".join((NAMESPACE, *BUNDLE_NAMESPACES))}" {key.line}\n'


_SIGNER = re.compile(r'\S+\s+(?:namespaces="(?P<namespaces>[^"]*)"\s+)?(?P<key>ssh-ed25519\s+\S+)(?:\s.*)?')


def from_allowed_signers(text: str, namespaces: Collection[str] = (NAMESPACE,)) -> tuple[PublicKey, ...]:
    """The Ed25519 keys of an allowed-signers file that may sign in all of these namespaces.

    Raises ``Malformed`` when there is none, or when a line has options other than ``namespaces``: options that are
    not understood (an expiry, a certificate authority) must not be ignored.
    """
    found = []
    for number, line in enumerate(text.splitlines(), 1):
        if not line.strip() or line.lstrip().startswith("#"):
            continue
        match = _SIGNER.fullmatch(line.strip())
        if match is None:
            raise Malformed(
                attempted="read the pinned key",
                on=f"allowed signers, line {number}",
                cause='it is not: PRINCIPAL [namespaces="…"] ssh-ed25519 AAAA…',
            )
        named = match["namespaces"]
        if named is None or set(namespaces) <= set(named.split(",")):
            found.append(PublicKey.parse(match["key"]))
    if not found:
        raise Malformed(
            attempted="read the pinned key",
            on="the allowed-signers file",
            cause=f"it has no key for {' and '.join(namespaces)}",
            hint="it needs a line: airboss ssh-ed25519 AAAA…",
        )
    return tuple(found)


def load_or_create(home: Path) -> Ed25519PrivateKey:
    """This controller's receipt key, ``AIRBOSS_HOME/keys/receipt_ed25519`` (0600), created when first needed.

    A new key is also pinned in ``AIRBOSS_HOME/pinned``, for ``airboss verify`` here.

    Raises ``Unavailable`` when the file cannot be read or does not hold an Ed25519 key. A new key in its place
    would break every pin, so an existing file is never replaced.
    """
    path = home / "keys" / KEY_FILE
    fresh = not path.exists()
    key = load_or_create_at(path)
    if fresh:
        _keep_lost(home / "pinned" / PINNED, public_of(key))
        announce(home, public_of(key))
    return key


def _keep_lost(pinned: Path, new: PublicKey) -> None:
    """Another key signed before, and is gone: what it signed still verifies here."""
    if pinned.exists() and not (text := pinned.read_text(encoding="utf-8")).startswith(new.line):
        name = f"lost-{hashlib.sha256(text.encode()).hexdigest()[:8]}.pub"
        files.replace_durably(pinned.with_name(name), text.encode(), mode=0o644)


def load_or_create_at(path: Path) -> Ed25519PrivateKey:
    """The key in this file (0600), created when first needed. Raises as :func:`load_or_create`."""
    if not path.exists():
        _create(path)
    try:
        key = serialization.load_ssh_private_key(files.content(path), password=None)
    except (OSError, ValueError, TypeError) as error:
        raise Unavailable(
            attempted="read the key that signs receipts",
            on=str(path),
            cause=str(error),
            hint=_RESTORE,
        ) from error
    if not isinstance(key, Ed25519PrivateKey):
        cause = "it is not an Ed25519 key"
        raise Unavailable(attempted="read the key that signs receipts", on=str(path), cause=cause, hint=_RESTORE)
    return key


def announce(home: Path, key: PublicKey) -> None:
    """Writes the public key beside the private one, and pins it for ``airboss verify`` here."""
    line = f"{key.line} airboss receipts\n".encode()
    files.replace_durably(home / "keys" / f"{KEY_FILE}.pub", line, mode=0o644)
    pin(home, key, PINNED.removesuffix(".pub"))


def pin(home: Path, key: PublicKey, name: str) -> None:
    """Keeps a key that ``airboss verify`` trusts here."""
    pinned = home / "pinned" / f"{name}.pub"
    pinned.parent.mkdir(mode=0o700, exist_ok=True)
    files.replace_durably(pinned, f"{key.line} airboss receipts\n".encode(), mode=0o644)


def _create(path: Path) -> None:
    path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
    key = Ed25519PrivateKey.generate()
    private = key.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.OpenSSH, serialization.NoEncryption()
    )
    files.create_durably(path, private)  # of two processes that start together, both use the key of one
