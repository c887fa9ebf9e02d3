"""Reads the newest rows without reading the others."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

from sqlalchemy import ColumnElement, bindparam, func, select

from fleet.events import HoldReleased, Recorded, Source, ToolCallEnded, ToolCallStarted, TurnStarted
from fleet.model import Session
from fleet.store import approvals, ledger, rollups
from fleet.store.core import Tx
from fleet.store.statements import Statement
from fleet.store.states import ApprovalKind
from fleet.store.tables import approvals as table
from fleet.store.tables import ledger as rows
from fleet.store.tables import tasks

_BACKWARDS = select(rows.c.seq).order_by(rows.c.seq.desc()).limit(bindparam("most"))
_OF_KIND, _OF_TASK = rows.c.kind == bindparam("named"), rows.c.task == bindparam("of")
#: By what is given: a kind, a task.
_LAST = {
    (False, False): Statement(_BACKWARDS),
    (True, False): Statement(_BACKWARDS.where(_OF_KIND)),
    (False, True): Statement(_BACKWARDS.where(_OF_TASK)),
    (True, True): Statement(_BACKWARDS.where(_OF_KIND, _OF_TASK)),
}
_NATIVE = rows.c.source != str(Source.IMPORT)


def last_events(tx: Tx, count: int, *, kinds: Sequence[str] = (), task: str = "") -> list[Recorded]:
    """The last ``count`` events of these kinds (default: all) and this task, oldest first."""
    # One kind at a time: each of these walks an index backwards and stops.
    mine: dict[str, Any] = {"most": count, **({"of": task} if task else {})}
    each = [{**mine, "named": kind} for kind in kinds] or [mine]
    statement = _LAST[bool(kinds), bool(task)]
    found = sorted(seq for values in each for (seq,) in statement.all(tx.connection, values))
    return ledger.of_numbers(tx, found[-count:])


def in_a_call(tx: Tx, session: Session) -> bool:
    """Whether a tool call of the session's newest turn has not ended. What an earlier turn left open never will."""
    mine = {"most": 1, "named": TurnStarted.KIND, "of": session.task}
    begun = _LAST[True, True].one(tx.connection, mine)
    return rollups.has_open_call(tx, session.id, begun.seq if begun is not None else 0)


def newest_of_each(tx: Tx, of_tasks: Iterable[str], kinds: Sequence[str]) -> dict[str, Recorded]:
    """The last event of these kinds of each of these tasks, by task; two statements in all."""
    newest = [
        select(func.max(rows.c.seq)).where(rows.c.task == tasks.c.id, rows.c.kind == kind).scalar_subquery()
        for kind in kinds
    ]
    found = tx.connection.execute(select(*newest).where(tasks.c.id.in_(list(of_tasks))))
    seqs = [max(given) for row in found if (given := [seq for seq in row if seq is not None])]
    return {each.refs.task: each for each in ledger.of_numbers(tx, seqs)}


def of_each(tx: Tx, of_tasks: Iterable[str], kind: str) -> dict[str, list[Recorded]]:
    """The events of one rare kind of these tasks, by task, oldest first."""
    query = select(rows.c.seq).where(rows.c.task.in_(list(of_tasks)), rows.c.kind == kind)
    grouped: dict[str, list[Recorded]] = {}
    for each in ledger.of_numbers(tx, tx.connection.execute(query).scalars().all()):
        grouped.setdefault(each.refs.task, []).append(each)
    return grouped


def calls_before(tx: Tx, task: str, before: int, limit: int) -> list[Recorded]:
    """The last ``limit`` tool calls of a task that began before this event, newest first."""
    mine = select(rows.c.seq).where(rows.c.task == task, rows.c.kind == ToolCallStarted.KIND, rows.c.seq < before)
    found = tx.connection.execute(mine.order_by(rows.c.seq.desc()).limit(limit)).scalars().all()
    return ledger.of_numbers(tx, found)[::-1]


def first_seq_since(tx: Tx, time_us: int) -> int:
    """The first event at or after a time; one past the end when there is none. What was imported does not count.

    If the store's clock was set back, it is the first of the consecutive events around that time.
    """
    earliest = select(rows.c.seq).where(rows.c.time_us >= time_us, _NATIVE).order_by(rows.c.time_us, rows.c.seq)
    found = tx.connection.execute(earliest.limit(1)).scalar_one_or_none()
    if found is None:
        return ledger.size(tx) + 1
    before = select(rows.c.seq).where(rows.c.seq < found, rows.c.time_us < time_us, _NATIVE)
    older = tx.connection.execute(before.order_by(rows.c.seq.desc()).limit(1)).scalar_one_or_none()
    return int(older or 0) + 1


def times_in(tx: Tx, from_us: int, upto_us: int) -> tuple[int, int] | None:
    """The times of the earliest and the latest event of this period; ``None`` when it has none."""
    inside = select(rows.c.time_us).where(rows.c.time_us >= from_us, rows.c.time_us < upto_us).limit(1)
    first = tx.connection.execute(inside.order_by(rows.c.time_us)).scalar_one_or_none()
    last = tx.connection.execute(inside.order_by(rows.c.time_us.desc())).scalar_one_or_none()
    return None if first is None or last is None else (int(first), int(last))


def numbers_in(tx: Tx, from_us: int, upto_us: int) -> tuple[int, int] | None:
    """The first and the last event with a time in this period, imported or not; ``None`` when it has none.

    A call that was imported is complete: its end is the event after its start.
    """
    found = select(func.min(rows.c.seq), func.max(rows.c.seq)).where(
        rows.c.time_us >= from_us, rows.c.time_us < upto_us
    )
    first, last = tx.connection.execute(found).one()
    if first is None:
        return None
    after = ledger.of_numbers(tx, (last, last + 1))
    match [(each.source, each.refs.session, each.event) for each in after]:
        case [
            (Source.IMPORT, session, ToolCallStarted(call=call)),
            (Source.IMPORT, same, ToolCallEnded(call=ended)),
        ] if (session, call) == (same, ended):
            last += 1
    return int(first), int(last)


def approval_of_ask(tx: Tx, session: str, ask: str) -> approvals.Approval | None:
    """The question for an agent's request; ``None`` when it was decided without a person."""
    return _last_approval(
        tx, (table.c.session == session) & (table.c.ask == ask) & (table.c.kind == ApprovalKind.PERMISSION)
    )


def last_hold(tx: Tx, task: str) -> approvals.Approval | None:
    """A task's newest hold."""
    return _last_approval(tx, (table.c.task == task) & (table.c.kind == ApprovalKind.HOLD))


def _last_approval(tx: Tx, which: ColumnElement[bool]) -> approvals.Approval | None:
    found = tx.connection.execute(
        select(table.c.id).where(which).order_by(table.c.number.desc()).limit(1)
    ).scalar_one_or_none()
    return None if found is None else approvals.approval(tx, found)


def released_commits(tx: Tx, task: str) -> frozenset[str]:
    """A task's commits whose held change a person released."""
    found = ledger.read(tx, kinds=(HoldReleased.KIND,), task=task)
    return frozenset(
        item.event.commit for item in found if isinstance(item.event, HoldReleased) and item.event.approved
    )
