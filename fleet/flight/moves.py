"""How a flight moves its task. Each of these is part of a transaction, and answers what the store then says."""

from __future__ import annotations

from fleet.flight import notes
from fleet.model import AIRBOSS, ENDS, Task, TaskState
from fleet.store import approvals, sessions, tasks
from fleet.store.core import Tx


def move(tx: Tx, task_id: str, state: TaskState, why: str = "") -> Task:
    """Moves the task. An end says so when a person's last words were not read."""
    unread = state in ENDS and sessions.words_wait(tx, task_id)
    reasons = [reason for reason in (why, notes.NOT_READ if unread else "") if reason]
    return tasks.move(tx, task_id, state, "; ".join(reasons), AIRBOSS)


def move_unless_said(tx: Tx, task_id: str, state: TaskState, why: str = "") -> None:
    """Moves the task, unless words wait that the agent should read first."""
    if not sessions.words_wait(tx, task_id):
        tasks.move(tx, task_id, state, why, AIRBOSS)


def to_running(tx: Tx, task_id: str) -> None:
    """Part of the transaction that begins a turn. A change that was held for a person is held no more."""
    task = tasks.task(tx, task_id)
    if task.state is TaskState.HELD:
        approvals.withdraw_hold(tx, task_id, by=AIRBOSS, why=notes.MORE_WAS_SAID)
    if task.state is not TaskState.RUNNING:
        tasks.move(tx, task_id, TaskState.RUNNING, "", AIRBOSS)
