"""Events about landings and their receipts."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum
from typing import ClassVar

from fleet.events.envelope import Event


class FencedBy(StrEnum):
    """What refuses a landing that another overtook: the hook that checks the fencing token, or only the commit
    that the branch moves from."""

    HOOK = "token"
    BASE_SHA = "base sha"


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
class LandingDoneV2(LandingDone):
    """Also says what kept a stale landing out (a ``FencedBy``)."""

    V: ClassVar[int] = 2
    fenced_by: str


@dataclass(frozen=True, slots=True)
class LandingMissed(Event):
    """The base moved after the intent; the change is merged and judged again, or given back."""

    KIND: ClassVar[str] = "landing.missed"
    ref: str
    expected: str
    found: str
    why: str


@dataclass(frozen=True, slots=True)
class LandingQueued(Event):
    """A change waits to land and was merged behind others: it is judged as ``commit``, which lands if they do."""

    KIND: ClassVar[str] = "landing.queued"
    place: int
    behind: tuple[str, ...]
    base: str
    commit: str
    tree: str
    without: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class LandingLeft(Event):
    """A change that others waited behind does not land as it is; they are merged without it."""

    KIND: ClassVar[str] = "landing.left"
    base: str
    commit: str
    why: str


@dataclass(frozen=True, slots=True)
class BaseMoved(Event):
    """Somebody else moved a base branch. ``commits``: how many are new; ``stops``: landings stop for a person."""

    KIND: ClassVar[str] = "base.moved"
    repo: str
    ref: str
    old: str
    new: str
    commits: int
    rewritten: bool
    stops: bool


@dataclass(frozen=True, slots=True)
class LandingsResumed(Event):
    """A person lets landings go on after somebody else moved the branch."""

    KIND: ClassVar[str] = "landings.resumed"
    repo: str


@dataclass(frozen=True, slots=True)
class ReceiptIssued(Event):
    KIND: ClassVar[str] = "receipt.issued"
    commit: str
    sha256: str
    path: str
