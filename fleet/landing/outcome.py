"""What a landing is about, what it needs, and what can come of it."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Coroutine
from dataclasses import dataclass
from enum import Enum
from typing import Any, Protocol, TypeVar

from fleet.git.repository import Repository
from fleet.landing.base_branch import BaseBranch
from fleet.landing.queue import LandingQueue
from fleet.model import ForeignPush, LandingMode, Session, Task, Turn
from fleet.ports import Candidate, Clock, Locks
from fleet.store.core import Store
from fleet.verdict import Verdict

T = TypeVar("T")

Judge = Callable[[Candidate], Coroutine[Any, Any, Verdict]]
Stands = Callable[[Candidate], Awaitable[bool]]


class Doing(Enum):
    """What a step does that a person's stop may interrupt, in words for the log."""

    FETCH = "fetch the base"
    INSTALL = "install what it needs"
    LOGIN = "clear its login"
    MERGE = "merge onto the base"
    SNAPSHOT = "take the snapshot"
    START = "start the agent"
    TURN = "wait for its turn to land"
    WORKTREE = "prepare the worktree"

    @property
    def asks_repository(self) -> bool:
        """Whether it waits for a repository, which may be on a host that is silent."""
        return self is Doing.FETCH


class Interruptible(Protocol):
    """Runs work that a person's stop may interrupt; the exception it then raises is not caught here."""

    def __call__(self, work: Coroutine[Any, Any, T], what: Doing, /) -> Coroutine[Any, Any, T]: ...


@dataclass(frozen=True, slots=True)
class Landed:
    """A branch contains the change, and the ledger says so. ``ref``: the base branch, or the task's own."""

    ref: str


@dataclass(frozen=True, slots=True)
class NewerBase:
    """A commit of the base branch that the session has not seen. ``looked_us``: when it was looked up."""

    commit: str
    looked_us: int


@dataclass(frozen=True, slots=True)
class Judged:
    """The merge was judged and did not pass.

    ``onto`` is what the change was merged with; ``None``: its own base, or a branch that was rewritten.
    """

    verdict: Verdict
    onto: NewerBase | None


@dataclass(frozen=True, slots=True)
class Conflicting:
    """The change does not merge with ``onto``: these files differ on both sides."""

    onto: NewerBase
    paths: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Interrupted:
    """A person stopped the task or sent a message before the base branch was touched."""


LandingOutcome = Landed | Judged | Conflicting | Interrupted


@dataclass(frozen=True, slots=True)
class ChangeToLand:
    """The change to land: the snapshot of ``turn``."""

    task: Task
    session: Session
    turn: Turn


@dataclass(frozen=True, slots=True)
class LandingContext:
    """Where it lands, and what the landing needs. ``holder`` names this controller in leases; ``stands``: whether a
    verdict is still one by the gates that are required; ``withdraw`` ends a judgement that is of no use any more;
    ``together``: how many queued changes are judged at once; ``foreign_push``: what follows when somebody else
    moves the branch."""

    store: Store
    repository: Repository
    base_branch: BaseBranch
    queue: LandingQueue
    clock: Clock
    locks: Locks
    holder: str
    stands: Stands
    withdraw: Callable[[Candidate], Awaitable[None]]
    together: int
    foreign_push: ForeignPush
    mode: LandingMode = LandingMode.MERGE

    @property
    def pushes_a_branch(self) -> bool:
        """Whether changes are pushed as branches of their own."""
        return self.mode is LandingMode.BRANCH
