"""What a follower commits about its session. Each function is part of a transaction."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from typing import Final

from fleet import questions
from fleet.agent_events import (
    Allow,
    Answered,
    Asked,
    AskPerson,
    Decision,
    Deny,
    Happening,
    Ruling,
    TakenBack,
    ToolStarted,
    TurnEnded,
    TurnOutcome,
    Window,
)
from fleet.agents.lines import with_attachments
from fleet.events import PermissionDecided, PersonSaid, PipeEndedV3, Source, Taken, TurnClosed
from fleet.exits import RESTARTED, Exited, Lost, is_tampered
from fleet.flight.services import state_of
from fleet.flight.testimony import claim_of, error_of, events_of, permission_asked, sha256_of
from fleet.limits import words_for
from fleet.model import AIRBOSS, PipeEnd, Session, Turn
from fleet.ports import AgentDriver, Ended, Step
from fleet.store import (
    approvals,
    halts,
    inputs,
    kept_answers,
    reconciling,
    sessions,
    stalls,
    takeovers,
    tasks,
    windows,
)
from fleet.store.approvals import Answer, ApprovalDecision
from fleet.store.core import Tx
from fleet.store.halts import Halt
from fleet.store.recording import record

MOST_ASKS: Final = 20
"""The most questions of a session that wait for a person at once. An agent has one for each call that it makes at
the same time, ten or so; a thousand cards would keep everybody from finding any."""

_UNSEEN: Final = "its session was closed before its end was seen"


@dataclass(frozen=True, slots=True)
class Ruled:
    """An agent's question, and the gatekeeper's ruling; or a person's answer to the same question, asked before."""

    asked: Asked
    ruling: Ruling
    kept: Answer | None = None

    @property
    def decision(self) -> Decision | None:
        """What the agent is told now; ``None``: a person must decide."""
        if self.kept is not None:
            return decision_of(self.kept)
        return None if isinstance(self.ruling, AskPerson) else self.ruling


def to_ask(tx: Tx, session: Session, asked: Asked, ruling: AskPerson, more: int) -> Ruled:
    """What is to go to a person. It may have been answered before the agent's last process ended, or too many
    questions wait already; ``more``: those that are not committed yet."""
    kept = kept_answers.kept(tx, session, asked)
    if kept is None and len(kept_answers.unanswered(tx, session.id)) + more >= MOST_ASKS:
        return Ruled(
            asked, Deny(f"{MOST_ASKS} questions of yours wait for a person already; ask again after those")
        )
    return Ruled(asked, ruling, kept)


def open_turn(tx: Tx, session_id: str) -> Turn | None:
    """The session's turn that has not ended. Only its newest can be open."""
    newest = sessions.turns(tx, session_id)[-1:]
    return next((turn for turn in newest if not turn.ended_us), None)


def save(tx: Tx, session: Session, step: Step, offset: int | None = None) -> Session:
    """Stores the driver's new state, its input for the process, and how much output was read.

    Once its input is closed, a process is sent nothing more; ending it twice is fine.
    """
    if (step.send or step.eof) and not inputs.closed(tx, session.pipe):
        inputs.queue(tx, session.pipe, step.send, eof=step.eof)
    resume = next((item.resume for item in step.happened if hasattr(item, "resume")), session.resume)
    return sessions.update(
        tx,
        session.id,
        driver_state=sessions.dump_state(step.state),
        spool_offset=session.spool_offset if offset is None else offset,
        resume=resume,
    )


