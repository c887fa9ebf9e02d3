"""What ``git push --porcelain`` says, for people."""

from __future__ import annotations

import re
from typing import Final

from fleet.untrusted import shortened

_LIMIT: Final = 400
_REASON: Final = re.compile(r"\[remote rejected\] \((.+)\)")


def rejection(words: str) -> str:
    """Why a repository did not take a push: its own reason, and what its hooks said."""
    told = [line.removeprefix("remote:").strip() for line in words.splitlines() if line.startswith("remote:")]
    parts = dict.fromkeys(part for part in (*_REASON.findall(words)[:1], *told) if part)
    return failure("; ".join(parts) or words)


def failure(words: str) -> str:
    """Git's words, where it is not known what they mean."""
    return shortened(words.strip(), _LIMIT)
