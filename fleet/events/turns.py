"""Events within a turn: messages of people and the agent, tool calls, and usage."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum
from typing import ClassVar

from fleet.events.envelope import Event


@dataclass(frozen=True, slots=True)
class TurnStarted(Event):
    KIND: ClassVar[str] = "turn.started"
    number: int
    cause: str
    prompt: str


@dataclass(frozen=True, slots=True)
class TurnClosedV1(Event):
    """The form written by versions without outcomes."""

    KIND: ClassVar[str] = "turn.closed"
    claim: str
    ok: bool
    error: str


@dataclass(frozen=True, slots=True)
class TurnClosed(Event):
    """``outcome`` is a ``TurnOutcome``; ``exit`` is in words, if the end of the process ended the turn."""

    KIND: ClassVar[str] = "turn.closed"
    V: ClassVar[int] = 2
    claim: str
    outcome: str
    error: str
    exit: str


@dataclass(frozen=True, slots=True)
class StallDecided(Event):
    """A person's decision about a turn that stopped early: ``decision`` is ``go-on`` or ``judge``.

    ``outcome`` is the turn's, ``commit`` its snapshot, empty if no file was changed.
    """

    KIND: ClassVar[str] = "stall.decided"
    decision: str
    outcome: str
    commit: str


@dataclass(frozen=True, slots=True)
class AgentSilent(Event):
    """No output and no open tool call for so long (``silent``), or output again. ``last``: what it did last."""

    KIND: ClassVar[str] = "agent.silent"
    silent: bool
    seconds: int
    last: str


class Taken(StrEnum):
    """How the agent got a message: in its running turn, or with its next one."""

    STEERED = "steered"
    QUEUED = "queued"


@dataclass(frozen=True, slots=True)
class PersonSaid(Event):
    """A person's message to a session."""

    KIND: ClassVar[str] = "person.said"
    text: str
    taken: Taken


@dataclass(frozen=True, slots=True)
class AgentReady(Event):
    KIND: ClassVar[str] = "agent.ready"
    resume: str
    model: str


@dataclass(frozen=True, slots=True)
class AgentSaid(Event):
    KIND: ClassVar[str] = "agent.said"
    text: str


@dataclass(frozen=True, slots=True)
class AgentContinued(Event):
    """The rest of a line that is too long for one event: continues its ``AgentSaid`` directly."""

    KIND: ClassVar[str] = "agent.continued"
    text: str


@dataclass(frozen=True, slots=True)
class AgentUnknown(Event):
    KIND: ClassVar[str] = "agent.unknown"
    raw: str


@dataclass(frozen=True, slots=True)
class ToolCallStarted(Event):
    KIND: ClassVar[str] = "tool.started"
    call: str
    tool: str
    summary: str


@dataclass(frozen=True, slots=True)
class ToolCallStartedV2(ToolCallStarted):
    """Also says under which call a subagent made it; empty for a call of the agent itself."""

    V: ClassVar[int] = 2
    parent: str


@dataclass(frozen=True, slots=True)
class ToolCallEnded(Event):
    KIND: ClassVar[str] = "tool.ended"
    call: str
    outcome: str
    exit_code: int | None
    detail: str


@dataclass(frozen=True, slots=True)
class ToolCallEndedV2(ToolCallEnded):
    """Also says how many bytes of output the agent showed; ``None`` where it showed none."""

    V: ClassVar[int] = 2
    size: int | None


@dataclass(frozen=True, slots=True)
class UsageReported(Event):
    KIND: ClassVar[str] = "usage.reported"
    input_tokens: int
    output_tokens: int
    cost_udollar: int
