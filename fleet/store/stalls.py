"""A turn that stopped early waits for a person: let the agent continue, or judge the work as it is.

It is a question like the others (``fleet/store/approvals.py``), of the kind "stall", and never expires. The third
option is to stop the task.
"""

from __future__ import annotations

from sqlalchemy import bindparam, select, update

from fleet.errors import Refused
from fleet.store import approvals
from fleet.store.approvals import Answer, Approval, ApprovalDecision
from fleet.store.core import Tx
from fleet.store.statements import Statement, one_of
from fleet.store.states import ApprovalKind
from fleet.store.tables import approvals as table

AT_RESET = "at the reset hour"
IN_HOURS = "in my hours after the reset"
_DECISIONS = (ApprovalDecision.GO_ON, ApprovalDecision.JUDGE)
_OPEN = (table.c.kind == ApprovalKind.STALL) & (table.c.taken_us == 0)
_DECIDED = Statement(
    select(table.c.id)
    .where(table.c.task == bindparam("of"), _OPEN, one_of(table.c.decision, _DECISIONS))
    .order_by(table.c.number.desc())
    .limit(1)
)
_OUTDATED = Statement(update(table).where(table.c.session == bindparam("of"), _OPEN, table.c.decision != ""))


def waiting(tx: Tx, task: str) -> Approval | None:
    """A task's stall that nobody has decided yet."""
    return next((asked for asked in approvals.waiting(tx, task) if asked.kind is ApprovalKind.STALL), None)


def decide(tx: Tx, stall: Approval, decision: ApprovalDecision, by: str, why: str = "") -> Approval:
    """Stores a person's decision, once: ``GO_ON`` (``why``: ``AT_RESET`` or ``IN_HOURS``, if not now) or ``JUDGE``.

    Raises ``Refused`` when there is no work to judge.
    """
    if decision is ApprovalDecision.JUDGE and not stall.commit:
        raise Refused(
            attempted=f"judge {stall.task} as it is",
            cause="its agent has not changed a file",
            hint=f"/go {stall.task} continues it; /stop {stall.task} ends it.",
        )
    return _close(tx, stall, decision, by, why)


def decision(tx: Tx, task: str) -> Answer | None:
    """A person's decision about a task's stall, until it is settled."""
    found = _DECIDED.one(tx.connection, {"of": task})
    return None if found is None else approvals.answer_of(approvals.approval(tx, found.id))


def outdated(tx: Tx, session: str) -> None:
    """The turn was completed after all: nobody acts on what a person decided meanwhile."""
    _OUTDATED.run(tx.connection, {"of": session, "taken_us": tx.now_us()})


def withdraw(tx: Tx, task: str, *, by: str, why: str) -> Approval | None:
    """Closes the stall because the agent continues without a decision; returns it, ``None`` when none waited."""
    stall = waiting(tx, task)
    return None if stall is None else _close(tx, stall, ApprovalDecision.WITHDRAWN, by, why)


def _close(tx: Tx, stall: Approval, decision: ApprovalDecision, by: str, why: str) -> Approval:
    values = {"decision": str(decision), "decided_by": by, "decided_why": why, "decided_us": tx.now_us()}
    tx.connection.execute(update(table).where(table.c.id == stall.id), values)
    return approvals.approval(tx, stall.id)
