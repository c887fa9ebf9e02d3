"""Events about what tasks may use, and about tasks that were halted because of it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from fleet.events.envelope import Event


@dataclass(frozen=True, slots=True)
class TaskBudgeted(Event):
    """A task's own limits; 0: those of ``fleet.toml``."""

    KIND: ClassVar[str] = "task.budgeted"
    money_udollar: int
    tokens: int
    calls: int
    time_us: int
    attempts: int


@dataclass(frozen=True, slots=True)
class BudgetNoted(Event):
    """Four fifths of a limit are used. ``scope`` is a ``fleet.budgets.Scope``, ``measure`` a ``Measure``."""

    KIND: ClassVar[str] = "budget.noted"
    scope: str
    name: str
    measure: str
    used: int
    limit: int


@dataclass(frozen=True, slots=True)
class BudgetReached(Event):
    """A limit is used up: the task's turn is ended at the next safe point."""

    KIND: ClassVar[str] = "budget.reached"
    scope: str
    name: str
    measure: str
    used: int
    limit: int


@dataclass(frozen=True, slots=True)
class ProgressHalted(Event):
    """The task makes no progress: ``cause`` is a ``HaltCause``, ``what`` what was repeated, so many ``times``."""

    KIND: ClassVar[str] = "progress.halted"
    cause: str
    what: str
    times: int


@dataclass(frozen=True, slots=True)
class BudgetGranted(Event):
    """A person added to a limit: for the task, or for this day."""

    KIND: ClassVar[str] = "budget.granted"
    scope: str
    name: str
    measure: str
    amount: int
