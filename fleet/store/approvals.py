"""Questions to a person: an agent's request for permission, a held change, a stalled turn.

Ids are ``a1``, ``a2``, …. A question is answered once; one that expires or is withdrawn counts as no.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum
from typing import Any, NamedTuple, Required, TypedDict, Unpack

from sqlalchemy import bindparam, func, insert, select, update

from fleet.errors import Misused, Refused
from fleet.model import AIRBOSS, Session
from fleet.store.core import Tx
from fleet.store.named import plain_id
from fleet.store.records import reader
from fleet.store.statements import Statement, one_of
from fleet.store.states import ApprovalKind, ApprovalScope
from fleet.store.tables import approvals

_BY_ID = Statement(select(approvals).where(approvals.c.id == bindparam("wanted")))
_LAST = select(func.coalesce(func.max(approvals.c.number), 0))
_IS_OPEN = approvals.c.decision == ""
_WAITING = (
    select(approvals)
    .where(_IS_OPEN, (approvals.c.expires_us == 0) | (approvals.c.expires_us > bindparam("now")))
    .order_by(approvals.c.number)
)
_ALL_WAITING, _WAITING_OF = Statement(_WAITING), Statement(_WAITING.where(approvals.c.task == bindparam("of")))
_WITHDRAWN = Statement(
    select(approvals)
    .where(approvals.c.task == bindparam("of"), approvals.c.decided_us == bindparam("at"))
    .where(approvals.c.decision == bindparam("how"))
    .order_by(approvals.c.number)
)
_CLOSE = Statement(update(approvals).where(approvals.c.id == bindparam("wanted")))
_CLOSE_OF_SESSION = Statement(update(approvals).where(approvals.c.session == bindparam("of"), _IS_OPEN))
_CLOSE_OF_TASK = Statement(update(approvals).where(approvals.c.task == bindparam("of"), _IS_OPEN))
_OVERDUE = update(approvals).where(_IS_OPEN, approvals.c.expires_us > 0, approvals.c.expires_us <= bindparam("now"))
_CLOSE_OVERDUE = Statement(_OVERDUE)
_CLOSE_OVERDUE_OF = Statement(_OVERDUE.where(approvals.c.session == bindparam("of")))

EXPIRED = "nobody answered in time"


class ApprovalDecision(StrEnum):
    """The answer to a question. ``NONE``: it waits."""

    NONE = ""
    ALLOW = "allow"
    ANSWER = "answer"
    DENY = "deny"
    GO_ON = "go-on"  # of a stall: the agent continues
    JUDGE = "judge"  # of a stall: judge its work as it is
    WITHDRAWN = "withdrawn"


_WORDS = {
    ApprovalDecision.ALLOW: "allowed it",
    ApprovalDecision.ANSWER: "answered it",
    ApprovalDecision.DENY: "denied it",
}
_TOLD = (
    (approvals.c.session == bindparam("of"))
    & (approvals.c.kind == ApprovalKind.PERMISSION)
    & (approvals.c.taken_us == 0)
    & one_of(approvals.c.decision, _WORDS)
)
_DECIDED = Statement(select(approvals).where(_TOLD).order_by(approvals.c.decided_us, approvals.c.number))
_UNTAKEN = Statement(
    select(approvals.c.id).where(approvals.c.session == bindparam("of"), approvals.c.taken_us == 0).limit(1)
)
_TAKE = Statement(update(approvals).where(_TOLD))


@dataclass(frozen=True, slots=True)
class Approval:
    """A question. ``kind`` is what is asked; ``reason`` says why a person is asked.

    A permission binds to ``request`` (the whole input as JSON text) in ``directory``, a hold or a stall to
    ``commit`` and ``tree``. ``questions``: what the agent wants to know, as JSON (:func:`fleet.questions.to_json`).
    ``scope``: how far a permission goes. ``expires_us`` 0: never. ``pinged_us``: when it first notified people,
    ``reminded_us``: when the reminder was sent; 0 for not yet.
    """

    id: str
    kind: ApprovalKind
    task: str
    session: str
    ask: str
    tool: str
    request: str
    command: str
    paths: tuple[str, ...]
    commit: str
    tree: str
    reason: str
    opened_us: int
    expires_us: int
    decision: ApprovalDecision
    decided_by: str
    decided_why: str
    decided_us: int
    directory: str = ""
    questions: str = ""
    scope: ApprovalScope = ApprovalScope.ONCE
    pinged_us: int = 0
    reminded_us: int = 0


_approval = reader(Approval, decision=lambda row: ApprovalDecision(row.decision))


@dataclass(frozen=True, slots=True)
class Answer:
    """A decision, for the one who asked. ``reason`` is the decider's; of an ``ANSWER`` it is the answer itself."""

    id: str
    ask: str
    commit: str
    decision: ApprovalDecision
    by: str
    reason: str

    @property
    def allowed(self) -> bool:
        """Whether the answer was yes."""
        return self.decision is ApprovalDecision.ALLOW


