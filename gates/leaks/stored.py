"""Which secrets people released, by a store's ledger."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Final

from fleet.agent_events import TurnOutcome
from fleet.events import Recorded, SecretsReleased, Source, TurnClosed
from fleet.model import TaskMode
from fleet.store import ledger, tasks
from fleet.store.core import Store, Tx
from gates.leaks import rules

_PAGE: Final = 500


def foreseen(tx: Tx, recorded: Recorded) -> None:
    """An observer of the ledger: once a turn is completed, its change will be searched."""
    event, task = recorded.event, recorded.refs.task
    completed = isinstance(event, TurnClosed) and event.outcome == TurnOutcome.COMPLETED
    if completed and task and recorded.source is not Source.IMPORT and tasks.task(tx, task).mode is TaskMode.CHANGE:
        tx.after_commit(rules.SEARCHES.prepare)


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
