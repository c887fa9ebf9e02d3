"""Backups by schedule: one when the newest is too old, and only so many stay."""

from __future__ import annotations

import asyncio
import logging
import re
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Final

from bot.local.backup import written
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
        directory = Path(wanted.directory)
        made = await asyncio.to_thread(_listed, directory)
        newest = _time_of(made[-1]) if made else 0
        if made and now < newest + duration_us(wanted.every):
            return  # also while the clock is behind it, after it was set back
        at = datetime.fromtimestamp(now / 1_000_000, UTC)
        await written(self.home, directory / f"airboss-{at.strftime(_FORMAT)}.tar.gz")
        for old in (await asyncio.to_thread(_listed, directory))[: -wanted.keep]:
            await asyncio.to_thread(old.unlink, missing_ok=True)


def _listed(directory: Path) -> list[Path]:
    """Those that have our names, the oldest first. The folder is made, for our login alone."""
    try:
        directory.mkdir(mode=0o700, parents=True, exist_ok=True)
        return sorted(path for path in directory.iterdir() if _NAME.fullmatch(path.name))
    except OSError as error:
        raise Unavailable(
            attempted="list the backups", on=str(directory), cause=error.strerror or str(error)
        ) from error


def _time_of(path: Path) -> int:
    found = _NAME.fullmatch(path.name)
    assert found is not None
    return int(datetime.strptime(found[1], _FORMAT).replace(tzinfo=UTC).timestamp() * 1_000_000)
