"""``fleet.toml`` as it is now: read once, watched while ``serve`` runs, replaced only by one that is valid."""

from __future__ import annotations

import asyncio
import hashlib
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Final

from fleet.config import FleetConfig, load_fleet
from fleet.config.home import FLEET_FILE
from fleet.errors import AirbossError

_EVERY_S: Final = 1.0


class LiveConfig:
    """Call it for the configuration in force. An edit that does not validate changes nothing."""

    def __init__(self, home: Path) -> None:
        self.path = home / FLEET_FILE
        self._stamp = self._look()
        self._config = load_fleet(self.path)

    def __call__(self) -> FleetConfig:
        """The configuration in force."""
        return self._config

    @property
    def sha256(self) -> str:
        """Of the file as it stands; what a reload writes into the ledger."""
        return hashlib.sha256(self.path.read_bytes()).hexdigest()

    async def watch(
        self, changed: Callable[[], Awaitable[None]], refused: Callable[[AirbossError], Awaitable[None]]
    ) -> None:
        """Until cancelled: calls ``changed`` after each valid edit, ``refused`` once for each invalid one."""
        while True:
            await asyncio.sleep(_EVERY_S)
            stamp = self._look()
            if stamp == self._stamp:
                continue
            self._stamp = stamp
            try:
                self._config = await asyncio.to_thread(load_fleet, self.path)
            except AirbossError as error:
                await refused(error)
            else:
                await changed()

    def _look(self) -> tuple[int, int, int]:
        try:
            found = self.path.stat()
        except FileNotFoundError:
            return (0, 0, 0)
        return (found.st_mtime_ns, found.st_size, found.st_ino)
