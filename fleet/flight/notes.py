"""Messages from people to a task's agent: nothing lands while some of them are unread.

A message is stored in the transaction that reads the task's state, and taken in the one that starts the turn in
which the agent reads it. So what the person was told stays true through any crash.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum, auto

from fleet.agents.lines import with_attachments
from fleet.errors import Refused, Unreachable
from fleet.flight import attachments
from fleet.model import ENDS, Session, Task, TaskState
from fleet.ports import Executor
from fleet.store import approvals, halts, landings, refusals, sessions, stalls, tasks, trees
from fleet.store.approvals import Approval, ApprovalDecision
from fleet.store.core import Store, Tx
from fleet.store.sessions import Note
from fleet.store.states import ApprovalKind

MORE_WAS_SAID = "a new message arrived"
NOT_READ = "the last message was not read"
_NOT_BEGUN = "Edit the message that asked for it, which asks anew; or say it once the agent has started."


class Reach(Enum):
    """When the agent reads a message."""

    AT_ITS_START = auto()
    STEERING = auto()
    NEXT_TURN = auto()
    BEFORE_LANDING = auto()
    WITHDRAWS = auto()  # immediately: the held change is withdrawn
    GOES_ON = auto()  # immediately: its turn had stopped early, or changed nothing
    FIXES = auto()  # immediately: its change was denied, and the task continues


@dataclass(frozen=True, slots=True)
class Added:
    """A message that waits for the agent. ``withdrawn``: the question that it closed."""

    note: int
    reach: Reach
    withdrawn: Approval | None = None


def add(tx: Tx, task: Task, text: str, actor: str) -> Added:
    """Stores a person's message for the task's agent, and returns when the agent reads it.

    A task whose change was denied continues, and one whose agent changed nothing. Raises ``Refused`` if the agent
    would never read it: before the agent is placed, and once the task lands, stops or has ended otherwise.
    """
    task, opened = _reopened(tx, task)
    found = sessions.of_task(tx, task.id)
    _check(tx, task, begun=bool(found))
    session = found[-1]
    reach, held = opened or _reach(tx, task, session), None
    if reach is Reach.WITHDRAWS:
        held = approvals.withdraw_hold(tx, task.id, by=actor, why=MORE_WAS_SAID)
    if reach is Reach.GOES_ON and not opened:
        held = stalls.withdraw(tx, task.id, by=actor, why=MORE_WAS_SAID)
    return Added(sessions.add_note(tx, session.id, text, actor), reach, held)


def _reopened(tx: Tx, task: Task) -> tuple[Task, Reach | None]:
    """The task; open again if a message lets its agent fix its change, or answers what it asked."""
    if refusals.unchanged(tx, task):
        tree = trees.of_session(tx, sessions.newest(tx, task.id))
        trees.open_again(tx, tree, ApprovalDecision.GO_ON)
        return tasks.task(tx, task.id), Reach.GOES_ON
    held = refusals.denied(tx, task)
    if held is None:
        return task, None
    if not refusals.closed(tx, task):
        raise _undeliverable(task, "its change was denied just now", "Try again in a moment.")
    refusals.reopen(tx, task, held)
    return tasks.task(tx, task.id), Reach.FIXES


def _check(tx: Tx, task: Task, *, begun: bool) -> None:
    again = f"Say it as a new task with /run, or /retry {task.id}"
    if task.state in ENDS:
        raise _undeliverable(task, f"it has ended: {task.state}", again)
    if tasks.stop_requested(tx, task.id):
        raise _undeliverable(task, "it is being stopped", again)
    if not begun:
        raise _undeliverable(task, "its agent has not started yet", _NOT_BEGUN)
    if task.state is TaskState.LANDING and landings.may_have_landed(tx, task.id):
        raise _undeliverable(task, "it is landing, and its agent has finished", again)
    if task.state is TaskState.STALLED and halts.spent(tx, sessions.newest(tx, task.id).id):
        raise _undeliverable(task, "its budget is used up", f"/go {task.id} more gives it more; then say it.")
    decided = approvals.hold_decision(tx, task.id)
    if task.state is TaskState.HELD and decided is not None and not decided.allowed:
        raise _undeliverable(task, "its change was denied just now", again)


def _reach(tx: Tx, task: Task, session: Session) -> Reach:
    match task.state:
        case TaskState.RUNNING:
            over = any(turn.ended_us for turn in sessions.turns(tx, session.id)[-1:])
            return Reach.NEXT_TURN if session.one_turn or over else Reach.STEERING
        case TaskState.JUDGING | TaskState.LANDING:
            return Reach.BEFORE_LANDING
        case TaskState.HELD:
            waits = any(approval.kind is ApprovalKind.HOLD for approval in approvals.waiting(tx, task.id))
            return Reach.WITHDRAWS if waits else Reach.BEFORE_LANDING
        case TaskState.STALLED | TaskState.PARKED:
            return Reach.GOES_ON if stalls.waiting(tx, task.id) is not None else Reach.BEFORE_LANDING
        case TaskState.ASKING:
            return Reach.GOES_ON
        case _:
            return Reach.AT_ITS_START


def _undeliverable(task: Task, cause: str, hint: str) -> Refused:
    return Refused(attempted=f"send a message to {task.id}", cause=cause, hint=hint)


@dataclass(frozen=True, slots=True)
class Words:
    """Messages waiting for a session's agent: ``text`` is all of them as the agent reads them, with file paths."""

    notes: tuple[Note, ...]
    text: str

    def take(self, tx: Tx, session: Session) -> None:
        """Marks them read, in the transaction that starts their turn. Raises ``ValueError`` when they were read
        before."""
        if tuple(sessions.take_notes(tx, session.id, self.notes[-1].id)) != self.notes:
            raise ValueError(f"messages for {session.id} were read twice")


async def waiting(store: Store, executor: Executor, session: Session) -> Words | None:
    """The waiting messages, with their files sent to the machine; ``None`` when there are none.

    Raises ``Unreachable`` when messages wait whose files cannot be sent to the machine.
    """
    if not await store.read(lambda tx: sessions.waiting_notes(tx, session.id)):
        return None
    newest, enclosed = await attachments.of_notes(store, executor, session)
    every = await store.read(lambda tx: sessions.waiting_notes(tx, session.id))
    notes = tuple(note for note in every if note.id <= newest)
    if every and not notes:
        raise Unreachable(attempted="send a person's files", on=session.machine)
    if not notes:
        return None
    return Words(notes, "\n\n".join(with_attachments(note.text, enclosed.get(note.id, ())) for note in notes))
