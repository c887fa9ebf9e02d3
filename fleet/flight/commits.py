"""What a follower commits about its session. Each function is part of a transaction."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from fleet import questions
from fleet.agent_events import Allow, Answered, Asked, AskPerson, Decision, Deny, Ruling, TurnEnded, TurnOutcome
from fleet.agents.lines import with_attachments
from fleet.events import PermissionDecided, PersonSaid, PipeEndedV2, Source, Taken
from fleet.exits import Exited, Lost
from fleet.flight.services import state_of
from fleet.flight.testimony import claim_of, error_of, events_of, permission_asked, sha256_of
from fleet.limits import words_for
from fleet.model import AIRBOSS, PipeEnd, Session, Turn
from fleet.ports import AgentDriver, Ended, Step
from fleet.store import approvals, sessions
from fleet.store.approvals import ApprovalDecision
from fleet.store.core import Tx
from fleet.store.recording import record


@dataclass(frozen=True, slots=True)
class Ruled:
    """An agent's question, and the gatekeeper's ruling."""

    asked: Asked
    ruling: Ruling


def save(tx: Tx, session: Session, step: Step, offset: int | None = None) -> Session:
    """Stores the driver's new state, its input for the process, and how much output was read.

    Once its input is closed, a process is sent nothing more; ending it twice is fine.
    """
    if (step.send or step.eof) and not sessions.input_closed(tx, session.pipe):
        sessions.queue_input(tx, session.pipe, step.send, eof=step.eof)
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
    """Commits a driver's step and what follows from it."""
    turn_id = turn.id if turn else ""
    redact = tx.store.redact
    for event in events_of(step.happened, redact):
        record(tx, event, session, turn=turn_id, source=Source.AGENT)
    for item in step.happened:
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
            approvals.withdraw(tx, session=session.id, why="the turn ended without an answer")
    for question in ruled:
        _rule(tx, session, turn_id, question, approval_hours)
    return save(tx, session, step, offset)


def _rule(tx: Tx, session: Session, turn_id: str, ruled: Ruled, approval_hours: int) -> None:
    asked, ruling = ruled.asked, ruled.ruling
    reason = "" if isinstance(ruling, Allow) else ruling.reason
    record(tx, permission_asked(asked, reason), session, turn=turn_id, source=Source.AGENT)
    if isinstance(ruling, AskPerson):
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
    decision = ApprovalDecision.ALLOW if isinstance(ruling, Allow) else ApprovalDecision.DENY
    decided = PermissionDecided(asked.ask, asked.tool, str(decision), reason, sha256_of(asked.request))
    record(tx, decided, session, turn=turn_id)


def take_answers(tx: Tx, session: Session, turn: Turn | None, driver: AgentDriver) -> Session:
    """Sends the agent each answer of a person that it has not received."""
    approvals.expire(tx, session.id)
    for answer in approvals.take_decided(tx, session.id):
        asked = approvals.approval(tx, answer.id)
        decided = PermissionDecided(
            answer.ask, asked.tool, str(answer.decision), answer.reason, sha256_of(asked.request)
        )
        source = Source.CONTROLLER if answer.by == AIRBOSS else Source.PERSON
        record(tx, decided, session, turn=turn.id if turn else "", source=source, actor=answer.by)
        session = save(tx, session, driver.decide(state_of(session), answer.ask, _decision(answer)))
    return session


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
    body = PipeEndedV2(
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
    )
    record(tx, body, session, source=Source.SUPERVISOR)
    sessions.update(tx, session.id, pipe_end=_pipe_end(ended))
    approvals.withdraw(tx, session=session.id, why="the process that asked has ended")
    for turn in sessions.turns(tx, session.id)[-1:]:
        stopped_short = turn.outcome not in (None, TurnOutcome.COMPLETED)
        if stopped_short and not turn.exit and isinstance(ended.exit, Exited) and ended.exit.code:
            sessions.update_turn(tx, turn.id, exit=str(ended.exit))


def _decision(answer: approvals.Answer) -> Decision:
    if answer.decision is ApprovalDecision.ANSWER:
        return Answered(answer.reason)
    return Allow() if answer.allowed else Deny(answer.reason or "denied by a person")


def _pipe_end(ended: Ended) -> PipeEnd:
    if ended.unavailable:
        return PipeEnd.UNAVAILABLE
    if isinstance(ended.exit, Lost):
        return PipeEnd.LOST
    return PipeEnd.GONE if ended.gone else PipeEnd.ENDED
