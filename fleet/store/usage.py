"""What agents used, kept in the transaction that appends the events, so that a limit is checked without the ledger.

``fleet.usage.UsageCounter`` defines what is counted; ``tests/recount.py`` computes the same from the ledger.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Collection, Iterable
from dataclasses import fields
from typing import Final

from sqlalchemy import bindparam, delete, select

from fleet.budgets import Scope
from fleet.events import (
    BudgetGranted,
    PipeEnded,
    Recorded,
    Source,
    ToolCallStarted,
    TurnClosed,
    TurnClosedV1,
    TurnStarted,
    UsageReported,
)
from fleet.store.core import Tx
from fleet.store.statements import Statement, adding
from fleet.store.tables import sessions, tasks, turns
from fleet.store.usage_tables import budget_grants, unpriced_usage, usage
from fleet.usage import ATTEMPTS, Usage, UsageKey, Whose, grant_slot, slot_of, turn_time

_COUNTED = (UsageReported, ToolCallStarted, TurnStarted, TurnClosed, TurnClosedV1, PipeEnded, BudgetGranted)
FIELDS: Final = tuple(field.name for field in fields(Usage))
_WHOSE = Statement(
    select(sessions.c.agent, tasks.c.id, tasks.c.repo, tasks.c.requester)
    .join(tasks, tasks.c.id == sessions.c.task)
    .where(sessions.c.id == bindparam("session"))
)
_BEGAN = Statement(select(turns.c.started_us).where(turns.c.id == bindparam("turn")))
_MINE = unpriced_usage.c.session == bindparam("whose")
_UNPRICED = Statement(select(unpriced_usage.c.slot, unpriced_usage.c.input, unpriced_usage.c.output).where(_MINE))
_PRICED = Statement(delete(unpriced_usage).where(_MINE))
_ADD, _OWE, _GRANT = adding(usage), adding(unpriced_usage), adding(budget_grants)


def count(tx: Tx, events: Iterable[Recorded]) -> None:
    """Counts events that are being appended, in order."""
    taken: defaultdict[tuple[Whose, int], Usage] = defaultdict(Usage)
    calls: Counter[tuple[str, int]] = Counter()
    known: dict[str, Whose | None] = {}
    for recorded in events:
        if recorded.source is Source.IMPORT or not isinstance(recorded.event, _COUNTED):
            continue
        if isinstance(recorded.event, ToolCallStarted):
            calls[recorded.refs.session, slot_of(recorded.time_us)] += 1
        else:
            _count(tx, recorded, known, taken)
    for (session, slot), number in calls.items():
        if (whose := _whose(tx, session, known)) is not None:
            taken[whose, slot] += Usage(calls=number)
    added: defaultdict[UsageKey, Usage] = defaultdict(Usage)
    for (whose, slot), amount in taken.items():
        for key in whose.keys(slot):
            added[key] += amount
    adding = [{**key.row(), **amount.amounts()} for key, amount in sorted(added.items()) if amount]
    if adding:
        _ADD.many(tx.connection, adding)


def _whose(tx: Tx, session: str, known: dict[str, Whose | None]) -> Whose | None:
    """Whose use a session's is; ``None``: no session of a task. It does not change while events are appended."""
    if session not in known:
        row = _WHOSE.one(tx.connection, {"session": session})
        known[session] = None if row is None else Whose(*row)
    return known[session]


def _count(
    tx: Tx, recorded: Recorded, known: dict[str, Whose | None], taken: defaultdict[tuple[Whose, int], Usage]
) -> None:
    at, refs, event = recorded.time_us, recorded.refs, recorded.event
    if isinstance(event, BudgetGranted):
        _GRANT.run(tx.connection, {**event.body(), "slot": grant_slot(Scope(event.scope), at)})
        return
    whose = _whose(tx, refs.session, known)
    if whose is None:
        return
    for slot, amount in _taken(tx, recorded, at, refs.session, refs.turn):
        taken[whose, slot] += amount


def _taken(tx: Tx, recorded: Recorded, at: int, session: str, turn: str) -> list[tuple[int, Usage]]:
    """What an event adds, by quarter of an hour."""
    slot = slot_of(at)
    match recorded.event:
        case UsageReported() as used if used.cost_udollar:
            before = _UNPRICED.all(tx.connection, {"whose": session})
            _PRICED.run(tx.connection, {"whose": session})
            priced = [(row.slot, Usage(unpriced_input=-row.input, unpriced_output=-row.output)) for row in before]
            return [*priced, (slot, Usage(used.cost_udollar, used.input_tokens, used.output_tokens))]
        case UsageReported(input_tokens=input_, output_tokens=output):
            _OWE.run(tx.connection, {"session": session, "slot": slot, "input": input_, "output": output})
            return [(slot, Usage(0, input_, output, input_, output))]
        case TurnStarted(cause=cause) if cause in ATTEMPTS:
            return [(slot, Usage(attempts=1))]
        case TurnClosed() | TurnClosedV1():
            began = _BEGAN.one(tx.connection, {"turn": turn})
            return [] if began is None else list(turn_time(began.started_us, at))
        case PipeEnded():
            _PRICED.run(tx.connection, {"whose": session})
    return []


def used(tx: Tx, scope: Scope, names: Collection[str], since_us: int = 0) -> dict[str, Usage]:
    """What was used from then on, by agent. ``names``: all ids of a person, or one name."""
    query = select(usage.c.agent, *(usage.c[name] for name in FIELDS)).where(
        usage.c.scope == str(scope), usage.c.name.in_(list(names)), usage.c.slot >= slot_of(since_us)
    )
    found: defaultdict[str, Usage] = defaultdict(Usage)
    for agent, *amounts in tx.connection.execute(query):
        found[agent] += Usage(*amounts)
    return dict(found)


def names_since(tx: Tx, scope: Scope, since_us: int) -> list[str]:
    """The persons or repositories that used something from then on."""
    query = select(usage.c.name).where(usage.c.scope == str(scope), usage.c.slot >= slot_of(since_us))
    return sorted(set(tx.connection.execute(query).scalars()))


def granted(tx: Tx, scope: Scope, names: Collection[str], since_us: int = 0) -> dict[str, int]:
    """What people added to limits from then on, by measure."""
    query = select(budget_grants.c.measure, budget_grants.c.amount).where(
        budget_grants.c.scope == str(scope),
        budget_grants.c.name.in_(list(names)),
        budget_grants.c.slot >= slot_of(since_us),
    )
    found: Counter[str] = Counter()
    for measure, amount in tx.connection.execute(query):
        found[measure] += amount
    return dict(found)


def at_work(tx: Tx) -> list[tuple[str, str, str, int]]:
    """The task, its person, its repository and the start of each turn that runs."""
    query = (
        select(tasks.c.id, tasks.c.requester, tasks.c.repo, turns.c.started_us)
        .select_from(sessions)
        .join(tasks, tasks.c.id == sessions.c.task)
        .join(turns, turns.c.session == sessions.c.id)
        .where(sessions.c.ended_us == 0, turns.c.ended_us == 0)
    )
    return [tuple(row) for row in tx.connection.execute(query)]
