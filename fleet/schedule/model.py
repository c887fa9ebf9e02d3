"""What a schedule is, and what became of each time that it was due. Pure data."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum

from fleet.budgets import UNLIMITED, Allowance
from fleet.locks import Want
from fleet.model import ChatRef
from fleet.schedule.spec import Spec


class Job(StrEnum):
    """What a schedule does when it is due."""

    RUN = "run"
    ASK = "ask"
    DIGEST = "digest"


class Overlap(StrEnum):
    """What follows when a schedule is due while its last run is open."""

    SKIP = "skip"
    QUEUE = "queue"


class ScheduleState(StrEnum):
    """``PAUSED`` until a person resumes it; ``DONE``: it was due for the last time; ``DELETED`` for good."""

    ACTIVE = "active"
    PAUSED = "paused"
    DONE = "done"
    DELETED = "deleted"


class SlotOutcome(StrEnum):
    """What became of one time that a schedule was due."""

    STARTED = "started"
    SKIPPED = "skipped"  # its last run was open
    QUEUED = "queued"  # the same, and it starts when that one ends
    POSTED = "posted"  # a digest


@dataclass(frozen=True, slots=True)
class Work:
    """What a schedule does: the job and, for a task, what ``/run`` would be told. ``machine`` is empty for any.

    ``locks``: what each of its tasks locks before it starts; ``budget``, ``needs`` and ``model``: as of a task.
    """

    job: Job
    repo: str = ""
    agent: str = ""
    machine: str = ""
    prompt: str = ""
    locks: tuple[Want, ...] = ()
    budget: Allowance = UNLIMITED
    needs: tuple[str, ...] = ()
    model: str = ""


@dataclass(frozen=True, slots=True)
class Schedule:
    """A schedule as it stands.

    ``next_us``: when it is due next, 0 when it is not. ``open_task``: the task of its last run, until its end was
    counted. ``last_task`` and ``last_result``: how its last run that ended went. ``bad_ends``: how many runs in a
    row ended badly. ``why``: why it is paused.
    """

    id: str
    owner: str  # str(PersonId)
    channel: ChatRef
    spec: Spec
    zone: str
    work: Work
    overlap: Overlap
    state: ScheduleState
    why: str
    next_us: int
    open_task: str
    last_task: str
    last_result: str
    bad_ends: int
    skipped: int
    created_us: int


@dataclass(frozen=True, slots=True)
class Slot:
    """One time that a schedule was due, whatever became of it. ``missed``: how many other times it stands for."""

    schedule: str
    due_us: int
    outcome: SlotOutcome
    task: str
    missed: int
    at_us: int
