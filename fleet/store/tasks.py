"""Tasks: what people asked for. Ids are ``t1``, ``t2``, …: short enough to type on a phone."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from sqlalchemy import BigInteger, bindparam, cast, delete, func, insert, select, update

from fleet.budgets import UNLIMITED, Allowance, dump_budget, load_budget
from fleet.errors import Misused
from fleet.events import (
    Event,
    Refs,
    Source,
    TaskBudgeted,
    TaskChained,
    TaskForked,
    TaskModelChosen,
    TaskMoved,
    TaskMovedV2,
    TaskRequested,
)
from fleet.locks import Want, dump_wants, load_wants
from fleet.model import ENDS, ChatRef, Fork, Task, TaskEnd, TaskMode, TaskState, may_move
from fleet.store import approvals, landing_line, ledger
from fleet.store.core import Tx
from fleet.store.named import of_another_kind, plain_id
from fleet.store.queue_tables import reservations
from fleet.store.records import chat_of, columns, reader
from fleet.store.statements import ColumnChange, Statement, one_of
from fleet.store.tables import meta, sessions, tasks

_BY_ID = Statement(select(tasks).where(tasks.c.id == bindparam("id")))
_FLOOR = select(cast(meta.c.value, BigInteger)).where(meta.c.key == "task_floor").scalar_subquery()
_LAST = Statement(
    select(func.coalesce(func.max(tasks.c.number), 0).label("given"), func.coalesce(_FLOOR, 0).label("known"))
)
_INSERT = Statement(insert(tasks))
_CHANGE = ColumnChange(update(tasks).where(tasks.c.id == bindparam("key")))
_FREE = Statement(delete(reservations).where(reservations.c.task == bindparam("key")))
_STOPPER = Statement(select(tasks.c.stop_by).where(tasks.c.id == bindparam("id")))
_IS_OPEN = one_of(tasks.c.state, [state for state in TaskState if state not in ENDS])
_OPEN = Statement(select(tasks).where(_IS_OPEN).order_by(tasks.c.number))
_UNFINISHED = Statement(
    select(tasks)
    .where(_IS_OPEN | tasks.c.id.in_(select(sessions.c.task).where(sessions.c.ended_us == 0)))
    .order_by(tasks.c.number)
)


def create_task(
    tx: Tx,
    *,
    repo: str,
    agent: str,
    machine: str,
    prompt: str,
    mode: TaskMode,
    requester: str,
    origin: ChatRef,
    retry_of: str = "",
    locks: tuple[Want, ...] = (),
    after: str = "",
    budget: Allowance = UNLIMITED,
    needs: tuple[str, ...] = (),
    forked: Fork | None = None,
    model: str = "",
) -> Task:
    """A new task, queued, with its ``TaskRequested`` event. ``requester`` is ``str(PersonId)``; ``after`` the task
    that must land first; ``budget`` its own limits; ``needs`` what its machine must offer; ``forked`` whose work it
    begins with; ``model`` the one that a person chose."""
    number = last_number(tx) + 1
    row: dict[str, Any] = {
        "number": number,
        "id": f"t{number}",
        "repo": repo,
        "agent": agent,
        "machine": machine,
        "prompt": prompt,
        "mode": str(mode),
        "state": str(TaskState.QUEUED),
        "why": "",
        "requester": requester,
        **columns(origin),
        "created_us": tx.now_us(),
        "updated_us": tx.now_us(),
        "retry_of": retry_of,
        "stop_by": "",
        "locks": dump_wants(locks),
        "after_task": after,
        "budget": dump_budget(budget),
        "needs": ",".join(needs),
        "forked": f"{forked.session} {forked.snapshot} {forked.base}" if forked else "",
        "model": model,
    }
    _INSERT.run(tx.connection, row)
    events: list[Event] = [TaskRequested(repo, agent, machine, str(mode), prompt, retry_of)]
    if after:
        events.append(TaskChained(after))
    if model:
        events.append(TaskModelChosen(model))
    if budget:
        events.append(TaskBudgeted(budget.money, budget.tokens, budget.calls, budget.time, budget.attempts))
    if forked:
        events.append(TaskForked(forked.session, forked.snapshot, forked.base))
    refs = Refs(task=row["id"])
    ledger.append_all(tx, [ledger.Entry(event, requester, Source.PERSON, refs) for event in events])
    return task(tx, row["id"])


def declare(tx: Tx, task_id: str, locks: tuple[Want, ...]) -> None:
    """Changes what a queued task takes before it starts."""
    _CHANGE.run(tx.connection, {"key": task_id, "locks": dump_wants(locks)})


def chain(tx: Tx, task_id: str, after: str, by: str) -> None:
    """A task starts after another one than it was to start after; empty: a person lets it start without."""
    _CHANGE.run(tx.connection, {"key": task_id, "after_task": after, "why": ""})
    ledger.append(tx, TaskChained(after), actor=by, source=Source.PERSON, refs=Refs(task=task_id))


def last_number(tx: Tx) -> int:
    """The highest number of a task that was given or, after a restore, is known to have been given."""
    return int(max(_LAST.one(tx.connection, {})))


def task(tx: Tx, task_id: str) -> Task:
    """The task with exactly this id. Raises ``Misused`` when it does not exist."""
    row = _BY_ID.one(tx.connection, {"id": task_id})
    if row is None:
        raise _unknown(tx, task_id)
    return read_task(row)


def of_ids(tx: Tx, ids: Iterable[str]) -> dict[str, Task]:
    """The tasks with these ids, by id; one that does not exist is left out."""
    rows = tx.connection.execute(select(tasks).where(tasks.c.id.in_(list(ids))))
    return {row.id: read_task(row) for row in rows}


def find(tx: Tx, named: str) -> Task:
    """The task that a person names: ``t12`` or ``12``. Raises ``Misused`` when it does not exist."""
    wanted = plain_id(named)
    for exact in (wanted, f"t{wanted}"):
        row = _BY_ID.one(tx.connection, {"id": exact})
        if row is not None:
            return read_task(row)
    raise _unknown(tx, named)


def move(
    tx: Tx,
    task_id: str,
    new: TaskState,
    why: str,
    actor: str,
    *,
    source: Source = Source.CONTROLLER,
    end: TaskEnd | None = None,
) -> Task:
    """Moves a task, with its ``TaskMoved`` event by ``source``; when it ends, its open questions are withdrawn.

    The slot that was kept for its start is its session's now, or free. One that lands no more leaves that queue.

    Raises ``ValueError`` for a move that the model forbids.
    """
    old = task(tx, task_id)
    if not may_move(old.state, new):
        raise ValueError(f"task {task_id} may not move from {old.state} to {new}")
    _CHANGE.run(tx.connection, {"key": task_id, "state": str(new), "why": why, "updated_us": tx.now_us()})
    _FREE.run(tx.connection, {"key": task_id})
    if old.state is TaskState.LANDING:
        landing_line.leave(tx, task_id)
    if new in ENDS:
        approvals.withdraw(tx, task=task_id, why=f"the task is {new}")
    moved = (str(old.state), str(new), why)
    event = TaskMoved(*moved) if end is None else TaskMovedV2(*moved, end)
    ledger.append(tx, event, actor=actor, source=source, refs=Refs(task=task_id))
    return task(tx, task_id)


def explain(tx: Tx, task_id: str, why: str) -> Task:
    """Updates why a task is in its state, without moving it; no event, because nothing happened."""
    _CHANGE.run(tx.connection, {"key": task_id, "why": why, "updated_us": tx.now_us()})
    return task(tx, task_id)


def request_stop(tx: Tx, task_id: str, by: str) -> bool:
    """Requests a task's end. The first requester is kept; False when it has ended or was already requested."""
    query = update(tasks).where(
        tasks.c.id == task(tx, task_id).id, tasks.c.stop_by == "", tasks.c.state.not_in([str(end) for end in ENDS])
    )
    return tx.connection.execute(query, {"stop_by": by}).rowcount == 1


