"""The event envelope, fixed for good, and one small class per kind of event.

An event's bytes are RFC 8785 canonical JSON of the envelope; integers only (microseconds, micro-dollars,
bytes). Kinds are tagged; a kind this version does not know stays ``Unknown`` with its body, never dropped.
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass, fields
from enum import StrEnum
from typing import Any, ClassVar

import rfc8785

from fleet.errors import Malformed


class Source(StrEnum):
    """Whose word a line is. Only the controller's and a supervisor's are evidence."""

    CONTROLLER = "controller"
    SUPERVISOR = "supervisor"
    AGENT = "agent"
    PERSON = "person"


@dataclass(frozen=True, slots=True)
class Refs:
    """What an event is about. Empty strings where there is nothing."""

    task: str = ""
    session: str = ""
    turn: str = ""
    gate_run: str = ""
    machine: str = ""


@dataclass(frozen=True, slots=True)
class Event:
    """Base of every event class. ``KIND`` and ``V`` tag the body; fields are JSON without floats."""

    KIND: ClassVar[str] = ""
    V: ClassVar[int] = 1

    def body(self) -> dict[str, Any]:
        """The body as plain JSON."""
        return {f.name: _plain(getattr(self, f.name)) for f in fields(self)}


def _plain(value: Any) -> Any:
    if isinstance(value, tuple | list):
        return [_plain(item) for item in value]
    if isinstance(value, dict):
        return {key: _plain(item) for key, item in value.items()}
    if isinstance(value, StrEnum):
        return str(value)
    return value


@dataclass(frozen=True, slots=True)
class ControllerStarted(Event):
    KIND: ClassVar[str] = "controller.started"
    version: str
    recovered_tasks: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class TaskRequested(Event):
    KIND: ClassVar[str] = "task.requested"
    repo: str
    agent: str
    machine: str
    mode: str
    prompt: str
    retry_of: str


@dataclass(frozen=True, slots=True)
class TaskMoved(Event):
    KIND: ClassVar[str] = "task.moved"
    old: str
    new: str
    why: str


@dataclass(frozen=True, slots=True)
class SessionPlaced(Event):
    KIND: ClassVar[str] = "session.placed"
    machine: str
    agent: str
    base: str
    isolation: str
    passed_over: tuple[str, ...]  # "machine: why not", one each


@dataclass(frozen=True, slots=True)
class PipeStarted(Event):
    KIND: ClassVar[str] = "pipe.started"
    pipe: str
    program: str


@dataclass(frozen=True, slots=True)
class PipeEnded(Event):
    KIND: ClassVar[str] = "pipe.ended"
    pipe: str
    exit: dict[str, Any]
    raw_wait_status: int | None
    gone: bool
    spool_bytes: int


#: How the ``why`` of a ``LinkChanged`` begins when the machine answers but cannot write what the agent says.
SPOOL_STALLED = "spool: "


@dataclass(frozen=True, slots=True)
class LinkChanged(Event):
    """The link to a session's machine went down or came back; says nothing about the session's life."""

    KIND: ClassVar[str] = "link.changed"
    up: bool
    why: str


@dataclass(frozen=True, slots=True)
class SessionEnded(Event):
    KIND: ClassVar[str] = "session.ended"
    why: str


@dataclass(frozen=True, slots=True)
class TurnStarted(Event):
    KIND: ClassVar[str] = "turn.started"
    number: int
    cause: str
    prompt: str


@dataclass(frozen=True, slots=True)
class TurnClosed(Event):
    KIND: ClassVar[str] = "turn.closed"
    claim: str
    ok: bool
    error: str


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
    """The rest of a line too long for one event: follows its ``AgentSaid`` without a break."""

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
class ToolCallEnded(Event):
    KIND: ClassVar[str] = "tool.ended"
    call: str
    outcome: str
    exit_code: int | None
    detail: str


@dataclass(frozen=True, slots=True)
class UsageReported(Event):
    KIND: ClassVar[str] = "usage.reported"
    input_tokens: int
    output_tokens: int
    cost_udollar: int


@dataclass(frozen=True, slots=True)
class PermissionAsked(Event):
    KIND: ClassVar[str] = "permission.asked"
    ask: str
    tool: str
    command: str
    paths: tuple[str, ...]
    request_sha256: str
    reason: str


@dataclass(frozen=True, slots=True)
class PermissionDecided(Event):
    KIND: ClassVar[str] = "permission.decided"
    ask: str
    tool: str
    decision: str  # "allow", "answer" (``reason`` is the answer) or "deny"
    reason: str
    request_sha256: str


@dataclass(frozen=True, slots=True)
class PermissionGranted(Event):
    """A person said yes for the rest of a session: to this tool, these arguments, in this directory."""

    KIND: ClassVar[str] = "permission.granted"
    approval: str
    tool: str
    scope_sha256: str


@dataclass(frozen=True, slots=True)
class PersonSaid(Event):
    """A person's words for a session: how they were taken is ``steered`` or ``queued``."""

    KIND: ClassVar[str] = "person.said"
    text: str
    taken: str


@dataclass(frozen=True, slots=True)
class SnapshotMade(Event):
    KIND: ClassVar[str] = "snapshot.made"
    commit: str
    tree: str
    base: str
    files: int
    insertions: int
    deletions: int


