"""The result of a gate run and of all gates. Data only: nothing here runs or decides."""

from __future__ import annotations

from dataclasses import dataclass, field
from enum import StrEnum
from typing import Final

from fleet.exits import Exit
from fleet.isolation import UNWALLED, RunIsolation
from fleet.leaks import Leak
from fleet.limits import InForce, Reached
from fleet.model import Isolation

TAMPERING: Final = "tampering: "
"""How the reason of a run begins that ended with exit status 0, and failed by what a layer saw."""


NOT_AVAILABLE: Final = "not available"
"""In a reason about a layer that could not judge a gate's runs, behind its name and a colon."""


class Outcome(StrEnum):
    """The state of a gate, and of the verdict of all gates. Only what ``opens`` lets a change land.

    ``FAILED`` and ``TIMED_OUT`` are about the change, ``UNAVAILABLE``, ``LOST`` and ``MISSING`` about us.
    ``ABORTED``: a person stopped the task. ``MISSING``: the gate did not report. ``STALE``: it judged another
    commit, or by another definition. ``HELD``: it passed, and a person must look; ``APPROVED``: a person did.
    ``OVERRIDDEN``: it did not pass, and a person lets the change land all the same. ``REFUSED`` is a verdict only:
    nothing could be judged, as what defines the gates is empty or wrong.
    """

    PASSED = "passed"
    FAILED = "failed"
    TIMED_OUT = "timed-out"
    ABORTED = "aborted"
    UNAVAILABLE = "unavailable"
    LOST = "lost"
    MISSING = "missing"
    STALE = "stale"
    HELD = "held"
    APPROVED = "approved"
    OVERRIDDEN = "overridden"
    REFUSED = "refused"

    @classmethod
    def _missing_(cls, value: object) -> Outcome | None:
        """The word for a stopped run until there was one enum of states."""
        return cls.ABORTED if value == "abandoned" else None

    @property
    def opens(self) -> bool:
        """Whether a change lands with it."""
        return self in (Outcome.PASSED, Outcome.APPROVED, Outcome.OVERRIDDEN)

    @property
    def judged(self) -> bool:
        """Whether it says something about the change."""
        return self.red or self.opens or self is Outcome.HELD

    @property
    def red(self) -> bool:
        """Whether it speaks against the change: its agent reads why."""
        return self in (Outcome.FAILED, Outcome.TIMED_OUT)


@dataclass(frozen=True, slots=True)
class JUnitCounts:
    """Totals of a JUnit report. The judged code wrote it: testimony, shown but never decisive."""

    tests: int
    failures: int
    errors: int
    skipped: int


@dataclass(frozen=True, slots=True)
class Evidence:
    """What the supervisor and the controller observed of one gate run.

    ``tree`` is the tree that the supervisor hashed in the checkout just before the command ran; ``contained``: the
    command had its own PID namespace; ``isolation`` is what was seen from inside it. ``reached``: the ``limits``
    that it reached. ``left``: what it left in a login of its own. Times are microseconds since the epoch.
    """

    exit: Exit
    raw_wait_status: int | None
    tree: str
    machine: str
    login: str
    contained: bool
    output_sha256: str
    output_bytes: int
    started_us: int
    ended_us: int
    isolation: RunIsolation = UNWALLED
    limits: InForce | None = None
    reached: tuple[Reached, ...] = ()
    left: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class HeldPlace:
    """A place in a change that needs a person, and why. ``line`` is 0 where it is about the whole file. ``layer``:
    which layer against tampering saw it, such as ``6 (scan)``; empty: none."""

    path: str
    line: int
    why: str
    layer: str = field(default="", compare=False)


@dataclass(frozen=True, slots=True)
class EarlierRun:
    """A run of a gate after which it ran once more on the same commit."""

    run: str
    outcome: Outcome
    reason: str


@dataclass(frozen=True, slots=True)
class GateResult:
    """The result of one gate on one commit. ``tail`` is untrusted output, cut to the lines that matter.

    ``held`` is what its layers hold for a person; ``notes`` are their remarks: which runs it made, and which layers
    were not available; ``earlier`` are the gate's runs before this one on the same commit. ``failed`` names tests
    that failed, by their runner's word; ``quarantined`` those that failed and do not count.
    """

    run: str
    gate: str
    argv: tuple[str, ...]
    outcome: Outcome
    reason: str
    evidence: Evidence | None
    junit: JUnitCounts | None
    tail: str
    held: tuple[HeldPlace, ...] = ()
    notes: tuple[str, ...] = ()
    earlier: tuple[EarlierRun, ...] = ()
    failed: tuple[str, ...] = ()
    quarantined: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Verdict:
    """The only way out of ``judging``. ``reasons`` are for people, one line each; ``leaks`` are secrets
    that hold it."""

    commit: str
    tree: str
    base: str
    outcome: Outcome
    reasons: tuple[str, ...]
    gates: tuple[GateResult, ...]
    isolation: Isolation
    rework_turns: int
    leaks: tuple[Leak, ...] = ()
