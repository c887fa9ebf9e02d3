"""What a driver reads in an agent's output, and how the controller answers. All of it is testimony.

A driver turns lines into these events; the dispatcher records them in the ledger and acts on them.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from enum import StrEnum

from fleet.exits import Exit
from fleet.questions import Question


class ToolOutcome(StrEnum):
    """How a tool call ended. Each driver documents what it counts as ``FAILED``."""

    OK = "ok"
    FAILED = "failed"
    DENIED = "denied"


class Act(StrEnum):
    """What a tool call does. Rules name these; each driver maps its tools to them."""

    SHELL = "shell"
    EDIT = "edit"
    READ = "read"
    NETWORK = "network"
    MCP = "mcp"
    OTHER = "other"


class TurnOutcome(StrEnum):
    """How a turn ended. Only the work of a completed turn is judged."""

    COMPLETED = "completed"
    FAILED = "failed"  # the agent's own error, a non-zero exit, a signal, or anything unknown
    LIMITED = "limited"  # a usage limit, or no credit
    NOT_LOGGED_IN = "not_logged_in"
    OVERLOADED = "overloaded"
    CONVERSATION_LOST = "conversation_lost"
    CONTEXT_FULL = "context_full"
    ASKED = "asked"  # we ended its process, because nobody answered its question for a while
    HALTED = "halted"  # we ended it: a budget is used up, or the agent makes no progress

    @property
    def ends_conversation(self) -> bool:
        """Whether a later turn is in a new conversation, in the same worktree."""
        return self in (TurnOutcome.CONVERSATION_LOST, TurnOutcome.CONTEXT_FULL)


@dataclass(frozen=True, slots=True)
class Ready:
    """The agent is ready. ``resume`` is its own conversation id, with which a later process can continue."""

    resume: str
    model: str = ""


@dataclass(frozen=True, slots=True)
class Said:
    """Text from the agent."""

    text: str


@dataclass(frozen=True, slots=True)
class ToolStarted:
    """A tool call started. ``summary`` is one untrusted line for a progress card.

    ``fingerprint``: equal for calls of one tool with equal arguments; empty for an edit. ``parent``: for a call of
    a subagent the call that started it or, where only that is known, its thread.
    """

    call: str
    tool: str
    summary: str
    fingerprint: str = field(default="", compare=False)
    parent: str = ""


@dataclass(frozen=True, slots=True)
class ToolEnded:
    """A tool call ended. ``exit_code`` only where the agent reports a real one; ``size`` is that of its output in
    bytes, where the agent shows it."""

    call: str
    outcome: ToolOutcome
    exit_code: int | None = None
    detail: str = ""
    size: int | None = None


@dataclass(frozen=True, slots=True)
class Asked:
    """The agent waits for a decision before it acts; until ``decide`` is sent, it does nothing.

    ``ask`` is the agent's request id. ``command`` is the exact command line of a shell tool, ``paths`` the files
    that an edit names, ``request`` the whole input as JSON text (what an approval binds to), ``directory`` where it
    would act, empty when the agent does not say. With ``questions`` it wants an answer, not permission.
    ``act`` is the kind of act that the driver assigns. ``person``: why only a person may say yes, whatever the
    rules; empty otherwise.
    """

    ask: str
    tool: str
    request: str
    command: str = ""
    paths: tuple[str, ...] = ()
    directory: str = ""
    questions: tuple[Question, ...] = ()
    act: Act = Act.OTHER
    person: str = ""


@dataclass(frozen=True, slots=True)
class TakenBack:
    """The agent no longer waits for a decision on ``ask``: it says so, or asks something else under the same id."""

    ask: str


@dataclass(frozen=True, slots=True)
class Used:
    """Usage that the agent reports, since its last report. ``cost_udollar`` is micro-dollars."""

    input_tokens: int
    output_tokens: int
    cost_udollar: int


@dataclass(frozen=True, slots=True)
class Window:
    """How much of one limit of the account is used. ``name`` is its length, ``resets_us`` 0 when not reported."""

    name: str
    used_percent: int
    resets_us: int


@dataclass(frozen=True, slots=True)
class TurnEnded:
    """The turn ended. ``claim`` is the agent's closing message, ``error`` the vendor's words for what went wrong.

    ``exit`` is how the process ended, if that ended the turn.
    """

    claim: str
    outcome: TurnOutcome
    error: str = ""
    exit: Exit | None = None

    @property
    def completed(self) -> bool:
        """Whether the agent says it finished."""
        return self.outcome is TurnOutcome.COMPLETED


@dataclass(frozen=True, slots=True)
class Unknown:
    """A line that the driver does not understand. Kept, never dropped; ``raw`` is cut to 2,000 characters."""

    raw: str


Happening = Ready | Said | ToolStarted | ToolEnded | Asked | TakenBack | Used | Window | TurnEnded | Unknown


@dataclass(frozen=True, slots=True)
class Allow:
    """The agent may do exactly what it asked."""


@dataclass(frozen=True, slots=True)
class Deny:
    """The agent may not; it is told the ``reason``."""

    reason: str


@dataclass(frozen=True, slots=True)
class AskPerson:
    """A person decides; the agent waits. ``reason`` says why a person is needed."""

    reason: str


@dataclass(frozen=True, slots=True)
class Answered:
    """A person's answer to an ``Asked`` with questions, in the form of :func:`fleet.questions.meant`."""

    kept: str


Decision = Allow | Deny | Answered
Ruling = Allow | Deny | AskPerson
