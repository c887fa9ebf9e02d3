"""Decodes every answer of a machine's runner into a typed record; nothing else decodes them.

An answer that lacks a field, has a value of a wrong type or range, or is of an unknown kind raises
``MachineFaulty`` with the machine's name and the reason.
"""

from __future__ import annotations

import hashlib
import hmac
from collections.abc import Mapping
from dataclasses import replace
from typing import Annotated, Any, Final, Literal, TypeVar

import msgspec

from fleet.bounds import AbsolutePath, Micros, Size, Words
from fleet.errors import MachineFaulty, Malformed
from fleet.exits import UNRECORDED, Exit, Lost, Passed, Streams, TimedOut, from_wait_status, tampered
from fleet.isolation import UNWALLED, EgressSeen, RunIsolation, Sharing
from fleet.limits import InForce, Reached
from fleet.ports import Ended
from fleet.untrusted import Untrusted

T = TypeVar("T")

REASON_LIMIT: Final = 200
"""The most characters of a fault's reason that are shown."""
CAUSE_LIMIT: Final = 1000
"""The most characters of a runner's own error that are shown."""

_NAME_LIMIT: Final = 40
"""The most characters of a process's name that are shown."""

WaitStatus = Annotated[int, msgspec.Meta(ge=0, le=0xFFFF)]


class _Record(msgspec.Struct, frozen=True):
    """Unknown fields are ignored; missing ones are an error."""


class Head(_Record, frozen=True):
    """Common to every frame of an answer. ``id`` 0: the link itself (greeting and pings)."""

    id: Size = 0
    ev: str = ""
    done: bool = False
    error: Literal["", "refused", "unavailable"] = ""
    cause: str = ""

    @property
    def last(self) -> bool:
        """Whether this is the call's last frame."""
        return self.done or bool(self.error)


class Greeting(_Record, frozen=True):
    """The runner's greeting, with its directory."""

    root: AbsolutePath


class Credit(_Record, frozen=True):
    """The far side consumed this many bytes of a call's input."""

    n: Annotated[int, msgspec.Meta(ge=0, le=1 << 24)]


class RunEnded(_Record, frozen=True):
    """How a short command ended: its raw wait status, and whether it timed out."""

    status: WaitStatus
    timeout: bool


class Done(_Record, frozen=True):
    """An answer without content: the request succeeded."""

    done: Literal[True]


class InputKnown(_Record, frozen=True):
    """How many bytes of a pipe's input are in its file."""

    size: Size


class TreeTaken(_Record, frozen=True):
    """The tree that a kept checkout says it holds; empty: there was none."""

    tree: Annotated[str, msgspec.Meta(max_length=100)]


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
    """The supervisor is alive."""


class End(_Event, frozen=True, tag="end"):
    """The end of a pipe. ``missing``: why the pipe does not exist; ``recorded``: an exit record follows in the
    payload."""

    missing: Words
    recorded: bool
    doubled: bool


class SeenInside(_Record, frozen=True):
    """The isolation of a contained run; see ``RunIsolation``."""

    processes: Sharing
    files: Sharing
    network: Sharing
    # A supervisor of an earlier version does not say these.
    login: Sharing = Sharing.SHARED
    account: Sharing = Sharing.SHARED
    supervisor: Sharing = Sharing.SHARED
    user: Words = ""


class LimitsSeen(_Record, frozen=True):
    """The limits that a supervisor watched: an :class:`InForce`, which is also in the ledger, without bounds."""

    memory: Size
    processes: Size
    disk: Size


class ExitRecord(_Record, frozen=True):
    """What a supervisor signed about its process."""

    pipe: str
    how: Literal["ended", "timeout", "unavailable", "killed-init", "unended"]
    status: WaitStatus | None
    started_us: Micros
    ended_us: Micros
    timeout_us: Micros
    contained: bool
    gone: bool
    tree: Words
    unavailable: Words
    # Missing from supervisors of an earlier version.
    walls: SeenInside | None = None
    limits: LimitsSeen | None = None
    reached: tuple[Reached, ...] = ()
    left: tuple[Words, ...] = ()
    egress: EgressSeen | None = None
    said: Passed | None = None
    fed: Passed | None = None


Following = OutAt | AcceptedTo | StalledBy | Beat | End
"""The events of a followed pipe."""
Running = RunOut | RunErr
"""The events of a short command before it ends."""


_HINT: Final = "the controller retries automatically; if this continues, check the login on that machine"


