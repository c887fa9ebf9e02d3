"""What happens after an edit of ``fleet.toml``."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from bot.reload import LiveConfig
from bot.standing import Standing
from fleet.events import ConfigReloaded, Source
from fleet.flight.dispatcher import Dispatcher
from fleet.flight.services import Services
from fleet.machines.executors import Executors
from fleet.model import AIRBOSS
from fleet.store import ledger


@dataclass(frozen=True, slots=True)
class Reloads:
    """Tells every part that needs to know."""

    config: LiveConfig
    services: Services
    executors: Executors
    dispatcher: Dispatcher
    standing: Standing
    open_console: Callable[[], None]

    async def run(self) -> None:
        """Until cancelled."""
        await self.config.watch(self.changed)

    async def changed(self) -> None:
        """Applies it, and records that it was."""
        self.executors.reconfigure(self.config())
        self.open_console()
        if self.standing.behind:
            return  # a store that was restored gets no entry before its reset
        sha256 = self.config.sha256
        await self.services.store.write(
            lambda tx: ledger.append(tx, ConfigReloaded(sha256), actor=AIRBOSS, source=Source.CONTROLLER)
        )
        self.dispatcher.wake()
