"""Openings before outcomes: a gate's opening is under a signed checkpoint before the gate runs.

With witnesses, each is asked to sign it, and the ledger says who did before the run. Where ``witnesses_needed``
asks for more than did, the gate does not run, so nothing lands.
"""

from __future__ import annotations

import logging
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

from fleet.clock import SystemClock
from fleet.config import FleetConfig
from fleet.errors import DiskFull, Unavailable
from fleet.events import GateWitnessed
from fleet.ports import Clock
from fleet.store import gates as gate_runs
from fleet.store.core import Store
from fleet.supervise import retry_while_store_is_away
from gates.receipts.checkpoints import Checkpoints
from gates.receipts.issue import issue_gate
from gates.witness.asking import Witnesses

_HOUR_S: Final = 3_600.0

log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Openings:
    """Keeps a checkpoint of each opening and each close."""

    store: Store
    config: Callable[[], FleetConfig]
    witnesses: Witnesses
    clock: Clock = field(default_factory=SystemClock)

    @classmethod
    def of(cls, store: Store, config: Callable[[], FleetConfig], home: Path) -> Openings:
        """Those of a home."""
        return cls(store, config, Witnesses(store, Checkpoints(store, home), lambda: config().witnesses))

    async def opened(self, run_id: str) -> None:
        """The run is opened, and may begin once this returns. Waits for the store: a run that was opened and not
        begun cannot be told from one that is lost.

        Raises ``DiskFull`` or ``Unavailable`` where no checkpoint could be kept, or too few witnesses signed.
        """
        await retry_while_store_is_away(lambda: self._witnessed(run_id), self.clock)

    async def _witnessed(self, run_id: str) -> None:
        seen = await self.witnesses.sign()
        config = self.config()
        if not config.witnesses:
            return
        point = seen.point
        event = GateWitnessed(point.size, point.root.hex(), seen.witnesses, seen.missing, seen.note)
        await self.store.write(lambda tx: gate_runs.record_witnessed(tx, run_id, event))
        signed, needed = len(seen.witnesses), config.witnesses_needed
        if signed < needed:
            raise Unavailable(
                attempted="have the opening of the gate witnessed",
                on=run_id,
                cause=f"{signed} signed, {needed} must ({'; '.join(seen.missing)})",
                hint="Try again when they answer, or change witnesses_needed in fleet.toml.",
            )

    async def hourly(self, clock: Clock) -> None:
        """Until cancelled: an hour after the last one, a checkpoint that the witnesses sign too."""
        while True:
            await clock.sleep(_HOUR_S)
            try:
                await self.witnesses.sign()
            except (DiskFull, Unavailable) as error:
                log.warning("a checkpoint is missing: %s", error)

    async def closed(self, run_id: str, task: str) -> None:
        """The run has its end in the ledger."""
        await self.witnesses.checkpoints.try_to_keep()
        await issue_gate(self.store, self.witnesses.checkpoints.home, run_id, task)
