"""Events about a session: its machine, its process, its link, and the snapshots of its workspace."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from fleet.events.envelope import Event
from fleet.exits import Exit
from fleet.limits import InForce


@dataclass(frozen=True, slots=True)
class SessionPlaced(Event):
    KIND: ClassVar[str] = "session.placed"
    machine: str
    agent: str
    base: str
    isolation: str
    passed_over: tuple[str, ...]  # "machine: why not", one each


@dataclass(frozen=True, slots=True)
class SessionPlacedV2(SessionPlaced):
    """Also names the login that the session has to itself; empty where the machine has no pool of them."""

    V: ClassVar[int] = 2
    login: str


@dataclass(frozen=True, slots=True)
class SessionMoves(Event):
    """The session's worktree is about to be moved onto a newer base. ``snapshot`` is its work before that,
    ``commit`` the merge of both; ``conflicts`` are the files that its agent is asked to resolve."""

    KIND: ClassVar[str] = "session.moves"
    old: str
    new: str
    snapshot: str
    commit: str
    conflicts: tuple[str, ...]
    why: str


@dataclass(frozen=True, slots=True)
class PipeStarted(Event):
    KIND: ClassVar[str] = "pipe.started"
    pipe: str
    program: str


@dataclass(frozen=True, slots=True)
class PipeEnded(Event):
    KIND: ClassVar[str] = "pipe.ended"
    pipe: str
    exit: Exit
    raw_wait_status: int | None
    gone: bool
    spool_bytes: int


@dataclass(frozen=True, slots=True)
class PipeEndedV2(PipeEnded):
    """Also says what kept the session apart, as seen from inside (each a ``fleet.isolation.Sharing``), the limits
    that its supervisor watched, and one line about those that it reached."""

    V: ClassVar[int] = 2
    processes: str
    files: str
    network: str
    vendor_login: str
    limits: InForce | None
    reached: str


@dataclass(frozen=True, slots=True)
class PipeEndedV3(PipeEndedV2):
    """Also says what a proxy with a list of hosts saw; empty where there was none."""

    V: ClassVar[int] = 3
    egress: str


#: Prefix of a ``LinkChanged``'s ``why`` when the machine answers but cannot write the agent's output.
SPOOL_STALLED = "spool: "


@dataclass(frozen=True, slots=True)
class LinkChanged(Event):
    """The link to a session's machine went down or came back; says nothing about the session's process."""

    KIND: ClassVar[str] = "link.changed"
    up: bool
    why: str


@dataclass(frozen=True, slots=True)
class SessionEnded(Event):
    KIND: ClassVar[str] = "session.ended"
    why: str


@dataclass(frozen=True, slots=True)
class SessionEndedV2(SessionEnded):
    """Also has lines about what the session left on its machine: removed, or only seen."""

    V: ClassVar[int] = 2
    left: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class LeftProcessEnded(Event):
    """Nothing runs any more of a process that could not be ended when its session was closed (``since_us``): its
    machine did not answer. ``what`` is ``agent`` or ``interface``."""

    KIND: ClassVar[str] = "pipe.stopped"
    pipe: str
    what: str
    since_us: int


@dataclass(frozen=True, slots=True)
class SessionTaken(Event):
    """A person works by hand from now on, in the agent's own interface: what the agent does then is not seen here.
    ``then`` is what is to follow."""

    KIND: ClassVar[str] = "session.taken"
    pipe: str
    program: str
    then: str


@dataclass(frozen=True, slots=True)
class SessionHandedBack(Event):
    """The work by hand is over. ``exit`` is in words; ``gone``: nothing of that interface runs any more."""

    KIND: ClassVar[str] = "session.returned"
    pipe: str
    exit: str
    gone: bool
    since_us: int


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
class SnapshotMadeV2(SnapshotMade):
    """Also says which kinds of litter in the worktree were left out."""

    V: ClassVar[int] = 2
    left_out: tuple[str, ...]