def forget_stop(tx: Tx, task_id: str) -> None:
    """An earlier request to stop ends nothing more: a person continues the ended task."""
    _CHANGE.run(tx.connection, {"key": task_id, "stop_by": ""})


def stop_requested(tx: Tx, task_id: str) -> bool:
    """Whether a person asked to stop this task."""
    return bool(stopped_by(tx, task_id))


def stopped_by(tx: Tx, task_id: str) -> str:
    """Who asked to stop this task; empty when nobody did."""
    found = _STOPPER.one(tx.connection, {"id": task_id})
    return "" if found is None else str(found.stop_by)


def open_tasks(tx: Tx) -> list[Task]:
    """Every task that has not ended, oldest first."""
    return [read_task(row) for row in _OPEN.all(tx.connection, {})]


def retried_as(tx: Tx, task_id: str) -> Task | None:
    """The newest task that repeats this one."""
    query = select(tasks).where(tasks.c.retry_of == task_id).order_by(tasks.c.number.desc()).limit(1)
    row = tx.connection.execute(query).one_or_none()
    return None if row is None else read_task(row)


def newest_in(tx: Tx, adapter: str, chat: str) -> Task | None:
    """The newest task requested in a chat, in any thread."""
    query = select(tasks).where(tasks.c.adapter == adapter, tasks.c.chat == chat)
    row = tx.connection.execute(query.order_by(tasks.c.number.desc()).limit(1)).one_or_none()
    return None if row is None else read_task(row)


def unfinished(tx: Tx) -> list[Task]:
    """Every open task, and every ended one whose session is not closed yet, oldest first."""
    return [read_task(row) for row in _UNFINISHED.all(tx.connection, {})]


def recent(tx: Tx, n: int) -> list[Task]:
    """The ``n`` newest tasks, newest first."""
    query = select(tasks).order_by(tasks.c.number.desc()).limit(n)
    return [read_task(row) for row in tx.connection.execute(query)]


def page(tx: Tx, limit: int, skip: int = 0, repo: str = "") -> list[Task]:
    """Tasks, newest first; only those of a repository, if it is named."""
    query = select(tasks).where(tasks.c.repo == repo) if repo else select(tasks)
    found = tx.connection.execute(query.order_by(tasks.c.number.desc()).limit(limit).offset(skip))
    return [read_task(row) for row in found]


read_task = reader(
    Task,
    origin=chat_of,
    locks=lambda row: load_wants(row.locks),
    after=lambda row: row.after_task,
    budget=lambda row: load_budget(row.budget),
    forked=lambda row: Fork(*row.forked.split(" ")) if row.forked else None,
    needs=lambda row: tuple(filter(None, row.needs.split(","))),
)
"""A row of the table as a task."""


def _unknown(tx: Tx, wanted: str) -> Misused:
    known = ", ".join(task.id for task in recent(tx, 5))
    hint = f"The last ones are {known}" if known else "There are no tasks yet; /run starts one"
    other = of_another_kind(wanted, "t")
    return Misused(attempted="find the task", on=wanted, cause="no such task", hint=other or hint)
