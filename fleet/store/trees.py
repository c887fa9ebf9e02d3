"""The work of tasks that did not land: where it is, and what was decided about it.

A task's worktree stays as it is until it is reclaimed (its snapshot stays) or deleted by a person. Each removal is
decided in one transaction, done, and settled in another; a row in between says what is still to be done.
"""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass, replace
from typing import Any

from sqlalchemy import ColumnElement, Select, and_, delete, exists, func, insert, or_, select

from fleet.errors import Refused
from fleet.events import Source, TreeDecided, TreeDecision, TreeRemoved
from fleet.model import AIRBOSS, ENDS, Session, Task, TaskMode, TaskState, Turn
from fleet.store import approvals, left_running, pool_slots, sessions, stalls, tasks
from fleet.store.approvals import ApprovalDecision
from fleet.store.core import Tx
from fleet.store.recording import record
from fleet.store.records import columns, reader
from fleet.store.states import TreeState
from fleet.store.tables import gate_runs, trees, turns
from fleet.store.tables import sessions as session_table
from fleet.store.tables import tasks as task_table

_DONE = (TaskState.LANDED, TaskState.PUSHED, TaskState.ANSWERED)
_LISTED = [str(state) for state in (*(ENDS - set(_DONE)), *sessions.SLOTLESS)]
_OPEN = [str(state) for state in TaskState if state not in ENDS]
_GOING = {TreeState.RECLAIMING: TreeState.RECLAIMED, TreeState.DELETING: TreeState.DELETED}
_DECISION = {TreeState.RECLAIMING: TreeDecision.RECLAIM, TreeState.DELETING: TreeDecision.DELETE}


@dataclass(frozen=True, slots=True)
class TreeRow:
    """What was decided about a session's tree. ``kept_us``: when a person wanted it kept, 0 for never."""

    session: str
    state: TreeState = TreeState.HERE
    decided_by: str = ""
    kept_us: int = 0


_row = reader(TreeRow)


@dataclass(frozen=True, slots=True)
class Unlanded:
    """The tree of a task that did not land. ``saved``: the turn of its newest snapshot; ``None`` without one."""

    task: Task
    session: Session
    row: TreeRow
    saved: Turn | None

    @property
    def commit(self) -> str:
        """The newest snapshot; empty without one."""
        return self.saved.snapshot if self.saved else ""

    @property
    def in_worktree(self) -> bool:
        """Whether its worktree is still there."""
        return self.row.state in (TreeState.HERE, TreeState.EMPTY)


def of(tx: Tx, session: Session) -> TreeRow:
    """What was decided about the session's tree."""
    row = tx.connection.execute(select(trees).where(trees.c.session == session.id)).one_or_none()
    return _row(row) if row else TreeRow(session.id)


def put(tx: Tx, row: TreeRow) -> None:
    """Stores it."""
    tx.connection.execute(delete(trees).where(trees.c.session == row.session))
    tx.connection.execute(insert(trees), {**columns(row), "changed_us": tx.now_us()})


def unlanded(tx: Tx, *, first: int = 0, limit: int = 100_000) -> list[Unlanded]:
    """The trees of tasks that did not land, of the newest task first."""
    query = _listed(select(session_table.c.id, session_table.c.task)).order_by(
        task_table.c.number.desc(), session_table.c.number.desc()
    )
    rows = tx.connection.execute(query.offset(first).limit(limit)).all()
    return [_read(tx, row.id, row.task) for row in rows]


def count(tx: Tx) -> int:
    """How many there are."""
    return int(tx.connection.execute(_listed(select(func.count()))).scalar_one())


def of_task(tx: Tx, task: Task) -> Unlanded:
    """A task's tree that did not land. Raises ``Refused`` when it has none."""
    query = _listed(select(session_table.c.id)).where(task_table.c.id == task.id)
    found = tx.connection.execute(query.order_by(session_table.c.number.desc()).limit(1)).scalar_one_or_none()
    if found is None:
        why = "it has landed" if task.state is TaskState.LANDED else f"it is {task.state}"
        raise Refused(
            attempted=f"find the work of {task.id}",
            cause=f"there is none that did not land: {why}",
            hint="/unlanded",
        )
    return _read(tx, found, task.id)


def of_session(tx: Tx, session: Session) -> Unlanded:
    """The session's tree as it is now."""
    return _read(tx, session.id, session.task)


