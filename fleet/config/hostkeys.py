"""A machine's public host key, as people copy it: from its file, or from ``ssh-keyscan`` and ``known_hosts``."""

from __future__ import annotations

import base64
import binascii
from itertools import pairwise
from typing import Final

_BEST: Final = "ssh-ed25519"


def pinned(text: str) -> str:
    """The key as ``TYPE BASE64``; empty when there is none.

    ``ssh-keyscan`` writes one line for each type, with the host before it: Ed25519 is taken where there is one.
    """
    found = [key for line in text.splitlines() if (key := _key(line.split()))]
    return next((key for key in found if key.startswith(f"{_BEST} ")), found[0] if found else "")


def _key(words: list[str]) -> str:
    for kind, blob in pairwise(words[:3]):
        if _belongs(kind, blob):
            return f"{kind} {blob}"
    return ""


def _belongs(kind: str, blob: str) -> bool:
    try:
        data = base64.b64decode(blob, validate=True)
    except (binascii.Error, ValueError):
        return False
    name = kind.encode()
    return data[:4] == len(name).to_bytes(4, "big") and data[4 : 4 + len(name)] == name