def take_step(
    tx: Tx,
    session: Session,
    turn: Turn | None,
    step: Step,
    *,
    ruled: Iterable[Ruled] = (),
    offset: int | None = None,
    approval_hours: int,
) -> Session:
    """Commits a driver's step and what follows from it. What ends a turn is told only of an open one."""
    turn_id = turn.id if turn else ""
    redact = tx.store.redact
    over = any(isinstance(item, TurnEnded) for item in step.happened)
    asking = over and kept_answers.outlives_its_process(tx, session)
    halt = halts.of_turn(tx, session.id, turn.id) if over and turn is not None else None
    told = [item for item in step.happened if turn is not None or not isinstance(item, TurnEnded)]
    happened = [_cut_short(item, halt, asking=asking) for item in told]
    events = events_of(happened, redact)
    for hole in reconciling.without_start(tx, session.id, events):
        record(tx, hole, session, turn=turn_id)
    for event in events:
        record(tx, event, session, turn=turn_id, source=Source.AGENT)
    for item in happened:
        if isinstance(item, TurnEnded) and turn is not None:
            sessions.update_turn(
                tx,
                turn.id,
                claim=claim_of(item, redact),
                ended_us=tx.now_us(),
                outcome=item.outcome,
                error=error_of(item, redact),
                exit=str(item.exit) if item.exit else "",
            )
            kept_answers.drop(tx, session.id)
            windows.turn_ended(tx, session, item)
            if item.completed:
                stalls.outdated(tx, session.id)
        if isinstance(item, Window):
            windows.note(tx, session, item)
        if isinstance(item, ToolStarted):
            halts.count_call(tx, session.id, item.fingerprint)
    for question in ruled:
        _rule(tx, session, turn_id, question, approval_hours)
    # Last, since the same step may have asked it.
    if not kept_answers.outlives_its_process(tx, session):
        for item in happened:
            if isinstance(item, TakenBack):
                _take_back(tx, session, turn_id, item.ask)
        if any(isinstance(item, TurnEnded) for item in happened):
            approvals.withdraw(tx, session=session.id, why="the turn ended without an answer")
    return save(tx, session, step, offset)


def _cut_short(item: Happening, halt: Halt | None, *, asking: bool) -> Happening:
    """However its agent puts it, we ended a turn that waited for an answer, or halted it before it was done."""
    if not isinstance(item, TurnEnded):
        return item
    if asking:
        return TurnEnded(item.claim, TurnOutcome.ASKED)
    return item if halt is None or item.completed else TurnEnded(item.claim, TurnOutcome.HALTED, halt.words)


def _rule(tx: Tx, session: Session, turn_id: str, ruled: Ruled, approval_hours: int) -> None:
    asked, ruling = ruled.asked, ruled.ruling
    reason = "" if isinstance(ruling, Allow) else ruling.reason
    record(tx, permission_asked(asked, reason), session, turn=turn_id, source=Source.AGENT)
    if isinstance(ruling, AskPerson) and ruled.kept is None:
        approvals.open_ask(
            tx,
            session=session,
            ask=asked.ask,
            tool=asked.tool,
            request=asked.request,
            command=asked.command,
            paths=asked.paths,
            reason=reason,
            expires_us=tx.now_us() + approval_hours * 3_600_000_000,
            directory=asked.directory or session.workspace,
            questions=questions.to_json(asked.questions),
        )
        return
    if ruled.kept is not None:
        kept_answers.use(tx, ruled.kept.id)
        record_answer(tx, session, turn_id, replace(ruled.kept, ask=asked.ask))
        return
    decision = ApprovalDecision.ALLOW if isinstance(ruling, Allow) else ApprovalDecision.DENY
    decided = PermissionDecided(asked.ask, asked.tool, str(decision), reason, sha256_of(asked.request))
    record(tx, decided, session, turn=turn_id)


def _take_back(tx: Tx, session: Session, turn_id: str, ask: str) -> None:
    asked = kept_answers.take_back(tx, session.id, ask, "the agent does not wait for it any more")
    if asked is not None:
        decided = PermissionDecided(
            ask, asked.tool, str(asked.decision), asked.decided_why, sha256_of(asked.request)
        )
        record(tx, decided, session, turn=turn_id, source=Source.AGENT)


def nothing_to_take(tx: Tx, session: Session) -> tuple[bool, bool]:
    """Whether no person said or decided anything that the agent has not received; and whether to stop the task."""
    asked = approvals.untaken(tx, session.id) or stalls.decision(tx, session.task) is not None
    nothing = not asked and not sessions.waiting_notes(tx, session.id)
    return nothing, tasks.stop_requested(tx, session.task)


def take_answers(tx: Tx, session: Session, turn: Turn | None, driver: AgentDriver) -> Session:
    """Sends the agent each answer of a person that it has not received."""
    approvals.expire(tx, session.id)
    for answer in approvals.take_decided(tx, session.id):
        record_answer(tx, session, turn.id if turn else "", answer)
        session = save(tx, session, driver.decide(state_of(session), answer.ask, decision_of(answer)))
    return session


