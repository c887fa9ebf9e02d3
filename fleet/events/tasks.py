"""Events about a task: what a person requested, and its states."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from fleet.events.envelope import Event


@dataclass(frozen=True, slots=True)
class TaskRequested(Event):
    KIND: ClassVar[str] = "task.requested"
    repo: str
    agent: str
    machine: str
    mode: str
    prompt: str
    retry_of: str


@dataclass(frozen=True, slots=True)
class TaskMoved(Event):
    KIND: ClassVar[str] = "task.moved"
    old: str
    new: str
    why: str


@dataclass(frozen=True, slots=True)
class TaskMovedV2(TaskMoved):
    """Also says what kind of end it is, where more than the state decides what may follow: a
    ``fleet.model.TaskEnd``."""

    V: ClassVar[int] = 2
    end: str


@dataclass(frozen=True, slots=True)
class TaskForked(Event):
    """The task begins with the work of another one's ``session``: ``snapshot``, on the same ``base``."""

    KIND: ClassVar[str] = "task.forked"
    session: str
    snapshot: str
    base: str


@dataclass(frozen=True, slots=True)
class TaskModelChosen(Event):
    """A person chose the task's model, from those that the operator allows."""

    KIND: ClassVar[str] = "task.model"
    model: str
