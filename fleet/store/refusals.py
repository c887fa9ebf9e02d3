"""What a message opens again: a task whose held change a person did not release, so that its agent fixes it, and
one whose agent changed nothing, as it may have asked something. Both have ended; their conversations are kept.
"""

from __future__ import annotations

from sqlalchemy import select

from fleet.events import TaskMoved, TaskMovedV2
from fleet.model import AIRBOSS, Task, TaskEnd, TaskState
from fleet.store import left_running, recent, sessions, tasks
from fleet.store.approvals import Approval, ApprovalDecision
from fleet.store.core import Tx
from fleet.store.tables import approvals

REOPENED = "a person sent a message"


def overdue(tx: Tx, session_id: str) -> bool:
    """Whether a question of this session has expired and is still open."""
    late = (approvals.c.expires_us > 0) & (approvals.c.expires_us <= tx.now_us())
    mine = (approvals.c.session == session_id) & (approvals.c.decision == "")
    return tx.connection.execute(select(approvals.c.id).where(mine, late).limit(1)).one_or_none() is not None


def denied(tx: Tx, task: Task) -> Approval | None:
    """The denied hold that ended this task; ``None`` if something else did, or if it was retried meanwhile."""
    if task.state is not TaskState.REFUSED or tasks.retried_as(tx, task.id) is not None:
        return None
    held = recent.last_hold(tx, task.id)
    return held if held is not None and held.decision is ApprovalDecision.DENY else None


def unchanged(tx: Tx, task: Task) -> bool:
    """Whether it ended as its agent changed nothing, which may have asked something, and was not retried."""
    if task.state is not TaskState.FAILED or tasks.retried_as(tx, task.id) is not None:
        return False
    (last,) = recent.last_events(tx, 1, kinds=(TaskMoved.KIND,), task=task.id)
    return isinstance(last.event, TaskMovedV2) and last.event.end == TaskEnd.UNCHANGED


def closed(tx: Tx, task: Task) -> bool:
    """Whether everything of the ended task is closed: only then can it continue."""
    return all(
        session.ended_us and not left_running.being_ended(tx, session.id)
        for session in sessions.of_task(tx, task.id)
    )


def reopen(tx: Tx, task: Task, held: Approval) -> None:
    """Opens the task again, for a message that the caller adds. The agent first reads why its change was denied."""
    session = sessions.reopen(tx, sessions.newest(tx, task.id).id)
    tasks.move(tx, task.id, TaskState.STALLED, REOPENED, AIRBOSS)
    why = f": {held.decided_why}" if held.decided_why else "."
    sessions.add_note(tx, session.id, f"Your change was not released{why}", held.decided_by)
