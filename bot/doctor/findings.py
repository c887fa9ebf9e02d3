"""What doctor found, as data. The command line and the cards decide how to show it."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import asdict, dataclass
from enum import StrEnum
from typing import Any


class Severity(StrEnum):
    """``WARN`` is worth knowing; ``BAD`` must be fixed."""

    OK = "ok"
    WARN = "warn"
    BAD = "bad"


@dataclass(frozen=True, slots=True)
class Crossing:
    """One attempt to break the isolation. ``open``: it succeeded; ``how``: the system's answer."""

    machine: str
    role: str  # "agents" or "gates"
    login: str
    deed: str  # "read", "change", "connect to", "signal", "become"
    target: str  # "the receipt signing key"
    path: str
    open: bool
    how: str


@dataclass(frozen=True, slots=True)
class Finding:
    """One line of the report. ``unavailable``: this could not be examined, so it is neither good nor bad."""

    level: Severity
    subject: str
    what: str
    remedy: str = ""
    unavailable: bool = False
    crossing: Crossing | None = None


def status_of(findings: Iterable[Finding]) -> int:
    """The command's exit status: 0 nothing or only warnings, 1 something is bad, 3 not all could be examined."""
    bad = [finding for finding in findings if finding.level is Severity.BAD]
    if any(not finding.unavailable for finding in bad):
        return 1
    return 3 if bad else 0


def to_json(findings: Iterable[Finding]) -> dict[str, Any]:
    """The form of ``--json``; its schema is ``docs/schema/doctor.schema.json``."""
    listed = list(findings)
    return {
        "status": status_of(listed),
        "findings": [
            {
                "level": str(finding.level),
                "subject": finding.subject,
                "what": finding.what,
                "remedy": finding.remedy,
                "unavailable": finding.unavailable,
            }
            for finding in listed
        ],
        "reach": [asdict(crossing) for crossing in _crossings(listed)],
    }


def reach_table(findings: Iterable[Finding]) -> list[tuple[str, ...]]:
    """What each login could reach: a header row, then a row for each target, with a column for each login.

    A cell is ``open``, ``closed``, or empty if it was not tried.
    """
    crossings = _crossings(findings)
    logins = list(dict.fromkeys((c.machine, c.role, c.login) for c in crossings))
    targets = list(dict.fromkeys((c.deed, c.target) for c in crossings))
    cells: dict[tuple[tuple[str, str], tuple[str, str, str]], str] = {}
    for c in crossings:
        at = ((c.deed, c.target), (c.machine, c.role, c.login))
        cells[at] = "open" if c.open or cells.get(at) == "open" else "closed"
    header = ("could", *(f"{role} on {machine} ({login})" for machine, role, login in logins))
    rows = [
        (f"{deed} {target}", *(cells.get(((deed, target), login), "") for login in logins))
        for deed, target in targets
    ]
    return [header, *rows] if rows else []


def _crossings(findings: Iterable[Finding]) -> list[Crossing]:
    return [finding.crossing for finding in findings if finding.crossing is not None]
