"""Which secrets people released, by a store's ledger."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Final

from fleet.events import SecretsReleased
from fleet.store import ledger
from fleet.store.core import Store, Tx

_PAGE: Final = 500


class SecretsInStore:
    """Implements ``gates.leaks.search.SecretRecords``."""

    def __init__(self, store: Store) -> None:
        self.store = store

    @property
    def redact(self) -> Callable[[str], str] | None:
        return self.store.redact

    async def secrets_released(self, repo: str) -> frozenset[str]:
        return await self.store.read(lambda tx: _released(tx, repo))


def _released(tx: Tx, repo: str) -> frozenset[str]:
    """The fingerprints that people released for a repository."""
    found: set[str] = set()
    after = 0
    while page := ledger.read(tx, after, _PAGE, kinds=(SecretsReleased.KIND,)):
        events: Iterable[object] = (recorded.event for recorded in page)
        found |= {
            each
            for event in events
            if isinstance(event, SecretsReleased) and event.repo == repo
            for each in event.fingerprints
        }
        after = page[-1].seq
    return frozenset(found)
