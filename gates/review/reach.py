"""Reviewers whose endpoint an agent's login reached when doctor looked last. Reviews by them say so."""

from __future__ import annotations

import json
from collections.abc import Iterable
from pathlib import Path
from typing import Final

from fleet import files

WORDS: Final = "agents can reach its endpoint"
_KEPT: Final = "reviewers-reached.json"


def keep(home: Path, names: Iterable[str]) -> None:
    """Keeps which ones. Raises ``DiskFull``."""
    path = home / _KEPT
    with files.writing("keep what doctor found", path):
        files.replace(path, json.dumps(sorted(names)).encode())


def reached(home: Path) -> frozenset[str]:
    """Which ones; none where doctor never looked."""
    try:
        kept = json.loads((home / _KEPT).read_bytes())
    except (OSError, ValueError):
        return frozenset()
    return frozenset(map(str, kept)) if isinstance(kept, list) else frozenset()
