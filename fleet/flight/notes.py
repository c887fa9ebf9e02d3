"""A person's words for a task, from the chat to the agent: nothing lands while some of them wait to be read.

Words are left in one transaction with the look at where the task stands, and taken in the one that begins the turn
in which the agent reads them: so what the person was told stays true, whatever dies in between.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum, auto

from fleet.agents.lines import with_attachments
from fleet.errors import Refused, Unreachable
from fleet.flight import attachments
from fleet.model import ENDS, Session, Task, TaskState
from fleet.ports import Executor
from fleet.store import approvals, landings, sessions, stalls, tasks
from fleet.store.approvals import Approval
from fleet.store.core import Store, Tx
from fleet.store.sessions import Note

MORE_WAS_SAID = "more was said"
NOT_READ = "what was said last was not read"


class Reach(Enum):
    """When the agent reads what was said."""

    AT_ITS_START = auto()
    STEERING = auto()
    NEXT_TURN = auto()
    BEFORE_LANDING = auto()
    WITHDRAWS = auto()  # at once: the change that waited for a person's yes does not wait any more
    GOES_ON = auto()  # at once: its turn had stopped short


@dataclass(frozen=True, slots=True)
class Left:
    """Words that wait for the agent. ``withdrawn``: the question that they took back."""

    note: int
    reach: Reach
    withdrawn: Approval | None = None


def leave(tx: Tx, task: Task, text: str, actor: str) -> Left:
    """Keeps a person's words for the task's agent, and says when it reads them.

    Raises ``Refused`` where it would not: before the agent is placed, and once the task lands, stops or has ended.
    """
    found = sessions.of_task(tx, task.id)
    _check(tx, task, begun=bool(found))
    session = found[-1]
    reach, held = _reach(tx, task, session), None
    if reach is Reach.WITHDRAWS:
        held = approvals.withdraw_hold(tx, task.id, by=actor, why=MORE_WAS_SAID)
    if reach is Reach.GOES_ON:
        held = stalls.withdraw(tx, task.id, by=actor, why=MORE_WAS_SAID)
    return Left(sessions.add_note(tx, session.id, text, actor), reach, held)


def _check(tx: Tx, task: Task, *, begun: bool) -> None:
    again = f"Say it as a new task with /run, or /retry {task.id}"
    if task.state in ENDS:
        raise _not_heard(task, f"it has ended: {task.state}", again)
    if tasks.stop_requested(tx, task.id):
        raise _not_heard(task, "it is being stopped", again)
    if not begun:
        raise _not_heard(task, "its agent has not started yet", "Try again soon.")
    if task.state is TaskState.LANDING and landings.begun(tx, task.id):
        raise _not_heard(task, "it is landing, and its agent is not asked any more", again)
    decided = approvals.hold_decision(tx, task.id)
    if task.state is TaskState.HELD and decided is not None and not decided.allowed:
        raise _not_heard(task, "its change was denied just now", again)


def _reach(tx: Tx, task: Task, session: Session) -> Reach:
    match task.state:
        case TaskState.RUNNING:
            over = any(turn.ended_us for turn in sessions.turns(tx, session.id)[-1:])
            return Reach.NEXT_TURN if session.one_turn or over else Reach.STEERING
        case TaskState.JUDGING | TaskState.LANDING:
            return Reach.BEFORE_LANDING
        case TaskState.HELD:
            waits = any(approval.kind == "hold" for approval in approvals.waiting(tx, task.id))
            return Reach.WITHDRAWS if waits else Reach.BEFORE_LANDING
        case TaskState.STALLED:
            return Reach.GOES_ON if stalls.waiting(tx, task.id) is not None else Reach.BEFORE_LANDING
        case _:
            return Reach.AT_ITS_START


def _not_heard(task: Task, cause: str, hint: str) -> Refused:
    return Refused(attempted=f"speak to {task.id}", cause=cause, hint=hint)


@dataclass(frozen=True, slots=True)
class Words:
    """What waited for a session's agent: ``text`` is all of it as the agent reads it, with the files' paths."""

    notes: tuple[Note, ...]
    text: str

    def take(self, tx: Tx, session: Session) -> None:
        """In the transaction that begins their turn: they are read. Raises ``ValueError`` when they were before."""
        if tuple(sessions.take_notes(tx, session.id, self.notes[-1].id)) != self.notes:
            raise ValueError(f"words for {session.id} were read twice")


async def waiting(store: Store, executor: Executor, session: Session) -> Words | None:
    """The words that wait, their files handed over; ``None`` when there are none.

    Raises ``Unreachable`` while words wait whose files cannot reach the machine.
    """
    newest, enclosed = await attachments.of_notes(store, executor, session)
    every = await store.read(lambda tx: sessions.waiting_notes(tx, session.id))
    notes = tuple(note for note in every if note.id <= newest)
    if every and not notes:
        raise Unreachable(attempted="hand over a person's files", on=session.machine)
    if not notes:
        return None
    return Words(notes, "\n\n".join(with_attachments(note.text, enclosed.get(note.id, ())) for note in notes))
