"""What was imported from agents' session files: each fact once, in the transaction that appends it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from sqlalchemy import insert, select

from fleet.events import Refs, Source, ToolCallEnded, ToolCallStarted
from fleet.imports import Fact, ImportedAgent
from fleet.store import ledger
from fleet.store.core import Tx
from fleet.store.ledger import Entry
from fleet.store.tables import imported, sessions


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
    watched = _watched(tx, facts)
    fresh = []
    for fact in facts:
        if fact.key not in seen and not _was_watched(fact, watched):
            fresh.append(fact)
            seen.add(fact.key)
    if fresh:
        tx.connection.execute(insert(imported), [{"key": fact.key} for fact in fresh])
        ledger.append_all(tx, [_entry(agent, machine, fact, actor) for fact in fresh])
    return ImportCounts(len(fresh), len(facts) - len(fresh))


def _entry(agent: ImportedAgent, machine: str, fact: Fact, actor: str) -> Entry:
    refs = Refs(session=f"{agent}:{fact.conversation}", machine=machine)
    return Entry(fact.event, actor, Source.IMPORT, refs, fact.time_us)


def _watched(tx: Tx, facts: Sequence[Fact]) -> dict[str, set[str]]:
    """The sessions among these that this controller ran itself, with the calls that it saw."""
    wanted = {fact.conversation for fact in facts}
    rows = tx.connection.execute(
        select(sessions.c.id, sessions.c.task, sessions.c.resume).where(sessions.c.resume.in_(wanted))
    )
    found: dict[str, set[str]] = {}
    for session, task, conversation in rows.all():
        calls, after = found.setdefault(conversation, set()), 0
        while page := ledger.read(tx, after, kinds=(ToolCallStarted.KIND,), task=task):
            after = page[-1].seq
            calls |= {
                each.event.call
                for each in page
                if each.refs.session == session and isinstance(each.event, ToolCallStarted)
            }
    return found


def _was_watched(fact: Fact, watched: dict[str, set[str]]) -> bool:
    calls = watched.get(fact.conversation)
    if calls is None:
        return False
    return not isinstance(fact.event, ToolCallStarted | ToolCallEnded) or fact.event.call in calls
