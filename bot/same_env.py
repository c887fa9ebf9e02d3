"""What a controller runs on, for others of its fleet to compare: its ``fleet.toml``, and its ``.env``.

A setting of ``.env`` is compared by a keyed hash, whose key is in the homes of the fleet only: who reads the store
can neither see a value nor try guesses, nor tell that two names have the same one.
"""

from __future__ import annotations

import hmac
import json
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

from bot.reload import digest_of
from fleet.config import Secrets
from fleet.config.home import FLEET_FILE
from fleet.errors import Misused
from fleet.store.controllers import RunsOn
from gates.leaks.search import fingerprint_key, has_fingerprint_key

OF_ONE_HOME: Final = {
    "AIRBOSS_STORE": "a host may reach the store by another address, with a login of its own",
    "AIRBOSS_TELEGRAM_WEBHOOK_LISTEN": "an address of this host",
    "SLACK_LISTEN": "an address of this host",
    "SSH_AUTH_SOCK": "a path on this host",
}
"""Settings that are not compared, and why: a home may have its own."""

_PURPOSE: Final = b"airboss: settings of .env\0"


def hashed(key: bytes, env: Secrets) -> str:
    """A keyed hash of each setting that all controllers must have, as JSON. An empty one is as good as none."""
    own = hmac.digest(key, _PURPOSE, "sha256")
    found = {name: _hash(own, name, env.get(name)) for name in env if env.get(name) and name not in OF_ONE_HOME}
    return json.dumps(found, sort_keys=True)


def _hash(key: bytes, name: str, value: str) -> str:
    return hmac.digest(key, f"{name}\0{value}".encode("utf-8", "surrogatepass"), "sha256").hex()[:32]


@dataclass(slots=True)
class RunsHere:
    """Call it for what a home's controller runs on: what is in force (``fleet``, ``env``), or else what the files
    say now. A home without the fleet's keys has no hashes yet."""

    home: Path
    fleet: Callable[[], str] | None = None
    env: Secrets | None = None
    _key: bytes = field(default=b"", init=False)

    def __call__(self) -> RunsOn:
        fleet = digest_of(self.home / FLEET_FILE) if self.fleet is None else self.fleet()
        if not self._key and has_fingerprint_key(self.home):
            self._key = fingerprint_key(self.home)
        return RunsOn(fleet, hashed(self._key, self._settings()) if self._key else "")

    def _settings(self) -> Secrets:
        """A file that cannot be read has none, and so differs from any that has some."""
        try:
            return Secrets.load(self.home) if self.env is None else self.env
        except Misused:
            return Secrets({})