def record_answer(tx: Tx, session: Session, turn_id: str, answer: Answer) -> None:
    """Records a person's answer, or that nobody gave one in time."""
    asked = approvals.approval(tx, answer.id)
    decided = PermissionDecided(
        answer.ask, asked.tool, str(answer.decision), answer.reason, sha256_of(asked.request)
    )
    source = Source.CONTROLLER if answer.by == AIRBOSS else Source.PERSON
    record(tx, decided, session, turn=turn_id, source=source, actor=answer.by)


def take_words(
    tx: Tx, session: Session, turn: Turn, driver: AgentDriver, *, newest: int, files: Mapping[int, tuple[str, ...]]
) -> Session:
    """Steers the running turn with people's messages, up to the note ``newest``; ``files`` are paths by note."""
    for note in sessions.take_notes(tx, session.id, newest):
        step = driver.say(state_of(session), with_attachments(note.text, files.get(note.id, ())))
        said = PersonSaid(note.text, Taken.STEERED)
        record(tx, said, session, turn=turn.id, source=Source.PERSON, actor=note.actor)
        session = save(tx, session, step)
    return session


def note_end(tx: Tx, session: Session, ended: Ended, spool_bytes: int) -> None:
    """Records the end of the process: once in the ledger, however often it is seen."""
    if session.pipe_end is not PipeEnd.NONE:
        return
    body = PipeEndedV3(
        pipe=session.pipe,
        exit=ended.exit,
        raw_wait_status=ended.raw_wait_status,
        gone=ended.gone,
        spool_bytes=spool_bytes,
        processes=ended.isolation.processes,
        files=ended.isolation.files,
        network=ended.isolation.network,
        vendor_login=ended.isolation.login,
        limits=ended.limits,
        reached=words_for(ended.reached),
        egress=ended.egress.words if ended.egress else "",
    )
    record(tx, body, session, source=Source.SUPERVISOR)
    sessions.update(tx, session.id, pipe_end=_pipe_end(ended))
    if not kept_answers.outlives_its_process(tx, session):
        approvals.withdraw(tx, session=session.id, why="the process that asked has ended")
    for turn in sessions.turns(tx, session.id)[-1:]:
        stopped_short = turn.outcome not in (None, TurnOutcome.COMPLETED, TurnOutcome.ASKED, TurnOutcome.HALTED)
        if stopped_short and not turn.exit and isinstance(ended.exit, Exited) and ended.exit.code:
            sessions.update_turn(tx, turn.id, exit=str(ended.exit))


def close_unseen(tx: Tx, session: Session) -> None:
    """Part of the transaction that ends a session: closes the turn whose end nobody saw, as its machine is gone or
    says no more, withdraws what was asked in it, and has nobody work on it by hand."""
    approvals.withdraw(tx, session=session.id, why="its session has ended")
    if (hand := takeovers.current(tx, session.task)) is not None and hand.session == session.id:
        takeovers.over(tx, hand)
    turn = open_turn(tx, session.id)
    if turn is not None:
        ended_us, outcome = tx.now_us(), TurnOutcome.FAILED
        sessions.update_turn(tx, turn.id, ended_us=ended_us, outcome=outcome, error=_UNSEEN)
        record(tx, TurnClosed("", str(outcome), _UNSEEN, ""), session, turn=turn.id)


def decision_of(answer: Answer) -> Decision:
    """A person's answer in the form that drivers take."""
    if answer.decision is ApprovalDecision.ANSWER:
        return Answered(answer.reason)
    return Allow() if answer.allowed else Deny(answer.reason or "denied by a person")


def _pipe_end(ended: Ended) -> PipeEnd:
    if ended.unavailable:
        return PipeEnd.UNAVAILABLE
    if ended.exit == RESTARTED:
        return PipeEnd.GONE
    if is_tampered(ended.exit):
        return PipeEnd.TAMPERED
    if isinstance(ended.exit, Lost):
        return PipeEnd.LOST
    return PipeEnd.GONE if ended.gone else PipeEnd.ENDED