def going(tx: Tx) -> list[Unlanded]:
    """The trees whose removal is decided and not done."""
    query = (
        select(session_table.c.id, session_table.c.task)
        .join(trees, trees.c.session == session_table.c.id)
        .where(trees.c.state.in_(list(_GOING)))
    )
    return [_read(tx, row.id, row.task) for row in tx.connection.execute(query)]


def closed_worktrees(tx: Tx, ended_before_us: int, machine: str = "") -> list[Unlanded]:
    """The trees of ended tasks that are still in a worktree, and whose session was closed before that time."""
    query = (
        _ended(select(session_table.c.id, session_table.c.task))
        .where(session_table.c.ended_us <= ended_before_us)
        .order_by(session_table.c.ended_us)
    )
    if machine:
        query = query.where(session_table.c.machine == machine)
    return [_read(tx, row.id, row.task) for row in tx.connection.execute(query)]


def needed_pipes(tx: Tx, machine: str) -> set[str]:
    """The processes on a machine whose output stays: those of open tasks, and of work that did not land."""
    of_turns = select(turns.c.pipe).join(session_table, session_table.c.id == turns.c.session)
    of_tasks = _joined(of_turns).where(session_table.c.machine == machine)
    of_gates = select(gate_runs.c.pipe).where(gate_runs.c.machine == machine)
    open_ = task_table.c.state.in_(_OPEN)
    queries = (  # each starts from an index: the tables grow without an end
        of_tasks.where(open_),
        of_tasks.where(_work()),
        of_turns.where(session_table.c.machine == machine, session_table.c.ended_us == 0),
        of_gates.join(task_table, task_table.c.id == gate_runs.c.task).where(open_),
        of_gates.where(gate_runs.c.closed_us == 0),
    )
    return {pipe for query in queries for pipe in tx.connection.execute(query).scalars() if pipe}


def without_work(tx: Tx, task_ids: Collection[str]) -> set[str]:
    """Which of these tasks are over and have no work that did not land: nobody needs what belongs to them alone."""
    ended = task_table.c.state.in_([str(state) for state in ENDS])
    needed = _joined(select(session_table.c.task)).where(
        session_table.c.task.in_(task_ids), or_(session_table.c.ended_us == 0, _work())
    )
    query = select(task_table.c.id).where(task_table.c.id.in_(task_ids), ended, task_table.c.id.not_in(needed))
    return set(tx.connection.execute(query).scalars())


def decide(tx: Tx, tree: Unlanded, decision: TreeDecision, by: str) -> None:
    """Records what becomes of a tree, before anything is removed. Raises ``Refused`` when it may not be removed."""
    row = of(tx, tree.session)
    if row.state in _GOING or row.state is TreeState.DELETED:
        raise Refused(attempted=f"{decision} the work of {tree.task.id}", cause=f"it is {row.state} already")
    if decision is not TreeDecision.KEEP:
        _may_remove(tx, tree, decision)
    state, kept_us = row.state, row.kept_us
    if decision is TreeDecision.KEEP:
        kept_us = tx.now_us()
    else:
        state = TreeState.DELETING if decision is TreeDecision.DELETE else TreeState.RECLAIMING
    put(tx, TreeRow(row.session, state, by, kept_us))
    _record(tx, tree, decision, by)


def reclaim(tx: Tx, tree: Unlanded) -> None:
    """As :func:`decide`, for a session that is about to be closed: nothing of it runs any more."""
    put(tx, TreeRow(tree.session.id, TreeState.RECLAIMING, AIRBOSS, tree.row.kept_us))
    _record(tx, tree, TreeDecision.RECLAIM, AIRBOSS)


def _record(tx: Tx, tree: Unlanded, decision: TreeDecision, by: str) -> None:
    decided = TreeDecided(str(decision), tree.commit, tree.saved.tree if tree.saved else "")
    record(tx, decided, tree.session, source=Source.CONTROLLER if by == AIRBOSS else Source.PERSON, actor=by)


def settle(tx: Tx, tree: Unlanded) -> None:
    """What was decided is done. Harmless when it was settled before."""
    row = of(tx, tree.session)
    if row.state in _GOING:
        put(tx, TreeRow(row.session, _GOING[row.state], row.decided_by, row.kept_us))
        record(tx, TreeRemoved(str(_DECISION[row.state])), tree.session)


