"""A login on a machine that doctor examines, and one that cannot be examined."""

from __future__ import annotations

from dataclasses import dataclass

from bot.doctor.findings import Finding, Severity
from bot.explain import explain
from fleet.config import MachineConfig
from fleet.errors import AirbossError, NotLetIn, Unavailable
from fleet.flight.surroundings import walls_of_sessions
from fleet.ports import Executor, LoginFacts


@dataclass(frozen=True, slots=True)
class Login:
    """One that answered. ``role``: "agents" or "gates"."""

    machine: str
    config: MachineConfig
    role: str
    executor: Executor
    facts: LoginFacts

    @property
    def subject(self) -> str:
        """As in every finding about it."""
        return f"{self.role} on {self.machine}"

    @property
    def walls_sessions(self) -> bool:
        """Whether sessions have walls here."""
        return walls_of_sessions(self.config, self.facts)


def failed(subject: str, error: AirbossError, remedy: str = "") -> Finding:
    """The finding for what could not be examined. ``remedy``: where the error names none."""
    words = explain(error)
    what = " ".join(part for part in (words.headline, words.detail) if part)
    away = isinstance(error, Unavailable) and not isinstance(error, NotLetIn)
    return Finding(Severity.BAD, subject, what, words.remedy or remedy, unavailable=away)
