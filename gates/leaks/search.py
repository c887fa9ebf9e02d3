"""Whether a change adds a secret: a value of ``.env``, or what the kept rule set knows.

What the base already contains is not asked again, nor what a person released for the repository. A fingerprint is a
keyed hash: neither the ledger nor a card shows the value.
"""

from __future__ import annotations

import asyncio
import hmac
import os
from collections.abc import Callable
from pathlib import Path
from typing import Final, Protocol

from fleet import files
from fleet.config import Secrets
from fleet.git.repository import Repository
from fleet.leaks import Leak
from fleet.redact import mark
from gates.leaks import known, rules
from gates.leaks.added import AddedLines, added
from gates.leaks.known import Sighting

_PATCH_LIMIT: Final = 32 << 20
_TOO_BIG: Final = "not searched: more than 32 MiB"


class SecretRecords(Protocol):
    """Where it is recorded which secrets people released."""

    @property
    def redact(self) -> Callable[[str], str] | None:
        """Takes secrets out of a text."""

    async def secrets_released(self, repo: str) -> frozenset[str]:
        """The fingerprints that people released for a repository."""


class Leaks:
    """Searches changes. ``env`` is read anew for each search; the key of the fingerprints is kept in ``home``."""

    def __init__(self, records: SecretRecords, env: Secrets, home: Path) -> None:
        self._records, self._env, self._home = records, env, home

    async def unreleased(self, repository: Repository, base: str, commit: str) -> tuple[Leak, ...]:
        """What a person must see before the change lands, in the order of the patch.

        Raises ``Unavailable`` when the change cannot be searched.
        """
        patch = await repository.additions(base, commit, _PATCH_LIMIT)
        changed = await asyncio.to_thread(added, patch.out)
        found = await self._found(changed)
        if found:
            old = await repository.contains(base, [_first_line(each.text) for each in found])
            found = [each for each in found if _first_line(each.text) not in old]
        key = await asyncio.to_thread(fingerprint_key, self._home)
        leaks = [Leak(each.path, each.line, each.kind, _fingerprint(key, each.value)) for each in found]
        if patch.cut:
            leaks.append(Leak("the rest of the change", 0, _TOO_BIG, _fingerprint(key, commit)))
        if not leaks:
            return ()
        released = await self._records.secrets_released(repository.name)
        return tuple(leak for leak in dict.fromkeys(leaks) if leak.fingerprint not in released)

    async def masked(self, text: str) -> str:
        """``text``, a patch for instance, without values of ``.env`` and what the rule set takes for a secret."""
        text = self._records.redact(text) if self._records.redact else text
        for match in sorted(await rules.matches(text), key=lambda match: -len(match.text)):
            text = text.replace(match.text, mark(match.rule))
        return text

    async def _found(self, changed: list[AddedLines]) -> list[Sighting]:
        values = {name: value for name in self._env if (value := self._env.get(name))}
        ours = await asyncio.to_thread(lambda: [each for file in changed for each in known.find(values, file)])
        places = [(file, at) for file in changed for at in range(len(file.lines))]
        text = "\n".join(file.lines[at] for file, at in places)
        for match in await rules.matches(text):
            file, at = places[min(match.line, len(places)) - 1]
            if not any(_same(match.text, each) for each in ours):
                ours.append(Sighting(file.path, file.numbers[at], match.rule, match.text, match.text))
        return ours


def fingerprint_key(home: Path) -> bytes:
    """The key of a home's fingerprints, made when first needed. Raises ``DiskFull`` or ``Unavailable``."""
    path = _key_file(home)
    if not path.exists():
        with files.writing("make the key of the fingerprints", path):
            path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
            files.create_durably(path, os.urandom(32))  # two changes may need it at once
    return path.read_bytes()


def has_fingerprint_key(home: Path) -> bool:
    """Whether there is one."""
    return _key_file(home).exists()


def _key_file(home: Path) -> Path:
    return home / "keys" / "fingerprint.key"


def _same(text: str, ours: Sighting) -> bool:
    return text in ours.text or ours.text in text or ours.value in text


def _first_line(text: str) -> str:
    """The line of a secret that tells it best: a key's header is the same for all keys."""
    return max(text.splitlines(), key=len, default=text)


def _fingerprint(key: bytes, value: str) -> str:
    return hmac.new(key, value.encode("utf-8", "surrogatepass"), "sha256").hexdigest()[:32]