class QuestionFields(TypedDict, total=False):
    """What a question says beyond its session; anything left out is empty."""

    ask: str
    tool: str
    request: str
    command: str
    paths: tuple[str, ...]
    commit: str
    tree: str
    reason: Required[str]
    expires_us: Required[int]
    directory: str
    questions: str


def open_ask(tx: Tx, *, session: Session, **fields: Unpack[QuestionFields]) -> Approval:
    """An agent's request that needs a person's permission. ``ask`` is the agent's own id for it."""
    return _open(tx, session, ApprovalKind.PERMISSION, **fields)


def open_hold(
    tx: Tx, *, session: Session, commit: str, tree: str, reason: str, leaks: str = "", expires_us: int = 0
) -> Approval:
    """A passed change that a person must release before it lands. ``leaks`` (JSON) are kept as the request."""
    held = QuestionFields(commit=commit, tree=tree, reason=reason, request=leaks, expires_us=expires_us)
    return _open(tx, session, ApprovalKind.HOLD, **held)


def open_stall(tx: Tx, *, session: Session, commit: str, tree: str, reason: str, trouble: str = "") -> Approval:
    """A turn that stopped early. ``commit`` and ``tree``: its snapshot, if any; ``trouble``: why there is none."""
    stall = QuestionFields(commit=commit, tree=tree, reason=reason, request=trouble, expires_us=0)
    return _open(tx, session, ApprovalKind.STALL, **stall)


def approval(tx: Tx, approval_id: str) -> Approval:
    """The question with exactly this id. Raises ``Misused`` when it does not exist."""
    if (row := _BY_ID.one(tx.connection, {"wanted": approval_id})) is None:
        raise _unknown(tx, approval_id)
    return _approval(row)


def waiting(tx: Tx, task: str = "") -> list[Approval]:
    """The questions that can still be answered, oldest first; of one task, if given."""
    now = tx.now_us()
    if task:
        return [_approval(row) for row in _WAITING_OF.all(tx.connection, {"now": now, "of": task})]
    return [_approval(row) for row in _ALL_WAITING.all(tx.connection, {"now": now})]


def find(tx: Tx, prefix: str) -> Approval:
    """The question a person means: ``a12``, ``12``, or the start of a single waiting question's id.

    Raises ``Misused`` with the candidates when none or several match.
    """
    wanted = plain_id(prefix)
    for exact in (wanted, f"a{wanted}"):
        if (row := _BY_ID.one(tx.connection, {"wanted": exact})) is not None:
            return _approval(row)
    found = [each for each in waiting(tx) if wanted not in ("", "a") and each.id.startswith(wanted)]
    if not found:
        raise _unknown(tx, prefix)
    if not found[1:]:
        return found[0]
    cause = f"it could be {', '.join(each.id for each in found)}"
    raise Misused(attempted="find the question", on=prefix, cause=cause, hint="Give the whole id")


def decide(
    tx: Tx,
    approval_id: str,
    allow: bool,
    by: str,
    reason: str,
    *,
    scope: ApprovalScope = ApprovalScope.ONCE,
    answer: bool = False,
) -> Approval:
    """Stores a person's answer, once. Raises ``Refused`` when it was answered, withdrawn or expired.

    ``scope``: how far a permission goes. ``answer``: ``reason`` answers a question.
    """
    found = approval(tx, approval_id)
    if found.decision is ApprovalDecision.WITHDRAWN:
        cause = f"it was withdrawn: {found.decided_why}"
        raise Refused(
            attempted="answer the question", on=approval_id, cause=cause, hint="The next request asks again"
        )
    if found.decision is not ApprovalDecision.NONE:
        cause = f"{found.decided_by} already {_WORDS[found.decision]}"
        raise Refused(
            attempted="answer the question", on=approval_id, cause=cause, hint="It cannot be answered twice"
        )
    if found.expires_us and found.expires_us <= tx.now_us():
        raise Refused(
            attempted="answer the question",
            on=approval_id,
            cause="nobody answered in time",
            hint="The request was denied; use /say to tell the agent what to do",
        )
    yes = ApprovalDecision.ANSWER if answer else ApprovalDecision.ALLOW
    decision = yes if allow else ApprovalDecision.DENY
    _close(tx, _CLOSE, {"wanted": approval_id}, _Decided(decision, by, reason, scope))
    return approval(tx, approval_id)


def expire(tx: Tx, session_id: str = "") -> int:
    """Denies overdue questions (of one session, if given), since silence is not yes; returns how many."""
    no, overdue = _Decided(ApprovalDecision.DENY, AIRBOSS, EXPIRED), {"now": tx.now_us()}
    if session_id:
        return _close(tx, _CLOSE_OVERDUE_OF, {**overdue, "of": session_id}, no)
    return _close(tx, _CLOSE_OVERDUE, overdue, no)


