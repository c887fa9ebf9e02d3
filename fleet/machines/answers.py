"""Every answer of a machine's runner as a typed record: the one place that decodes them.

The far end is not trusted to be well: whatever lacks a field, has one of a wrong type or out of its range, or is of
an unknown kind raises ``MachineFaulty`` with the machine's name and the reason, and nothing else.
"""

from __future__ import annotations

import hashlib
import hmac
from collections.abc import Mapping
from typing import Annotated, Any, Final, Literal, TypeVar

import msgspec

from fleet.errors import MachineFaulty, Malformed
from fleet.exits import Exit, Lost, TimedOut, from_wait_status
from fleet.isolation import UNWALLED, RunIsolation, Sharing
from fleet.limits import InForce, Reached, Resource
from fleet.ports import Ended
from fleet.untrusted import Untrusted

T = TypeVar("T")

REASON_LIMIT: Final = 200
"""Characters of a fault's reason that people are shown."""
CAUSE_LIMIT: Final = 1000
"""Characters of a runner's own error that people are shown."""

_NAME_LIMIT: Final = 40
"""Characters of a process's name that people are shown."""

Size = Annotated[int, msgspec.Meta(ge=0, le=(1 << 53) - 1)]
"""A count, an offset or a position, in bytes or pieces."""
Micros = Annotated[int, msgspec.Meta(ge=0, le=253_402_300_799_999_999)]
"""Microseconds since the epoch, at most the last ones of the year 9999."""
WaitStatus = Annotated[int, msgspec.Meta(ge=0, le=0xFFFF)]
Name = Annotated[str, msgspec.Meta(min_length=1, max_length=255)]
Words = Annotated[str, msgspec.Meta(max_length=4096)]
AbsolutePath = Annotated[str, msgspec.Meta(max_length=4096, pattern=r"\A/[^\x00]*\Z")]


class _Record(msgspec.Struct, frozen=True):
    """Fields that a record does not know are ignored; all that it names must be there."""


class Head(_Record, frozen=True):
    """What every frame of an answer may carry. ``id`` 0 is the link's own: its greeting and its pings."""

    id: Size = 0
    ev: str = ""
    done: bool = False
    error: Literal["", "refused", "unavailable"] = ""
    cause: str = ""

    @property
    def last(self) -> bool:
        """Nothing more comes for this call."""
        return self.done or bool(self.error)


class Ready(_Record, frozen=True):
    """The runner's greeting: where its directory is."""

    root: AbsolutePath


class Credit(_Record, frozen=True):
    """The far side took so many bytes of a call's input."""

    n: Annotated[int, msgspec.Meta(ge=0, le=1 << 24)]


class Facts(_Record, frozen=True):
    """See ``LoginFacts``."""

    user: Name
    uid: Annotated[int, msgspec.Meta(ge=0, le=(1 << 32) - 1)]
    home: AbsolutePath
    host: Name
    boot: Name
    system: Name
    python: Annotated[str, msgspec.Meta(max_length=32, pattern=r"\A\d+\.\d+\.\d+\Z")]
    cpus: Annotated[int, msgspec.Meta(ge=1, le=1 << 20)]
    load_milli: Annotated[int, msgspec.Meta(ge=0, le=1 << 40)]
    disk_free: Size
    clock_us: Micros
    contained: bool
    walled: bool


class RunEnded(_Record, frozen=True):
    """How a short command ended: its raw wait status, and whether it was stopped for taking too long."""

    status: WaitStatus
    timeout: bool


class Done(_Record, frozen=True):
    """An answer that says nothing but that it is done."""

    done: Literal[True]


class Forgotten(_Record, frozen=True):
    """How many old pipes were removed."""

    count: Size


class _Event(_Record, frozen=True, tag_field="ev"):
    pass


class RunOut(_Event, frozen=True, tag="out"):
    """A piece of a command's standard output."""


class RunErr(_Event, frozen=True, tag="err"):
    """A piece of a command's standard error."""


class Data(_Event, frozen=True, tag="data"):
    """A piece of a file."""


class OutAt(_Event, frozen=True, tag="out"):
    """A piece of a pipe's spool, from byte ``offset`` on."""

    offset: Size


class AcceptedTo(_Event, frozen=True, tag="accepted"):
    """Input up to byte ``position`` reached the process."""

    position: Size


class StalledBy(_Event, frozen=True, tag="stalled"):
    """The spool cannot be written."""

    why: Words


class Beat(_Event, frozen=True, tag="pulse"):
    """The supervisor lives."""


class End(_Event, frozen=True, tag="end"):
    """The end of a pipe. ``missing``: why there is no such pipe; ``recorded``: an exit record comes with it."""

    missing: Words
    recorded: bool
    doubled: bool


class SeenInside(_Record, frozen=True):
    """What kept a contained run apart, see ``RunIsolation``."""

    processes: Sharing
    files: Sharing
    network: Sharing


class LimitsSeen(_Record, frozen=True):
    """The limits that a supervisor watched, see ``InForce``."""

    memory: Size
    processes: Size
    disk: Size