@dataclass(frozen=True, slots=True)
class GateOpened(Event):
    """In the ledger before the gate runs, so that an omitted failure leaves a hole anyone can see."""

    KIND: ClassVar[str] = "gate.opened"
    gate: str
    commit: str
    tree: str
    base: str
    argv: tuple[str, ...]
    definition_sha256: str
    round: int


@dataclass(frozen=True, slots=True)
class GateClosed(Event):
    KIND: ClassVar[str] = "gate.closed"
    gate: str
    outcome: str
    reason: str
    exit: dict[str, Any] | None
    raw_wait_status: int | None
    tree: str
    login: str
    contained: bool
    output_sha256: str
    output_bytes: int
    started_us: int
    ended_us: int
    junit: dict[str, int] | None


@dataclass(frozen=True, slots=True)
class VerdictGiven(Event):
    KIND: ClassVar[str] = "verdict.given"
    commit: str
    tree: str
    base: str
    outcome: str
    reasons: tuple[str, ...]
    gate_runs: tuple[str, ...]
    isolation: str
    rework_turns: int
    tail: str  # untrusted: what the failing gate printed, cut and redacted


@dataclass(frozen=True, slots=True)
class HoldReleased(Event):
    KIND: ClassVar[str] = "hold.released"
    commit: str
    approved: bool
    reason: str


@dataclass(frozen=True, slots=True)
class LandingIntended(Event):
    KIND: ClassVar[str] = "landing.intended"
    ref: str
    old: str
    new: str
    tree: str
    fencing_token: int


@dataclass(frozen=True, slots=True)
class LandingDone(Event):
    KIND: ClassVar[str] = "landing.done"
    ref: str
    old: str
    new: str
    tree: str
    fencing_token: int


@dataclass(frozen=True, slots=True)
class LandingMissed(Event):
    """The base moved under the intent; the change is merged and judged again, or handed back."""

    KIND: ClassVar[str] = "landing.missed"
    ref: str
    expected: str
    found: str
    why: str


@dataclass(frozen=True, slots=True)
class ReceiptIssued(Event):
    KIND: ClassVar[str] = "receipt.issued"
    commit: str
    sha256: str
    path: str


@dataclass(frozen=True, slots=True)
class ConfigReloaded(Event):
    KIND: ClassVar[str] = "config.reloaded"
    sha256: str


@dataclass(frozen=True, slots=True)
class UnknownEvent(Event):
    """An event of a kind or version this code does not know; ``raw`` is its body, untouched."""

    kind: str
    v: int
    raw: dict[str, Any]

    def body(self) -> dict[str, Any]:
        return self.raw


KINDS: dict[tuple[str, int], type[Event]] = {
    (kind.KIND, kind.V): kind for kind in Event.__subclasses__() if kind.KIND
}


@dataclass(frozen=True, slots=True)
class Recorded:
    """An event in the ledger. ``canonical`` are its RFC 8785 bytes, ``leaf`` their RFC 6962 leaf hash."""

    seq: int
    id: str
    time_us: int
    actor: str
    refs: Refs
    source: Source
    event: Event
    canonical: bytes
    leaf: bytes


def encode(*, seq: int, id_: str, time_us: int, actor: str, refs: Refs, source: Source, event: Event) -> bytes:
    """The envelope's RFC 8785 bytes. Raises ``Malformed`` for what JSON integers cannot carry."""
    kind, v = (event.kind, event.v) if isinstance(event, UnknownEvent) else (event.KIND, event.V)
    envelope: dict[str, Any] = {
        "seq": seq,
        "id": id_,
        "time_us": time_us,
        "kind": kind,
        "v": v,
        "actor": actor,
        "task": refs.task,
        "session": refs.session,
        "turn": refs.turn,
        "gate_run": refs.gate_run,
        "machine": refs.machine,
        "source": str(source),
        "body": event.body(),
    }
    _only_integers(envelope, kind)
    try:
        return rfc8785.dumps(envelope)
    except rfc8785.CanonicalizationError as error:
        raise Malformed(attempted="write an event", on=kind, cause=str(error)) from error


def _only_integers(value: Any, kind: str) -> None:
    if isinstance(value, float):
        raise Malformed(attempted="write an event", on=kind, cause="a float; use micro-units")
    if isinstance(value, dict):
        for item in value.values():
            _only_integers(item, kind)
    elif isinstance(value, list | tuple):
        for item in value:
            _only_integers(item, kind)


def leaf_hash(data: bytes) -> bytes:
    """RFC 6962 section 2.1: SHA-256 of 0x00 and the leaf's bytes."""
    return hashlib.sha256(b"\x00" + data).digest()


def parse(envelope: dict[str, Any]) -> tuple[Refs, Source, Event]:
    """The typed parts of a decoded envelope. Unknown kinds, versions and fields become ``UnknownEvent``."""
    refs = Refs(
        task=envelope["task"],
        session=envelope["session"],
        turn=envelope["turn"],
        gate_run=envelope["gate_run"],
        machine=envelope["machine"],
    )
    kind, v, body = envelope["kind"], envelope["v"], envelope["body"]
    cls = KINDS.get((kind, v))
    if cls is None or set(body) != {f.name for f in fields(cls)}:
        return refs, Source(envelope["source"]), UnknownEvent(kind, v, body)
    values = {name: tuple(item) if isinstance(item, list) else item for name, item in body.items()}
    return refs, Source(envelope["source"]), cls(**values)
