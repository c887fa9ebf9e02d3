"""What is recorded of setups in a store."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import AbstractAsyncContextManager

from fleet.events import Event, Refs, SetupBroke, SetupBuilt, Source
from fleet.model import AIRBOSS
from fleet.one_controller import between_controllers
from fleet.setup.site import SetupFailed, WantedSetup
from fleet.store import ledger
from fleet.store.core import Store


class SetupsInStore:
    """Implements ``fleet.setup.site.SetupRecords``."""

    def __init__(self, store: Store) -> None:
        self.store = store

    @property
    def instance(self) -> str:
        return self.store.instance

    @property
    def redact(self) -> Callable[[str], str] | None:
        return self.store.redact

    def alone(self, name: str) -> AbstractAsyncContextManager[None]:
        return between_controllers(self.store, name)

    async def built(self, wanted: WantedSetup, content: str, user: str, took_us: int, refs: Refs) -> None:
        setup = wanted.setup
        event = SetupBuilt(setup.name, wanted.commit, setup.sha256, wanted.inputs_sha256, content, user, took_us)
        await self._append(event, refs)

    async def broke(self, wanted: WantedSetup, user: str, failed: SetupFailed, refs: Refs) -> None:
        setup = wanted.setup
        event = SetupBroke(setup.name, wanted.commit, setup.sha256, user, failed.cause, failed.lines)
        await self._append(event, refs)

    async def _append(self, event: Event, refs: Refs) -> None:
        await self.store.write(
            lambda tx: ledger.append(tx, event, actor=AIRBOSS, source=Source.CONTROLLER, refs=refs)
        )
