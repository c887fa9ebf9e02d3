"""One gate to be run over one change."""

from __future__ import annotations

from dataclasses import dataclass

from fleet.git.repository import Repository
from fleet.ports import Candidate
from gates.runs.course import Course
from gates.runs.definitions import Definition
from gates.runs.plan import NO_SETUPS, SetupPlan


@dataclass(frozen=True, slots=True)
class GateWork:
    """A gate, the change, the course of its runs, and the setups that apply."""

    candidate: Candidate
    definition: Definition
    repository: Repository
    course: Course | None = None
    plan: SetupPlan = NO_SETUPS

    @property
    def runs_base(self) -> bool:
        """Whether the base may be run as well."""
        return self.course is not None or self.definition.reports
