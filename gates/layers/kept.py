"""The results of bases, kept in ``AIRBOSS_HOME/gates/baselines``: the next change then needs no run of its base."""

from __future__ import annotations

import contextlib
import hashlib
import os
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import msgspec

from fleet import files
from gates.layers.report import Baseline

MOST: Final = 200


@dataclass(frozen=True, slots=True)
class KeptBaselines:
    """Baselines by what they depend on. Only the ``MOST`` that were used last are kept."""

    folder: Path

    def get(self, parts: Sequence[str]) -> Baseline | None:
        """The baseline of these parts; ``None`` when there is none that can be read."""
        path = self._path(parts)
        try:
            found = msgspec.json.decode(path.read_bytes(), type=Baseline)
            os.utime(path)
        except (OSError, msgspec.DecodeError):
            return None
        return found

    def put(self, parts: Sequence[str], baseline: Baseline) -> None:
        """Keeps a baseline, and removes the oldest. Raises ``DiskFull``."""
        path = self._path(parts)
        with files.writing("keep the base's test results", path):
            self.folder.mkdir(parents=True, exist_ok=True)
            files.replace(path, msgspec.json.encode(baseline))
        with contextlib.suppress(OSError):  # of two that remove the same
            for old in sorted(self.folder.glob("*.json"), key=_used, reverse=True)[MOST:]:
                old.unlink(missing_ok=True)

    def _path(self, parts: Sequence[str]) -> Path:
        return self.folder / f"{hashlib.sha256(chr(0).join(parts).encode()).hexdigest()}.json"


def _used(path: Path) -> int:
    return path.stat().st_mtime_ns
