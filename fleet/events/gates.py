"""Events about gate runs, verdicts, and held changes."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from fleet.events.envelope import Event
from fleet.exits import Exit
from fleet.limits import InForce
from fleet.verdict import JUnitCounts


@dataclass(frozen=True, slots=True)
class GateOpened(Event):
    """Recorded before the gate runs, so that a hidden failure leaves a visible gap."""

    KIND: ClassVar[str] = "gate.opened"
    gate: str
    commit: str
    tree: str
    base: str
    argv: tuple[str, ...]
    definition_sha256: str
    round: int


@dataclass(frozen=True, slots=True)
class GateWitnessed(Event):
    """Before the gate ran, these witnesses signed a checkpoint with its opening; ``missing``: who did not, and why.
    ``note`` is the checkpoint with all signatures."""

    KIND: ClassVar[str] = "gate.witnessed"
    size: int
    root_sha256: str
    witnesses: tuple[str, ...]
    missing: tuple[str, ...]
    note: str


@dataclass(frozen=True, slots=True)
class GateClosed(Event):
    KIND: ClassVar[str] = "gate.closed"
    gate: str
    outcome: str
    reason: str
    exit: Exit | None
    raw_wait_status: int | None
    tree: str
    login: str
    contained: bool
    output_sha256: str
    output_bytes: int
    started_us: int
    ended_us: int
    junit: JUnitCounts | None


@dataclass(frozen=True, slots=True)
class GateClosedV2(GateClosed):
    """Also says how the run was isolated, as seen from inside: each a ``fleet.isolation.Sharing``."""

    V: ClassVar[int] = 2
    processes: str
    files: str
    network: str


@dataclass(frozen=True, slots=True)
class GateClosedV3(GateClosedV2):
    """Also has the limits that the supervisor watched, and one line about those that the run reached."""

    V: ClassVar[int] = 3
    limits: InForce | None
    reached: str


@dataclass(frozen=True, slots=True)
class GateClosedV4(GateClosedV3):
    """Also says whose the login was and whether the run could reach its supervisor, each a ``Sharing``; and lines
    about what the run left in a login of its own."""

    V: ClassVar[int] = 4
    login_sharing: str
    supervisor: str
    left: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class GateClosedV5(GateClosedV4):
    """Also names tests that failed, as far as a report names them: testimony, and at most 50."""

    V: ClassVar[int] = 5
    failed: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class GateClosedV6(GateClosedV5):
    """Also names tests that failed and do not count, since the base branch has them in quarantine."""

    V: ClassVar[int] = 6
    quarantined: tuple[str, ...]


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
class GateOverridden(Event):
    """A person lets a change land although a gate did not pass: this tree, by this definition, until it expires."""

    KIND: ClassVar[str] = "gate.overridden"
    gate: str
    commit: str
    tree: str
    definition_sha256: str
    outcome: str
    person: str
    reason: str
    expires_us: int
    self_approved: bool


@dataclass(frozen=True, slots=True)
class SecretsReleased(Event):
    KIND: ClassVar[str] = "secrets.released"
    repo: str
    commit: str
    fingerprints: tuple[str, ...]  # keyed hashes of the values


@dataclass(frozen=True, slots=True)
class HoldReleased(Event):
    KIND: ClassVar[str] = "hold.released"
    commit: str
    approved: bool
    reason: str


@dataclass(frozen=True, slots=True)
class HoldReleasedV2(HoldReleased):
    """Also says whether the person who wanted the change released it."""

    V: ClassVar[int] = 2
    self_approved: bool
