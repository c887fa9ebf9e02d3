"""Backups by schedule: one when the newest is too old, and only so many stay."""

from __future__ import annotations

import asyncio
import logging
import re
import shutil
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Final

from bot.local.backup import written
from fleet import files
from fleet.config import FleetConfig
from fleet.config.backups import BackupConfig
from fleet.config.values import duration_us
from fleet.errors import AirbossError, Unavailable
from fleet.ports import Clock

_log = logging.getLogger(__name__)

_LOOK_S: Final = 60.0
_AGAIN_US: Final = 600_000_000
"""After one failed, so long until the next try."""

_NAME: Final = re.compile(r"airboss-(\d{8}T\d{6}Z)\.tar\.gz")
_FORMAT: Final = "%Y%m%dT%H%M%SZ"


@dataclass(slots=True)
class Backups:
    """A component of the controller."""

    config: Callable[[], FleetConfig]
    home: Path
    clock: Clock
    failed: str = ""
    _tried_us: int = field(default=0)

    async def run(self) -> None:
        """Until cancelled."""
        while True:
            await self.look()
            await self.clock.sleep(_LOOK_S)

    def trouble(self) -> str:
        """Why the last one failed; empty when it did not."""
        return self.failed

    async def look(self) -> None:
        """Makes one if it is time."""
        wanted, now = self.config().backup, self.clock.now_us()
        if not wanted.directory:
            self.failed = ""
            return
        if self.failed and now - self._tried_us < _AGAIN_US:
            return
        self._tried_us = now
        try:
            await self._make(wanted, now)
        except AirbossError as error:
            self.failed = f"no backup was made: {error}"
            _log.warning("%s", self.failed)
        else:
            self.failed = ""

    async def _make(self, wanted: BackupConfig, now: int) -> None:
        directory, every = Path(wanted.directory), duration_us(wanted.every)
        made = await asyncio.to_thread(_listed, directory)
        newest, at = made[-1] if made else (0, directory)
        if newest > now + every:
            cause = "by this clock it is from the future"
            hint = "Check the clock. If it is right, remove that file."
            raise Unavailable(attempted="tell how old the newest backup is", on=str(at), cause=cause, hint=hint)
        if made and now < newest + every:
            return  # also while the clock is behind it, after it was set back
        await asyncio.to_thread(_clear, directory)
        moment = datetime.fromtimestamp(now / 1_000_000, UTC)
        await written(self.home, directory / f"airboss-{moment.strftime(_FORMAT)}.tar.gz")
        await asyncio.to_thread(_prune, directory, wanted.keep)


def _listed(directory: Path) -> list[tuple[int, Path]]:
    """Those that have our names, each with its time, the oldest first. The folder is made, for our login alone."""
    with files.writing("list the backups", directory):
        directory.mkdir(mode=0o700, parents=True, exist_ok=True)
        named = [(_time_of(path.name), path) for path in directory.iterdir()]
    return sorted((at, path) for at, path in named if at is not None)


def _clear(directory: Path) -> None:
    """Removes what backups left that were cut short: each is a copy of the home, with its keys."""
    for path in directory.glob(".airboss-*.tar.gz.*"):
        if _time_of(path.name[1:].rpartition(".")[0]) is not None:
            shutil.rmtree(path, ignore_errors=True)


def _prune(directory: Path, keep: int) -> None:
    for _, old in _listed(directory)[:-keep]:
        with files.writing("remove an old backup", old):
            old.unlink(missing_ok=True)


def _time_of(name: str) -> int | None:
    """When a backup of this name was made, in microseconds; none for a name that is not ours."""
    found = _NAME.fullmatch(name)
    try:
        return found and int(datetime.strptime(found[1], _FORMAT).replace(tzinfo=UTC).timestamp() * 1_000_000)
    except ValueError:
        return None