class LimitReached(_Record, frozen=True):
    """See ``Reached``."""

    resource: Resource
    limit: Size
    process: Words


class ExitRecord(_Record, frozen=True):
    """What a supervisor signed about its process."""

    pipe: str
    how: Literal["ended", "timeout", "unavailable", "killed-init"]
    status: WaitStatus | None
    started_us: Micros
    ended_us: Micros
    timeout_us: Micros
    contained: bool
    gone: bool
    tree: Words
    unavailable: Words
    # A supervisor of an earlier version does not say these.
    walls: SeenInside | None = None
    limits: LimitsSeen | None = None
    reached: tuple[LimitReached, ...] = ()


Following = OutAt | AcceptedTo | StalledBy | Beat | End
"""What a followed pipe tells."""
Running = RunOut | RunErr
"""What a short command tells before its end."""


_HINT: Final = "the controller retries automatically; if this continues, check the login on that machine"


def faulty(machine: str, attempted: str, reason: str, hint: str = _HINT) -> MachineFaulty:
    """The error for a malformed answer, its reason cut and cleaned of what a terminal would obey."""
    return MachineFaulty(
        attempted=attempted,
        on=machine,
        cause="malformed answer: " + Untrusted(reason).one_line(REASON_LIMIT),
        hint=hint,
    )


def header(text: bytes) -> dict[str, Any]:
    """A frame's JSON object. Raises ``Malformed``."""
    try:
        return msgspec.json.decode(text, type=dict[str, Any])
    except (ValueError, RecursionError) as error:
        raise Malformed(attempted="read an answer", cause=str(error)) from error


def decoded(kind: Any, fields: Mapping[str, Any], machine: str, attempted: str) -> Any:
    """``fields`` as a ``kind``: a record, or a union of events. Raises ``MachineFaulty``."""
    try:
        return msgspec.convert(fields, kind)
    except (ValueError, RecursionError) as error:
        raise faulty(machine, attempted, str(error)) from error


def record(kind: type[T], fields: Mapping[str, Any], machine: str, attempted: str) -> T:
    """``fields`` as one kind of record. Raises ``MachineFaulty``."""
    answer: T = decoded(kind, fields, machine, attempted)
    return answer


def following(fields: Mapping[str, Any], machine: str, attempted: str) -> Following:
    """An event of a followed pipe. Raises ``MachineFaulty``."""
    event: Following = decoded(Following, fields, machine, attempted)
    return event


def running(fields: Mapping[str, Any], machine: str, attempted: str) -> Running:
    """An event of a short command. Raises ``MachineFaulty``."""
    event: Running = decoded(Running, fields, machine, attempted)
    return event


def cause(text: str) -> str:
    """A runner's own words about an error, for people."""
    return Untrusted(text).text(CAUSE_LIMIT)


def judge(pipe: str, nonce: str, end: End, signed: bytes) -> Ended:
    """What an exit record is worth: nothing, unless signed with the nonce, for this pipe, and alone.

    A signed record that is malformed stays so for ever: it ends the pipe as lost rather than being read again.
    """
    if end.missing:
        return _lost(Untrusted(end.missing).one_line(REASON_LIMIT))
    if not end.recorded:
        return _lost("the supervisor is gone and left no exit record")
    if end.doubled:
        return _lost("there is an exit record that the supervisor did not write")
    lines = signed.split(b"\n")
    if len(lines) != 3 or lines[2]:
        return _lost("the exit record is not one record")
    proof = hmac.new(nonce.encode(), lines[0], hashlib.sha256).hexdigest()
    if not hmac.compare_digest(proof.encode(), lines[1]):
        return _lost("the exit record does not carry the supervisor's proof")
    try:
        body = msgspec.json.decode(lines[0], type=ExitRecord)
    except (ValueError, RecursionError) as error:
        return _lost("the exit record is malformed: " + Untrusted(str(error)).one_line(REASON_LIMIT))
    if body.pipe != pipe:
        return _lost("the exit record belongs to another pipe")
    return Ended(
        _exit(body),
        body.status,
        body.started_us,
        body.ended_us,
        contained=body.contained,
        gone=body.gone,
        isolation=_isolation(body.walls),
        limits=InForce(body.limits.memory, body.limits.processes, body.limits.disk) if body.limits else None,
        reached=tuple(
            Reached(hit.resource, hit.limit, Untrusted(hit.process).one_line(_NAME_LIMIT)) for hit in body.reached
        ),
        tree=body.tree,
        unavailable=body.unavailable,
    )


def _lost(why: str) -> Ended:
    return Ended(Lost(why), None, 0, 0, contained=False, gone=False)


def _isolation(seen: SeenInside | None) -> RunIsolation:
    """A run that was not contained shares everything."""
    return RunIsolation(seen.processes, seen.files, seen.network) if seen else UNWALLED


def _exit(body: ExitRecord) -> Exit:
    if body.how == "timeout":
        return TimedOut(body.timeout_us)
    if body.how == "unavailable":
        return Lost(f"never started: {body.unavailable}")
    if body.status is None:
        return Lost("the process that watched over the command was killed")
    return from_wait_status(body.status)
