"""Which secrets people released, by a store's ledger."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from functools import partial
from math import inf
from typing import Final

from fleet.agent_events import TurnOutcome
from fleet.events import Recorded, SecretsReleased, SessionPlacedV2, Source, TurnClosed
from fleet.model import TaskMode
from fleet.store import ledger, sessions, tasks
from fleet.store.core import Store, Tx
from gates.leaks import rules

_PAGE: Final = 500


def foreseen(tx: Tx, recorded: Recorded) -> None:
    """An observer of the ledger: once a turn is completed, its change will be searched. That of a quick agent will
    be soon after its session began."""
    event, refs, searches = recorded.event, recorded.refs, rules.SEARCHES
    if recorded.source is Source.IMPORT or not isinstance(event, TurnClosed | SessionPlacedV2):
        return
    if not refs.task or tasks.task(tx, refs.task).mode is not TaskMode.CHANGE:
        return
    if isinstance(event, SessionPlacedV2):
        tx.after_commit(partial(searches.session_began, event.agent))
        return
    completed, session = event.outcome == TurnOutcome.COMPLETED, sessions.session(tx, refs.session)
    seconds = (tx.now_us() - session.started_us) / 1_000_000 if completed else inf
    tx.after_commit(partial(searches.session_took, session.agent, seconds))
    if completed:
        tx.after_commit(searches.prepare)


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