def faulty(machine: str, attempted: str, reason: str, hint: str = _HINT) -> MachineFaulty:
    """The error for a malformed answer; its reason is shortened and cleaned of terminal codes."""
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
    """Decodes ``fields`` as ``kind``: a record or a union of events. Raises ``MachineFaulty``."""
    try:
        return msgspec.convert(fields, kind)
    except (ValueError, RecursionError) as error:
        raise faulty(machine, attempted, str(error)) from error


def record(kind: type[T], fields: Mapping[str, Any], machine: str, attempted: str) -> T:
    """Decodes ``fields`` as one kind of record. Raises ``MachineFaulty``."""
    answer: T = decoded(kind, fields, machine, attempted)
    return answer


def following(fields: Mapping[str, Any], machine: str, attempted: str) -> Following:
    """Decodes an event of a followed pipe. Raises ``MachineFaulty``."""
    event: Following = decoded(Following, fields, machine, attempted)
    return event


def running(fields: Mapping[str, Any], machine: str, attempted: str) -> Running:
    """Decodes an event of a short command. Raises ``MachineFaulty``."""
    event: Running = decoded(Running, fields, machine, attempted)
    return event


def cause(text: str) -> str:
    """A runner's own error text, cleaned for display."""
    return Untrusted(text).text(CAUSE_LIMIT)


def judge(pipe: str, nonce: str, end: End, signed: bytes) -> Ended:
    """Checks an exit record: it counts only if signed with the nonce, for this pipe, and the only record.

    A signed but malformed record never becomes valid, so it ends the pipe as lost instead of being read again.
    """
    if end.missing:
        return _lost(Untrusted(end.missing).one_line(REASON_LIMIT))
    if not end.recorded:
        return _lost(UNRECORDED.why)
    if end.doubled:
        return _lost(tampered("the exit record was not written by the supervisor"))
    lines = signed.split(b"\n")
    if len(lines) != 3 or lines[2]:
        return _lost(tampered("there is not exactly one exit record"))
    proof = hmac.new(nonce.encode(), lines[0], hashlib.sha256).hexdigest()
    if not hmac.compare_digest(proof.encode(), lines[1]):
        return _lost(tampered("the exit record's signature is wrong"))
    try:
        body = msgspec.json.decode(lines[0], type=ExitRecord)
    except (ValueError, RecursionError) as error:
        return _lost("the exit record is malformed: " + Untrusted(str(error)).one_line(REASON_LIMIT))
    if body.pipe != pipe:
        return _lost(tampered("the exit record belongs to another pipe"))
    return Ended(
        _exit(body),
        body.status,
        body.started_us,
        body.ended_us,
        contained=body.contained,
        gone=body.gone,
        isolation=_isolation(body.walls),
        login=Untrusted(body.walls.user).one_line(_NAME_LIMIT) if body.walls else "",
        left=tuple(Untrusted(line).one_line(REASON_LIMIT) for line in body.left),
        limits=InForce(body.limits.memory, body.limits.processes, body.limits.disk) if body.limits else None,
        reached=tuple(replace(hit, process=Untrusted(hit.process).one_line(_NAME_LIMIT)) for hit in body.reached),
        egress=_egress(body.egress),
        # Supervisors of earlier versions do not say it, nor those whose process was never started.
        streams=Streams(body.said, body.fed) if body.said else None,
        tree=body.tree,
        unavailable=body.unavailable,
    )


def _lost(why: str) -> Ended:
    return Ended(Lost(why), None, 0, 0, contained=False, gone=False)


def _isolation(seen: SeenInside | None) -> RunIsolation:
    """The isolation of a run; a run that was not contained shares everything."""
    if seen is None:
        return UNWALLED
    return RunIsolation(seen.processes, seen.files, seen.network, seen.login, seen.account, seen.supervisor)


def _egress(seen: EgressSeen | None) -> EgressSeen | None:
    """Its hosts are the words of whoever asked for them."""
    return seen and replace(seen, hosts=tuple(Untrusted(host).one_line(_NAME_LIMIT) for host in seen.hosts))


def _exit(body: ExitRecord) -> Exit:
    if body.how == "timeout":
        return TimedOut(body.timeout_us)
    if body.how == "unavailable":
        return Lost(f"never started: {body.unavailable}")
    if body.how == "unended":
        return Lost("the command could not be killed")
    if body.status is None:
        return Lost("the command's parent process was killed")
    return from_wait_status(body.status)
