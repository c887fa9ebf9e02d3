"""The core nouns: Machine, Repo, Task, Session, Turn, Snapshot; and the moves a task may make.

Pure data. People deal with tasks, machines with sessions, gates with commits.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum
from typing import Final

from fleet.agent_events import TurnOutcome
from fleet.budgets import UNLIMITED, Allowance
from fleet.locks import Want

AIRBOSS: Final = "airboss"
"""The ledger's actor for what the controller does automatically."""


class Isolation(StrEnum):
    """Whether controller, agents and gates are separate logins. Shown on every card, verdict and receipt."""

    SEPARATE_LOGINS = "separate-logins"
    UNSAFE_SAME_USER = "unsafe-same-user"

    @property
    def unsafe(self) -> bool:
        """Whether one login does everything."""
        return self is Isolation.UNSAFE_SAME_USER


class TaskMode(StrEnum):
    """``CHANGE`` ends with a landing; ``ASK`` is read-only and ends with an answer."""

    CHANGE = "change"
    ASK = "ask"


class TaskState(StrEnum):
    """A task's state. The last seven are final."""

    QUEUED = "queued"
    PREPARING = "preparing"
    RUNNING = "running"
    STALLED = "stalled"  # its turn stopped early: a person decides what follows
    PARKED = "parked"  # a provider's usage limit stopped its turn: it waits for the reset hour, or a person
    ASKING = "asking"  # nobody has answered its agent's question for a while: it goes on with the answer
    JUDGING = "judging"
    HELD = "held"
    LANDING = "landing"
    LANDED = "landed"
    PUSHED = "pushed"  # as a branch of its own: people merge it
    ANSWERED = "answered"
    FAILED = "failed"
    REFUSED = "refused"
    UNAVAILABLE = "unavailable"
    LOST = "lost"
    STOPPED = "stopped"


class TaskEnd(StrEnum):
    """A kind of end, beside the state, that decides what may follow it."""

    UNCHANGED = "unchanged"  # failed, as its agent changed no file: it may have asked something


class LandingMode(StrEnum):
    """What becomes of a change that passed."""

    MERGE = "merge"  # it lands on the base branch
    BRANCH = "branch"  # it is pushed as a branch of its own


class ForeignPush(StrEnum):
    """What follows when somebody else moves a base branch."""

    JUDGE = "judge"  # what waits to land is judged again on it
    STOP = "stop"  # nothing lands until a person says so


class WithoutWalls(StrEnum):
    """What follows for a change that would land, where a part of its gates' isolation was missing."""

    ASK = "ask"  # a person looks first
    LAND = "land"  # it lands, and its verdict says what was missing


class PipeEnd(StrEnum):
    """How a session's process ended. ``NONE``: not ended, or not known."""

    NONE = ""
    GONE = "gone"  # its whole process tree has ended
    ENDED = "ended"  # it ended, but processes that it started may still run
    LOST = "lost"  # no trusted exit record
    TAMPERED = "tampered"  # somebody else changed its record, its output or its input
    UNAVAILABLE = "unavailable"  # it never started

    @property
    def lost(self) -> bool:
        """Whether nothing that is known of it can be trusted."""
        return self in (PipeEnd.LOST, PipeEnd.TAMPERED)


class TurnCause(StrEnum):
    """Why a turn started."""

    REQUEST = "request"
    REWORK = "rework"
    MERGE = "merge"  # the base moved, and with it the worktree: the change is merged in, perhaps with conflicts
    SAID = "said"
    GO_ON = "go-on"  # a person continued a turn that stopped early
    ANSWERED = "answered"  # a person answered what the agent had asked before its process ended
    BY_HAND = "by-hand"  # a person worked in the agent's own interface: a turn without a prompt of ours
    RETRY = "retry"  # the last turn stopped early for a reason that passes: it is tried again without a person


ENDS = frozenset(
    {
        TaskState.LANDED,
        TaskState.PUSHED,
        TaskState.ANSWERED,
        TaskState.FAILED,
        TaskState.REFUSED,
        TaskState.UNAVAILABLE,
        TaskState.LOST,
        TaskState.STOPPED,
    }
)

#: Its turn stopped early, and its agent's process is gone.
STOPPED_EARLY = (TaskState.STALLED, TaskState.PARKED)

_Q, _P, _R, _S, _W, _A, _J, _H, _L = (
    TaskState.QUEUED,
    TaskState.PREPARING,
    TaskState.RUNNING,
    TaskState.STALLED,
    TaskState.PARKED,
    TaskState.ASKING,
    TaskState.JUDGING,
    TaskState.HELD,
    TaskState.LANDING,
)
_BAD_ENDS = frozenset(
    {TaskState.FAILED, TaskState.REFUSED, TaskState.UNAVAILABLE, TaskState.LOST, TaskState.STOPPED}
)

#: Only a verdict leads from ``judging`` towards ``landing``; nothing else reaches ``landed`` or ``pushed``.
TRANSITIONS: dict[TaskState, frozenset[TaskState]] = {
    _Q: frozenset({_P}) | _BAD_ENDS,
    _P: frozenset({_R}) | _BAD_ENDS,
    _R: frozenset({_S, _W, _A, _J, TaskState.ANSWERED}) | _BAD_ENDS,
    _S: frozenset({_R, _S, _J}) | _BAD_ENDS,  # again: after work by hand a person is asked anew
    _W: frozenset({_R, _S, _J}) | _BAD_ENDS,
    _A: frozenset({_R}) | _BAD_ENDS,
    _J: frozenset({_R, _S, _H, _L}) | _BAD_ENDS,
    _H: frozenset({_L, _R}) | _BAD_ENDS,
    _L: frozenset({_J, _R, _S, _H, TaskState.LANDED, TaskState.PUSHED}) | _BAD_ENDS,
    TaskState.LANDED: frozenset(),
    TaskState.PUSHED: frozenset(),
    TaskState.ANSWERED: frozenset(),
    **{end: frozenset({_S}) for end in _BAD_ENDS},  # a person continues a task that did not land
}

