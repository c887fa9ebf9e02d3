"""What looks like a secret in a change: where it is and how it is remembered, never the value."""

from __future__ import annotations

import json
from collections.abc import Iterable
from dataclasses import astuple, dataclass
from typing import Final

REASONS: Final = ("adds a secret: ", "may add a secret: ")
"""How the reason of a change begins that is held for a secret, and for what was not searched."""
_UNSEARCHED: Final = "not searched: "


@dataclass(frozen=True, slots=True)
class Leak:
    """A secret in an added line. ``kind`` is the rule that found it or a name of ``.env``; ``fingerprint`` is a
    keyed hash of the value. Line 0: it is in the path, or the change could not be searched."""

    path: str
    line: int
    kind: str
    fingerprint: str

    @property
    def unsearched(self) -> bool:
        """Whether nothing was found, and nobody looked."""
        return self.kind.startswith(_UNSEARCHED)

    @property
    def reason(self) -> str:
        """Why a change is held for it."""
        return f"{REASONS[self.unsearched]}{self}"

    def __str__(self) -> str:
        if self.unsearched:
            return f"{self.path} was {self.kind}"
        where = f"{self.path}:{self.line}" if self.line else self.path
        return f"{where} ‹redacted:{self.kind}›"


def to_json(leaks: Iterable[Leak]) -> str:
    """The form the store keeps; empty for none."""
    plain = [astuple(leak) for leak in leaks]
    return json.dumps(plain, ensure_ascii=True, separators=(",", ":")) if plain else ""


def from_json(text: str) -> tuple[Leak, ...]:
    """The inverse of :func:`to_json`."""
    return tuple(Leak(*fields) for fields in json.loads(text)) if text else ()
