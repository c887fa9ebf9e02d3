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
    return data.startswith(len(name).to_bytes(4, "big") + name) and _is_whole(data)


def _is_whole(data: bytes) -> bool:
    """A key is a row of strings, each after its length: one that was cut when it was copied ends within one."""
    at = 0
    while at < len(data):
        at += 4 + int.from_bytes(data[at : at + 4], "big")
    return at == len(data)
