"""The nouns of the house: Machine, Repo, Task, Session, Turn, Snapshot; and the moves a task may make.

Pure data. A person's unit is a task, a machine's is a session, the law's is a commit.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum
from typing import Final

from fleet.agent_events import TurnOutcome

AIRBOSS: Final = "airboss"
"""The ledger's actor for what the controller does automatically."""


class Isolation(StrEnum):
    """Whether controller, agents and gates are separate logins. Shown on every card, verdict and receipt."""

    SEPARATE_LOGINS = "separate-logins"
    UNSAFE_SAME_USER = "unsafe-same-user"

    @property
    def unsafe(self) -> bool:
        """True when one login does everything."""
        return self is Isolation.UNSAFE_SAME_USER


class TaskMode(StrEnum):
    """``CHANGE`` ends in a landing; ``ASK`` is read-only and ends in an answer."""

    CHANGE = "change"
    ASK = "ask"


class TaskState(StrEnum):
    """Where a task stands. The last seven are ends."""

    QUEUED = "queued"
    PREPARING = "preparing"
    RUNNING = "running"
    STALLED = "stalled"  # its turn stopped short: a person says whether it goes on, is judged as it is, or stops
    JUDGING = "judging"
    HELD = "held"
    LANDING = "landing"
    LANDED = "landed"
    ANSWERED = "answered"
    FAILED = "failed"
    REFUSED = "refused"
    UNAVAILABLE = "unavailable"
    LOST = "lost"
    STOPPED = "stopped"


class PipeEnd(StrEnum):
    """What became of a session's process. ``NONE``: nothing yet, it may live."""

    NONE = ""
    GONE = "gone"  # its whole tree was seen gone
    ENDED = "ended"  # it ended, and something that it started may live on
    LOST = "lost"  # no trusted exit record
    UNAVAILABLE = "unavailable"  # it never started


class TurnCause(StrEnum):
    """Why a turn began."""

    REQUEST = "request"
    REWORK = "rework"
    SAID = "said"
    GO_ON = "go-on"  # a person let a turn that stopped short go on


ENDS = frozenset(
    {
        TaskState.LANDED,
        TaskState.ANSWERED,
        TaskState.FAILED,
        TaskState.REFUSED,
        TaskState.UNAVAILABLE,
        TaskState.LOST,
        TaskState.STOPPED,
    }
)

_Q, _P, _R, _S, _J, _H, _L = (
    TaskState.QUEUED,
    TaskState.PREPARING,
    TaskState.RUNNING,
    TaskState.STALLED,
    TaskState.JUDGING,
    TaskState.HELD,
    TaskState.LANDING,
)
_BAD_ENDS = frozenset(
    {TaskState.FAILED, TaskState.REFUSED, TaskState.UNAVAILABLE, TaskState.LOST, TaskState.STOPPED}
)

#: Only a verdict leads out of ``judging`` towards ``landing``; nothing else reaches ``landed``.
TRANSITIONS: dict[TaskState, frozenset[TaskState]] = {
    _Q: frozenset({_P}) | _BAD_ENDS,
    _P: frozenset({_R}) | _BAD_ENDS,
    _R: frozenset({_S, _J, TaskState.ANSWERED}) | _BAD_ENDS,
    _S: frozenset({_R, _J}) | _BAD_ENDS,
    _J: frozenset({_R, _H, _L}) | _BAD_ENDS,
    _H: frozenset({_L, _R}) | _BAD_ENDS,
    _L: frozenset({_J, _R, _H, TaskState.LANDED}) | _BAD_ENDS,
    **{end: frozenset() for end in ENDS},
}

#: Exit status of a command that waited for a task, by the state it ended or waits in.
STATUS_OF_STATE: dict[TaskState, int] = {
    TaskState.LANDED: 0,
    TaskState.ANSWERED: 0,
    TaskState.FAILED: 1,
    TaskState.REFUSED: 2,
    TaskState.STOPPED: 2,
    TaskState.UNAVAILABLE: 3,
    TaskState.LOST: 3,
    TaskState.STALLED: 4,
    TaskState.HELD: 4,
}


def status_of(task: Task) -> int:
    """Exit status of a command that waited for the task. A question whose turn stalled has no answer: 3."""
    if task.mode is TaskMode.ASK and task.state is TaskState.STALLED:
        return STATUS_OF_STATE[TaskState.UNAVAILABLE]
    return STATUS_OF_STATE[task.state]


def may_move(old: TaskState, new: TaskState) -> bool:
    """Whether a task may go from ``old`` to ``new``."""
    return new in TRANSITIONS[old]


@dataclass(frozen=True, slots=True)
class PersonId:
    """Who somebody is to us: a platform's own user id, never a name or a channel.

    ``workspace`` is Slack's team id, empty on Telegram, and the host name on the console.
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
    """A place a card can be sent to: an adapter's name, its chat id and, where there is one, a thread."""

    adapter: str
    chat: str
    thread: str = ""


@dataclass(frozen=True, slots=True)
class Task:
    """What a person asked for. Times are microseconds since the epoch, by the store's clock."""

    id: str
    repo: str
    agent: str
    machine: str  # the one the person asked for; empty: any that fits
    prompt: str
    mode: TaskMode
    state: TaskState
    why: str  # why it is in this state, for a person; empty when the state says all
    requester: str  # str(PersonId)
    origin: ChatRef
    created_us: int
    updated_us: int
    retry_of: str = ""


@dataclass(frozen=True, slots=True)
class Session:
    """One agent's conversation on one machine, in one worktree.

    ``conversation`` is the UUID we gave it. ``pipe`` is the id of the runner's pipe that now carries its process
    and ``pipe_end`` what became of that. ``one_turn``: the process ends with its turn. ``spool_offset`` is how
    far the pipe's output is committed, ``driver_state`` the driver's own JSON as of there.
    """

    id: str
    task: str
    machine: str
    agent: str
    base: str  # commit the work started from
    workspace: str  # absolute path on the machine
    isolation: Isolation
    conversation: str
    pipe: str
    pipe_end: PipeEnd
    one_turn: bool
    nonce: str
    spool_offset: int
    driver_state: str
    resume: str  # the agent's own id of the conversation; empty until it said it
    started_us: int
    ended_us: int  # 0 while it goes on
    seen_us: int  # last evidence that its process was alive; 0: none yet


@dataclass(frozen=True, slots=True)
class Turn:
    """One prompt and what came of it. ``snapshot`` is the commit the controller made; empty before.

    ``outcome`` is ``None`` while it goes on. ``error`` is the vendor's words for what ended it, redacted; ``exit``
    is in words, and empty unless the end of the process ended the turn.
    """

    id: str
    session: str
    number: int
    cause: TurnCause
    prompt: str
    claim: str  # the agent's own closing words: testimony
    snapshot: str
    tree: str
    started_us: int
    ended_us: int
    outcome: TurnOutcome | None = None
    error: str = ""
    exit: str = ""
