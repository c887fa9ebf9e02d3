"""How a flight moves its task. Each function is part of a transaction and returns the task's new state."""

from __future__ import annotations

from collections.abc import Callable

from fleet.config import FleetConfig
from fleet.events import Source, StallDecided
from fleet.flight import commits, notes
from fleet.model import AIRBOSS, ENDS, STOPPED_EARLY, Session, Task, TaskEnd, TaskState
from fleet.store import approvals, kept_answers, sessions, stalls, tasks
from fleet.store.core import Tx
from fleet.store.recording import record


def move(tx: Tx, task_id: str, state: TaskState, why: str = "") -> Task:
    """Moves the task. If it ends with unread messages of people, the reason says so."""
    unread = state in ENDS and sessions.words_wait(tx, task_id)
    reasons = [reason for reason in (why, notes.NOT_READ if unread else "") if reason]
    return tasks.move(tx, task_id, state, "; ".join(reasons), AIRBOSS)


def move_unless_said(tx: Tx, task_id: str, state: TaskState, why: str = "", *, end: TaskEnd | None = None) -> None:
    """Moves the task, unless messages wait that the agent should read first."""
    if not sessions.words_wait(tx, task_id):
        tasks.move(tx, task_id, state, why, AIRBOSS, end=end)


def settle_stall(tx: Tx, task_id: str) -> None:
    """Part of the transaction that acts on a person's decision about a stalled task, or continues without one."""
    decided = stalls.decision(tx, task_id)
    if decided is None:
        stalls.withdraw(tx, task_id, by=AIRBOSS, why=notes.MORE_WAS_SAID)
        return
    approvals.settle(tx, decided.id)
    session = sessions.newest(tx, task_id)
    first, *later = sessions.turns(tx, session.id)
    turn = next((turn for turn in reversed(later) if turn.outcome is not None), first)
    word = StallDecided(str(decided.decision), str(turn.outcome or ""), decided.commit)
    record(tx, word, session, turn=turn.id, source=Source.PERSON, actor=decided.by)


def settle_questions(tx: Tx, task_id: str) -> None:
    """Part of the transaction by which an asking task goes on: what was answered is kept for its agent, the rest is
    withdrawn."""
    session = sessions.newest(tx, task_id)
    answers = approvals.take_decided(tx, session.id)
    for answer in answers:
        commits.record_answer(tx, session, "", answer)
    kept_answers.keep(tx, [answer.id for answer in answers])
    approvals.withdraw(tx, session=session.id, why="the agent goes on without an answer")


class NoSlot(Exception):
    """A task that gave its slot back cannot go on yet; the text says why. ``machine``: the one without a free slot;
    empty if the task waits for something else there."""

    def __init__(self, why: str, machine: str = "") -> None:
        super().__init__(why)
        self.machine = machine


def take_slot(tx: Tx, session: Session, config: FleetConfig) -> None:
    """Part of the transaction by which a task that waited for a person goes on. Raises ``NoSlot``, which undoes
    that transaction."""
    machine = config.machines.get(session.machine)
    used = sessions.busy(tx).get(session.machine, 0)
    if machine is not None and used >= machine.slots:
        raise NoSlot(f"{session.machine}: {used} of {machine.slots} slots busy", session.machine)
    demand_login(tx, session)


def demand_login(tx: Tx, session: Session) -> None:
    """Raises ``NoSlot`` while a later session has the login that this one had to itself before it was closed."""
    if not session.login:
        return
    for other in sessions.active(tx):
        same = (other.machine, other.login) == (session.machine, session.login)
        if same and other.id != session.id and other.started_us > session.started_us:
            raise NoSlot(f"{session.machine}: {other.task} has its login {session.login}")


def running(task: Task, config: FleetConfig, why: str = "") -> Callable[[Tx], None]:
    """What the transaction that starts a turn does to its task. ``why``: what its card says then."""

    def work(tx: Tx) -> None:
        to_running(tx, task.id, config)
        if why:
            tasks.explain(tx, task.id, why)

    return work


def to_running(tx: Tx, task_id: str, config: FleetConfig) -> None:
    """Part of the transaction that starts a turn. Closes the question that waited for a person's decision.

    Raises ``NoSlot`` for a task that waited without a slot and whose machine is busy with others.
    """
    task = tasks.task(tx, task_id)
    if task.state in sessions.SLOTLESS:
        take_slot(tx, sessions.newest(tx, task_id), config)
    if task.state in STOPPED_EARLY:
        settle_stall(tx, task_id)
    if task.state is TaskState.ASKING:
        settle_questions(tx, task_id)
    if task.state is TaskState.HELD:
        approvals.withdraw_hold(tx, task_id, by=AIRBOSS, why=notes.MORE_WAS_SAID)
    if task.state is not TaskState.RUNNING:
        tasks.move(tx, task_id, TaskState.RUNNING, "", AIRBOSS)
