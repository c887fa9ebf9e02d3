"""Checkpoints that were signed: a note for each, in a folder outside the store.

The controller keeps one before a gate runs and after it closed, and every hour, in ``AIRBOSS_HOME/checkpoints``. A
store that was restored, or written anew, differs from them. A witness keeps its own.
"""

from __future__ import annotations

import asyncio
import logging
import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from fleet import files
from fleet.errors import AirbossError, Malformed
from fleet.store import tree
from fleet.store.core import Store
from gates.receipts import note, sshsig
from gates.receipts.checkpoint import Checkpoint

FOLDER: Final = "checkpoints"
MOST: Final = 2_000
"""So many are kept, the newest ones."""

_NAME: Final = re.compile(r"(\d{12,16})-[0-9a-f]{8}\.note")

log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class NoteFolder:
    """Notes of checkpoints, by their size and root."""

    path: Path

    def put(self, point: Checkpoint, whole: str) -> Path:
        """Keeps a note, durably; an older one of the same checkpoint is replaced. Raises ``DiskFull`` or
        ``Unavailable``."""
        file = self._file(point)
        with files.writing("write the checkpoint", file):
            self.path.mkdir(mode=0o700, parents=True, exist_ok=True)
            files.replace_durably(file, whole.encode())
            for old in self._listed()[:-MOST]:
                old.unlink(missing_ok=True)
        return file

    def has(self, point: Checkpoint) -> bool:
        """Whether there is a note of it."""
        return self._file(point).exists()

    def newest_first(self) -> Iterator[tuple[Checkpoint, str]]:
        """The checkpoints with their notes, the largest first. What is malformed is left out."""
        for path in reversed(self._listed()):
            try:
                whole = path.read_text(encoding="utf-8")
                yield Checkpoint.parse(note.SignedNote.parse(whole).text), whole
            except (OSError, UnicodeError, Malformed) as error:
                log.warning("%s is no checkpoint: %s", path, error)

    def _file(self, point: Checkpoint) -> Path:
        return self.path / f"{point.size:012}-{point.root.hex()[:8]}.note"

    def _listed(self) -> list[Path]:
        found = ((_NAME.fullmatch(path.name), path) for path in self.path.glob("*.note"))
        return [path for _, path in sorted((int(named[1]), path) for named, path in found if named)]


@dataclass(frozen=True, slots=True)
class Checkpoints:
    """Keeps checkpoints of a store in its home."""

    store: Store
    home: Path

    @property
    def folder(self) -> NoteFolder:
        """Where they are."""
        return NoteFolder(self.home / FOLDER)

    async def keep(self) -> tuple[Checkpoint, str]:
        """Signs the ledger's end, durably: the checkpoint and its note. Raises ``DiskFull`` or ``Unavailable``
        when it cannot be written."""
        grown = await self.store.read(tree.frontier)
        point = Checkpoint(self.store.instance, grown.size, grown.root())
        return point, await asyncio.to_thread(self._write, point)

    async def try_to_keep(self) -> None:
        """The same, where nothing depends on it."""
        try:
            await self.keep()
        except AirbossError as error:
            log.warning("a checkpoint is missing: %s", error)

    def _write(self, point: Checkpoint) -> str:
        with files.writing("sign a checkpoint", self.home / "keys"):
            whole = note.sign(point.text, sshsig.load_or_create(self.home))
        if not self.folder.has(point):
            self.folder.put(point, whole)
        return whole
