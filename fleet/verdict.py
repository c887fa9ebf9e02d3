"""The result of a gate run and of all gates. Data only: nothing here runs or decides."""

from __future__ import annotations

from dataclasses import dataclass
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


class GateOutcome(StrEnum):
    """``PASSED`` and ``FAILED`` are about the change; ``UNAVAILABLE`` and ``LOST`` are about us.

    ``ABANDONED`` is about neither: we ended the run because a person stopped the task.
    """

    PASSED = "passed"
    FAILED = "failed"
    UNAVAILABLE = "unavailable"
    LOST = "lost"
    ABANDONED = "abandoned"


class Outcome(StrEnum):
    """A verdict on a commit."""

    PASSED = "passed"
    FAILED = "failed"
    HELD = "held"
    REFUSED = "refused"
    UNAVAILABLE = "unavailable"
    LOST = "lost"


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
    """A place in a change that needs a person, and why. ``line`` is 0 where it is about the whole file."""

    path: str
    line: int
    why: str


@dataclass(frozen=True, slots=True)
class GateResult:
    """The result of one gate on one commit. ``tail`` is untrusted output, cut to the lines that matter.

    ``held`` is what its layers hold for a person; ``notes`` are their remarks: which runs it made, and which layers
    were not available.
    """

    run: str
    gate: str
    argv: tuple[str, ...]
    outcome: GateOutcome
    reason: str
    evidence: Evidence | None
    junit: JUnitCounts | None
    tail: str
    held: tuple[HeldPlace, ...] = ()
    notes: tuple[str, ...] = ()


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
