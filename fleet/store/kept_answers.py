"""Answers to what an agent had asked before its process ended.

A question outlives the process that asked it once its task is ``asking``. The answer starts the agent's next turn.
If the agent asks the same again in that turn, it gets that answer, once.
"""

from __future__ import annotations

from collections.abc import Sequence

from sqlalchemy import ColumnElement, bindparam, select, update

from fleet.agent_events import Asked
from fleet.model import AIRBOSS, Session, TaskState
from fleet.store import approvals as asks
from fleet.store import tasks
from fleet.store.approvals import Answer, Approval, ApprovalDecision
from fleet.store.core import Tx
from fleet.store.statements import Statement
from fleet.store.states import ApprovalKind
from fleet.store.tables import approvals

_ANSWERS = (ApprovalDecision.ALLOW, ApprovalDecision.ANSWER, ApprovalDecision.DENY)
_DROP = Statement(
    update(approvals)
    .where(approvals.c.session == bindparam("of"), approvals.c.kind == ApprovalKind.PERMISSION)
    .where(approvals.c.kept_us > 0)
)


def outlives_its_process(tx: Tx, session: Session) -> bool:
    """Whether the session's open questions stay when its process ends."""
    return tasks.task(tx, session.task).state is TaskState.ASKING


def unanswered(tx: Tx, session: str) -> tuple[Approval, ...]:
    """The agent's questions that nobody has answered."""
    return tuple(
        asked for asked in asks.waiting(tx) if asked.session == session and asked.kind is ApprovalKind.PERMISSION
    )


def answered(tx: Tx, session: str) -> list[Approval]:
    """The agent's questions whose answers it has not received, in the order of the answers."""
    which = (
        _of(session)
        & (approvals.c.taken_us == 0)
        & approvals.c.decision.in_([str(decision) for decision in _ANSWERS])
    )
    return _found(tx, which)


def take_back(tx: Tx, session: str, ask: str, why: str) -> Approval | None:
    """Withdraws a question that the agent does not wait for any more, also a yes that it has not received; returns
    it. ``None`` when nothing was open."""
    waits = approvals.c.decision.in_(["", *map(str, _ANSWERS)])
    found = _found(tx, _of(session) & (approvals.c.ask == ask) & (approvals.c.taken_us == 0) & waits)
    for each in found:
        no = {"decision": str(ApprovalDecision.WITHDRAWN), "decided_by": AIRBOSS, "decided_why": why}
        which = update(approvals).where(approvals.c.id == each.id)
        tx.connection.execute(which, {**no, "decided_us": tx.now_us()})
    return asks.approval(tx, found[-1].id) if found else None


def keep(tx: Tx, answers: Sequence[str]) -> None:
    """Keeps these answers for the turn that is about to start."""
    tx.connection.execute(update(approvals).where(approvals.c.id.in_(answers)), {"kept_us": tx.now_us()})


def kept(tx: Tx, session: Session, asked: Asked) -> Answer | None:
    """The kept answer to exactly this question."""
    same = (
        (approvals.c.tool == asked.tool)
        & (approvals.c.request == asked.request)
        & (approvals.c.directory == (asked.directory or session.workspace))
    )
    found = _found(tx, _of(session.id) & (approvals.c.kept_us > 0) & same)
    return asks.answer_of(found[0]) if found else None


def use(tx: Tx, answer: str) -> None:
    """The agent has asked again and gets this answer."""
    tx.connection.execute(update(approvals).where(approvals.c.id == answer), {"kept_us": 0})


def drop(tx: Tx, session: str) -> None:
    """The turn is over: what the agent asks from now on is asked anew."""
    _DROP.run(tx.connection, {"of": session, "kept_us": 0})


def revoke(tx: Tx, person: str, why: str) -> None:
    """What an id allowed and nobody has acted on yet counts as no: its owner's rights have ended."""
    theirs = (approvals.c.decided_by == person) & (approvals.c.decision == str(ApprovalDecision.ALLOW))
    tx.connection.execute(update(approvals).where(theirs, approvals.c.kept_us > 0), {"kept_us": 0})
    no = {"decision": str(ApprovalDecision.DENY), "decided_by": AIRBOSS, "decided_why": why}
    tx.connection.execute(update(approvals).where(theirs, approvals.c.taken_us == 0), no)


def _of(session: str) -> ColumnElement[bool]:
    return (approvals.c.session == session) & (approvals.c.kind == ApprovalKind.PERMISSION)


def _found(tx: Tx, which: ColumnElement[bool]) -> list[Approval]:
    query = select(approvals.c.id).where(which).order_by(approvals.c.decided_us, approvals.c.number)
    return [asks.approval(tx, found) for found in tx.connection.execute(query).scalars()]