def go_on(tx: Tx, task: Task, decision: ApprovalDecision, by: str) -> None:
    """Opens an ended task again: its agent continues (``GO_ON``), or its newest snapshot is judged (``JUDGE``).

    Raises ``Refused`` as :func:`open_again` does.
    """
    ended_as = f"it ended as {task.state}: {task.why}" if task.why else f"it ended as {task.state}"
    tree = of_task(tx, task)
    open_again(tx, tree, decision)
    stall = approvals.open_stall(
        tx, session=tree.session, commit=tree.commit, tree=tree.saved.tree if tree.saved else "", reason=ended_as
    )
    stalls.decide(tx, stall, decision, by)


def open_again(tx: Tx, tree: Unlanded, decision: ApprovalDecision) -> None:
    """Opens an ended task again, for what follows.

    Raises ``Refused`` while its tree is being removed or its session is not closed yet.
    """
    task, attempted = tree.task, f"continue {tree.task.id}"
    if tree.row.state in (*_GOING, TreeState.DELETED):
        raise Refused(attempted=attempted, cause=f"its work is {tree.row.state}", hint="Try again in a moment.")
    if not tree.session.ended_us or left_running.being_ended(tx, tree.session.id):
        raise Refused(attempted=attempted, cause="its session is still ending", hint="Try again in a moment.")
    last = sessions.turns(tx, tree.session.id)[-1]
    if decision is ApprovalDecision.JUDGE and not last.snapshot:
        raise Refused(
            attempted=f"judge the work of {task.id}",
            cause=f"no snapshot has its last turn: it is only on {tree.session.machine}",
            hint=f"/unlanded keep {task.id} saves it once that machine answers.",
        )
    if decision is ApprovalDecision.GO_ON and pool_slots.is_gone(tx, tree.session.machine):
        raise Refused(
            attempted=attempted,
            cause=f"its machine {tree.session.machine} was a slot of a pool, which has ended",
            hint=f"/fork {task.id} begins a task with its work, on another machine.",
        )
    sessions.reopen(tx, tree.session.id)
    tasks.forget_stop(tx, task.id)
    if tree.row.state is TreeState.EMPTY:  # of what comes now nobody knows
        put(tx, replace(tree.row, state=TreeState.HERE))
    tasks.move(tx, task.id, TaskState.STALLED, "a person continues it", AIRBOSS)


def _may_remove(tx: Tx, tree: Unlanded, decision: TreeDecision) -> None:
    task = tasks.task(tx, tree.task.id)
    if task.state not in ENDS or not sessions.session(tx, tree.session.id).ended_us:
        raise Refused(
            attempted=f"{decision} the work of {task.id}",
            cause=f"the task is {task.state}" if task.state not in ENDS else "its session is still ending",
            hint=f"/stop {task.id} ends it first." if task.state not in ENDS else "Try again in a moment.",
        )


def _joined(query: Select[Any]) -> Select[Any]:
    return query.join(task_table, task_table.c.id == session_table.c.task).outerjoin(
        trees, trees.c.session == session_table.c.id
    )


def _work() -> ColumnElement[bool]:
    """A change that did not land, and is not proven to be nothing."""
    its = turns.alias()  # a query around it may be about turns, too
    saved = exists().where(its.c.session == session_table.c.id, its.c.snapshot != "")
    gone = trees.c.state.in_([TreeState.EMPTY, TreeState.DELETED])
    return and_(
        task_table.c.mode == str(TaskMode.CHANGE),
        task_table.c.state.in_(_LISTED),
        session_table.c.workspace != "",
        or_(trees.c.state.is_(None), ~gone),
        or_(trees.c.state.is_(None), trees.c.state != TreeState.RECLAIMED, saved),
    )


def _listed(query: Select[Any]) -> Select[Any]:
    return _joined(query.select_from(session_table)).where(_work())


def _ended(query: Select[Any]) -> Select[Any]:
    still = or_(trees.c.state.is_(None), trees.c.state.in_([TreeState.HERE, TreeState.EMPTY]))
    bad = [str(state) for state in ENDS - set(_DONE)]
    return _joined(query.select_from(session_table)).where(
        task_table.c.mode == str(TaskMode.CHANGE),
        task_table.c.state.in_(bad),
        session_table.c.workspace != "",
        session_table.c.ended_us > 0,
        still,
    )


def _read(tx: Tx, session_id: str, task_id: str) -> Unlanded:
    session = sessions.session(tx, session_id)
    return Unlanded(tasks.task(tx, task_id), session, of(tx, session), newest(sessions.turns(tx, session_id)))


def newest(found: Sequence[Turn]) -> Turn | None:
    """The turn of the newest snapshot."""
    return next((turn for turn in reversed(found) if turn.snapshot), None)
