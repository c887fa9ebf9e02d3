"""The current ``fleet.toml`` and ``.env``: watched while ``serve`` runs, replaced only by a valid version."""

from __future__ import annotations

import asyncio
import hashlib
import logging
from collections.abc import Awaitable, Callable, Mapping
from pathlib import Path
from typing import Final

from fleet.config import FleetConfig, MachineConfig, Secrets, load_fleet
from fleet.config.home import FLEET_FILE, SECRETS_FILE
from fleet.config.slots import with_slots
from fleet.errors import AirbossError, Misused
from fleet.events import Redact
from fleet.files import content
from fleet.logs import log_redactors
from fleet.ports import Clock
from fleet.redact import Redactor

_log = logging.getLogger(__name__)

_EVERY_S: Final = 1.0
_WRITING_S: Final = 0.2


class LiveConfig:
    """Call it for the current configuration. An invalid edit changes nothing.

    ``in_force``: the hash of the file that it is from. ``invalid_us``: since when the file has been invalid, by the
    controller's clock, 0 while it is valid; ``invalid`` says why.
    """

    def __init__(self, home: Path, clock: Clock) -> None:
        self.path, self._clock = home / FLEET_FILE, clock
        self.invalid_us, self.invalid = 0, ""
        self._stamp = self._look()
        self._file = self._config = load_fleet(self.path)
        self.in_force = self.sha256
        self._slots: Mapping[str, MachineConfig] = {}

    def __call__(self) -> FleetConfig:
        """The current configuration: the file's, and the slots that its pools have."""
        return self._config

    def take(self, machines: Mapping[str, MachineConfig]) -> None:
        """From now on these are the slots."""
        self._slots = machines
        self._config = with_slots(self._file, machines)

    @property
    def sha256(self) -> str:
        """The hash of the file as it is now; a reload writes it into the ledger."""
        return digest_of(self.path)

    async def watch(self, changed: Callable[[], Awaitable[None]]) -> None:
        """Until cancelled: calls ``changed`` after each valid edit, and remembers an invalid one."""
        while True:
            await self._clock.sleep(_EVERY_S)
            stamp = self._look()
            if stamp == self._stamp:
                continue
            stamp = await _written(self.path, self._clock)
            try:
                self._demand_content(stamp)
                self._file = await asyncio.to_thread(load_fleet, self.path)
                self.in_force = await asyncio.to_thread(digest_of, self.path)
                self.take(self._slots)
            except AirbossError as error:
                self.invalid_us, self.invalid = self.invalid_us or self._clock.now_us(), error.cause or str(error)
                _log.error("fleet.toml is invalid; running on the last valid version: %s", error)
            else:
                await changed()
                self.invalid_us, self.invalid = 0, ""
            self._stamp = stamp  # last: if this fails midway, it is done again

    def _demand_content(self, stamp: tuple[int, int, int]) -> None:
        """Raises ``Misused`` for a file that is empty: whoever wrote it was cut off, or their disk is full."""
        if stamp[2] and not stamp[1]:
            raise Misused(attempted="read the configuration", on=str(self.path), cause="fleet.toml is empty")

    def _look(self) -> tuple[int, int, int]:
        return _stamp(self.path)


class LiveSecrets:
    """``.env`` while ``serve`` runs: an edit is taken into ``env``, which everybody holds, and into the redactors.

    Agents that start later get the new values; what a chat's connection uses is read at the start only. Values that
    were in the file stay redacted until this process ends. ``trouble``: why the last edit is not in force.
    """

    def __init__(self, home: Path, clock: Clock, env: Secrets, redact: Redact | None) -> None:
        self._home, self._clock, self._env = home, clock, env
        self._redactors = [redact] if isinstance(redact, Redactor) else []
        self._known = set(env.values())
        self._stamp, self.trouble = _stamp(home / SECRETS_FILE), ""

    async def watch(self) -> None:
        """Until cancelled. A file that cannot be read changes nothing, and is logged."""
        while True:
            await self._clock.sleep(_EVERY_S)
            stamp = _stamp(self._home / SECRETS_FILE)
            if stamp == self._stamp:
                continue
            self._stamp = await _written(self._home / SECRETS_FILE, self._clock)
            await self.take()

    async def take(self) -> None:
        """Takes in what the file says now."""
        try:
            read = await asyncio.to_thread(Secrets.load, self._home)
        except AirbossError as error:
            _log.error(".env cannot be read; its last values stay in force: %s", error)
            self.trouble = f".env cannot be read, and its last values stay in force: {error.cause}"
            return
        self.trouble = ""
        self._known.update(read.values())
        for redactor in (*self._redactors, *log_redactors()):
            redactor.know(self._known)
        self._env.take(read)
        _log.info(".env was read again; it has: %s", ", ".join(sorted(read)) or "nothing")


async def _written(path: Path, clock: Clock) -> tuple[int, int, int]:
    """A file's stamp once two looks agree: many editors empty a file before they write it."""
    stamp = _stamp(path)
    while True:
        await clock.sleep(_WRITING_S)
        if (again := _stamp(path)) == stamp:
            return stamp
        stamp = again


def digest_of(path: Path) -> str:
    """The hash of a file; empty when it cannot be read."""
    try:
        return hashlib.sha256(content(path)).hexdigest()
    except (OSError, Misused):
        return ""


def _stamp(path: Path) -> tuple[int, int, int]:
    try:
        found = path.stat()
    except OSError:  # it is not there, or cannot be reached: reading it says why
        return (0, 0, 0)
    return (found.st_mtime_ns, found.st_size, found.st_ino)
