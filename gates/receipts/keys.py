"""The key that signs, and those before it: list, make, rotate, publish.

A new key is signed by the old one, so that who pinned the old one can follow. The old private key is deleted; its
public half stays pinned here, and receipts that it signed still verify.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from fleet import files
from fleet.errors import Malformed, Misused
from gates.receipts import sshsig
from gates.receipts.sshsig import PublicKey

SUCCESSION_NAMESPACE: Final = "airboss-key-v1"
_SUCCESSION: Final = "succession.jsonl"


@dataclass(frozen=True, slots=True)
class Succession:
    """``old`` says that ``new`` follows it."""

    old: PublicKey
    new: PublicKey
    signature: str

    @property
    def line(self) -> str:
        """As it is kept and published."""
        return json.dumps({"old": self.old.line, "new": self.new.line, "signature": self.signature})

    @classmethod
    def parse(cls, line: str) -> Succession:
        """The inverse. Raises ``Malformed``, also where the old key did not sign it."""
        try:
            said = json.loads(line)
            old, new = (PublicKey.parse(str(said[name])) for name in ("old", "new"))
            made = cls(old, new, str(said["signature"]))
        except (ValueError, TypeError, KeyError, RecursionError) as error:
            raise Malformed(attempted="read the succession of keys", cause=str(error)) from error
        if why := sshsig.verify(made.signature, _message(made.new), made.old, SUCCESSION_NAMESPACE):
            raise Malformed(attempted="read the succession of keys", cause=why)
        return made


def successions(home: Path) -> list[Succession]:
    """Every rotation, the first one first. Raises ``Malformed``."""
    path = home / "keys" / _SUCCESSION
    text = path.read_text(encoding="utf-8") if path.exists() else ""
    return [Succession.parse(line) for line in text.splitlines() if line.strip()]


def retired(home: Path) -> list[PublicKey]:
    """The keys that signed before."""
    return [each.old for each in successions(home)]


def every(home: Path) -> list[PublicKey]:
    """The key that signs now, and those before it."""
    return [sshsig.public_of(sshsig.load_or_create(home)), *reversed(retired(home))]


def allowed_signers(home: Path) -> str:
    """What people pin: the key, and those before it, each bound to what it may sign."""
    return "".join(map(sshsig.allowed_signers_line, every(home)))


def rotate(home: Path) -> Succession:
    """A new key signs from now on. Raises ``Misused`` without a key, ``DiskFull`` or ``Unavailable`` where the new
    one cannot be written.

    Interrupted, it can be repeated: until the new key is in place, the old one signs.
    """
    if not (home / "keys" / sshsig.KEY_FILE).exists():
        raise Misused(attempted="rotate the key", cause="there is none yet", hint="airboss keys make")
    with files.writing("rotate the key", home / "keys"):
        return _rotate(home)


def _rotate(home: Path) -> Succession:
    before = successions(home)
    old = sshsig.load_or_create(home)
    fresh = home / "keys" / f"{sshsig.KEY_FILE}.next"
    new = sshsig.load_or_create_at(fresh)
    made = Succession(
        sshsig.public_of(old),
        sshsig.public_of(new),
        sshsig.sign(old, _message(sshsig.public_of(new)), SUCCESSION_NAMESPACE),
    )
    sshsig.pin(home, made.old, f"retired-{len(before) + 1}")
    lines = [each.line for each in before if each.old != made.old]
    succession = "".join(f"{line}\n" for line in [*lines, made.line])
    files.replace_durably(home / "keys" / _SUCCESSION, succession.encode(), mode=0o644)
    sshsig.announce(home, made.new)
    files.move(fresh, home / "keys" / sshsig.KEY_FILE)
    return made


def _message(new: PublicKey) -> bytes:
    return f"{new.line}\n".encode()