def note(tx: Tx, approval_id: str, *, pinged: bool = False, reminded: bool = False) -> None:
    """Records that the question notified people, or that a reminder was sent."""
    if values := {name: tx.now_us() for name, so in (("pinged_us", pinged), ("reminded_us", reminded)) if so}:
        tx.connection.execute(update(approvals).where(approvals.c.id == approval_id), values)


def withdrawn_at(tx: Tx, task: str, time_us: int) -> list[Approval]:
    """A task's questions that were withdrawn at exactly this time."""
    values = {"of": task, "at": time_us, "how": str(ApprovalDecision.WITHDRAWN)}
    return [_approval(row) for row in _WITHDRAWN.all(tx.connection, values)]


def withdraw(tx: Tx, *, session: str = "", task: str = "", why: str) -> int:
    """Withdraws questions that need no answer any more (process or task ended); returns how many."""
    if not session and not task:
        raise ValueError("name a session or a task")
    whose = _CLOSE_OF_SESSION if session else _CLOSE_OF_TASK
    return _close(tx, whose, {"of": session or task}, _Decided(ApprovalDecision.WITHDRAWN, AIRBOSS, why))


def withdraw_hold(tx: Tx, task: str, *, by: str, why: str) -> Approval | None:
    """Withdraws the hold of a held change; returns it, ``None`` when nothing was held."""
    held = next((question for question in waiting(tx, task) if question.kind is ApprovalKind.HOLD), None)
    if held is None:
        return None
    _close(tx, _CLOSE, {"wanted": held.id}, _Decided(ApprovalDecision.WITHDRAWN, by, why))
    return approval(tx, held.id)


def take_decided(tx: Tx, session_id: str) -> list[Answer]:
    """The answers to a session's permission requests that its agent has not received; each once."""
    found = [answer_of(_approval(row)) for row in _DECIDED.all(tx.connection, {"of": session_id})]
    if found:
        _TAKE.run(tx.connection, {"of": session_id, "taken_us": tx.now_us()})
    return found


def untaken(tx: Tx, session_id: str) -> bool:
    """Whether a question of this session was not acted on, answered or not."""
    return _UNTAKEN.one(tx.connection, {"of": session_id}) is not None


def hold_decision(tx: Tx, task: str) -> Answer | None:
    """A person's decision about a task's held change, until it is settled."""
    query = select(approvals).where(
        approvals.c.task == task,
        approvals.c.kind == ApprovalKind.HOLD,
        approvals.c.taken_us == 0,
        approvals.c.decision.in_([str(ApprovalDecision.ALLOW), str(ApprovalDecision.DENY)]),
    )
    row = tx.connection.execute(query.order_by(approvals.c.number.desc()).limit(1)).one_or_none()
    return answer_of(_approval(row)) if row is not None else None


def settle(tx: Tx, approval_id: str) -> None:
    """Marks an answer as acted on, in this transaction. Raises ``ValueError`` when it already was."""
    query = update(approvals).where(approvals.c.id == approval_id, approvals.c.taken_us == 0)
    if tx.connection.execute(query, {"taken_us": tx.now_us()}).rowcount != 1:
        raise ValueError(f"the answer to {approval_id} was already acted on")


def _open(tx: Tx, session: Session, kind: ApprovalKind, **fields: Unpack[QuestionFields]) -> Approval:
    number = tx.connection.execute(_LAST).scalar_one() + 1
    row: dict[str, Any] = {
        **dict.fromkeys(("ask", "tool", "request", "command", "commit", "tree", "directory", "questions"), ""),
        **dict.fromkeys(("decision", "decided_by", "decided_why", "scope"), ""),
        **dict.fromkeys(("decided_us", "taken_us", "pinged_us", "reminded_us"), 0),
        "number": number,
        "id": f"a{number}",
        "kind": kind,
        "task": session.task,
        "session": session.id,
        "paths": (),
        "opened_us": tx.now_us(),
        **fields,
    }
    tx.connection.execute(insert(approvals), row)
    return approval(tx, row["id"])


class _Decided(NamedTuple):
    decision: ApprovalDecision
    by: str
    why: str
    scope: ApprovalScope = ApprovalScope.ONCE


def _close(tx: Tx, which: Statement, those: dict[str, Any], said: _Decided) -> int:
    decided = {"decision": str(said.decision), "decided_by": said.by, "decided_why": said.why}
    return which.run(tx.connection, {**those, **decided, "scope": str(said.scope), "decided_us": tx.now_us()})


def answer_of(asked: Approval) -> Answer:
    """The answer to a question that was decided."""
    return Answer(asked.id, asked.ask, asked.commit, asked.decision, asked.decided_by, asked.decided_why)


def _unknown(tx: Tx, wanted: str) -> Misused:
    open_ = ", ".join(each.id for each in waiting(tx)[:8])
    hint = f"Waiting now: {open_}" if open_ else "No question is waiting"
    return Misused(attempted="find the question", on=wanted, cause="no such question", hint=hint)
