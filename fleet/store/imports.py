"""What was imported from agents' session files: each fact once, in the transaction that appends it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from sqlalchemy import bindparam, insert, select

from fleet.events import Refs, Source, ToolCallEnded, ToolCallStarted
from fleet.imports import Fact, ImportedAgent
from fleet.store import ledger, reconciling
from fleet.store.core import Tx
from fleet.store.figure_tables import imported
from fleet.store.ledger import Entry
from fleet.store.reconciling import Watched

_HAS = select(imported.c.key).where(imported.c.key == bindparam("of"))


@dataclass(frozen=True, slots=True)
class ImportCounts:
    """How many facts were new, and how many the ledger had: from an import, or from the controller itself."""

    added: int = 0
    known: int = 0

    def __add__(self, other: ImportCounts) -> ImportCounts:
        return ImportCounts(self.added + other.added, self.known + other.known)


def add(tx: Tx, agent: ImportedAgent, machine: str, facts: Sequence[Fact], actor: str) -> ImportCounts:
    """Appends the facts that the ledger does not have. Their session is named after the agent's own id."""
    keys = list(dict.fromkeys(fact.key for fact in facts))
    seen = set(tx.connection.execute(select(imported.c.key).where(imported.c.key.in_(keys))).scalars())
    watched = reconciling.watched(tx, (fact.conversation for fact in facts))
    fresh = []
    for fact in facts:
        if fact.key not in seen and not _was_watched(fact, watched):
            fresh.append(fact)
            seen.add(fact.key)
    if fresh:
        tx.connection.execute(insert(imported), [{"key": fact.key} for fact in fresh])
        ledger.append_all(tx, [_entry(agent, machine, fact, actor) for fact in fresh])
    if watched:
        reconciling.compare(tx, agent, facts, watched)
    return ImportCounts(len(fresh), len(facts) - len(fresh))


def recorded(tx: Tx, key: str) -> None:
    """What the ledger has by other means is not imported again from a file."""
    if tx.connection.execute(_HAS, {"of": key}).one_or_none() is None:
        tx.connection.execute(insert(imported), {"key": key})


def _entry(agent: ImportedAgent, machine: str, fact: Fact, actor: str) -> Entry:
    refs = Refs(session=f"{agent}:{fact.conversation}", machine=machine)
    return Entry(fact.event, actor, Source.IMPORT, refs, fact.time_us)


def _was_watched(fact: Fact, watched: dict[str, Watched]) -> bool:
    seen = watched.get(fact.conversation)
    if seen is None:
        return False
    return not isinstance(fact.event, ToolCallStarted | ToolCallEnded) or fact.event.call in seen.calls