#: Exit status of a command that waited for a task, by the task's final or waiting state.
STATUS_OF_STATE: dict[TaskState, int] = {
    TaskState.LANDED: 0,
    TaskState.PUSHED: 0,
    TaskState.ANSWERED: 0,
    TaskState.FAILED: 1,
    TaskState.REFUSED: 2,
    TaskState.STOPPED: 2,
    TaskState.UNAVAILABLE: 3,
    TaskState.LOST: 3,
    TaskState.STALLED: 4,
    TaskState.PARKED: 4,
    TaskState.ASKING: 4,
    TaskState.HELD: 4,
}


def status_of(task: Task) -> int:
    """Exit status of a command that waited for the task: 3 for a question whose turn stopped early, since it has no
    answer."""
    if task.mode is TaskMode.ASK and task.state in STOPPED_EARLY:
        return STATUS_OF_STATE[TaskState.UNAVAILABLE]
    return STATUS_OF_STATE[task.state]


def may_move(old: TaskState, new: TaskState) -> bool:
    """Whether a task may go from ``old`` to ``new``."""
    return new in TRANSITIONS[old]


@dataclass(frozen=True, slots=True)
class PersonId:
    """A person's identity: a platform's own user id, never a display name or a channel.

    ``workspace`` is Slack's team id; empty on Telegram, the host name on the console.
    """

    platform: str
    workspace: str
    user: str

    def __str__(self) -> str:
        return f"{self.platform}:{self.workspace}:{self.user}"

    @classmethod
    def parse(cls, text: str) -> PersonId:
        """The inverse of ``str``. Raises ``ValueError`` unless there are exactly three parts."""
        platform, workspace, user = text.split(":")
        return cls(platform, workspace, user)


@dataclass(frozen=True, slots=True)
class ChatRef:
    """A place for cards: an adapter's name, its chat id and, if any, a thread."""

    adapter: str
    chat: str
    thread: str = ""


@dataclass(frozen=True, slots=True)
class Fork:
    """What a task begins with: the ``snapshot`` of another task's ``session``, on the same ``base``."""

    session: str
    snapshot: str
    base: str


@dataclass(frozen=True, slots=True)
class Task:
    """What a person asked for. Times are microseconds since the epoch, by the store's clock."""

    id: str
    repo: str
    agent: str
    machine: str  # requested by the person; empty: any that qualifies
    prompt: str
    mode: TaskMode
    state: TaskState
    why: str  # why it is in this state, for a person; may be empty
    requester: str  # str(PersonId)
    origin: ChatRef
    created_us: int
    updated_us: int
    retry_of: str = ""
    locks: tuple[Want, ...] = ()  # what it declared
    after: str = ""  # the task that must land before this one starts
    rank: int = 0  # the lowest starts first; people change it
    budget: Allowance = UNLIMITED  # its own limits
    forked: Fork | None = None  # whose work its worktree begins with
    needs: tuple[str, ...] = ()  # what its machine must offer, besides what its repository needs
    model: str = ""  # the one that a person chose; empty: its agent's


@dataclass(frozen=True, slots=True)
class Session:
    """One agent's conversation on one machine, in one worktree.

    ``conversation`` is the UUID that we gave it. ``pipe`` is the id of the runner's pipe for its current process,
    and ``pipe_end`` how that process ended. ``one_turn``: the process ends with its turn. ``spool_offset`` is how
    much of the pipe's output is committed, ``driver_state`` the driver's own JSON at that offset.
    """

    id: str
    task: str
    machine: str
    agent: str
    base: str  # the commit that the work is a change of
    workspace: str  # absolute path on the machine
    isolation: Isolation
    conversation: str
    pipe: str
    pipe_end: PipeEnd
    one_turn: bool
    nonce: str
    spool_offset: int
    driver_state: str
    resume: str  # the agent's own conversation id; empty until reported
    started_us: int
    ended_us: int  # 0 while it is open
    seen_us: int  # last evidence that its process was alive; 0: none yet
    mark: str = ""  # 64 random bits, made with its row; empty for a session of an old version
    login: str = ""  # the one it has to itself until its task ends; empty: the machine has one login for all
    base_us: int = 0  # when a newer base was looked up, onto which its work was moved; 0: it never was
    port_slot: int = 0  # its place among the machine's ports, from 1 on; 0 for a session of an old version
    boot: str = ""  # its machine's, when the process was begun; empty: not known

    def outside(self, instance: str) -> str:
        """Its name on machines and in commits, where another store may know a session of the same id."""
        return "-".join(part for part in (instance, self.id, self.mark) if part)

    @property
    def knows_until_us(self) -> int:
        """What others changed before this moment is in its base."""
        return self.base_us or self.started_us


@dataclass(frozen=True, slots=True)
class Turn:
    """One prompt and its result. ``snapshot`` is the commit that the controller made; empty before.

    ``outcome`` is ``None`` while it runs. ``error`` is the vendor's words for what ended it, redacted; ``exit``
    is in words, and empty unless the end of the process ended the turn.
    """

    id: str
    session: str
    number: int
    cause: TurnCause
    prompt: str
    claim: str  # the agent's closing message: testimony
    snapshot: str
    tree: str
    started_us: int
    ended_us: int
    outcome: TurnOutcome | None = None
    error: str = ""
    exit: str = ""
