"""Events about sessions that people start by hand, as hooks report them, and about times without hooks.

Their tool calls are ordinary events of the session ``h7``. All of it is testimony: a hook runs in the agent's
login.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from fleet.events.envelope import Event


@dataclass(frozen=True, slots=True)
class HookedBegan(Event):
    """A hook said that it is alive in a session. ``conversation`` is the agent's own id of it."""

    KIND: ClassVar[str] = "hooked.began"
    agent: str
    conversation: str
    repo: str
    directory: str


@dataclass(frozen=True, slots=True)
class HookedSubagent(Event):
    """The session handed work to a subagent, or got it back (``ended``)."""

    KIND: ClassVar[str] = "hooked.subagent"
    subagent: str
    kind: str
    ended: bool


@dataclass(frozen=True, slots=True)
class HookedJudged(Event):
    """The session said that it is done: what the gates made of its working copy."""

    KIND: ClassVar[str] = "hooked.judged"
    commit: str
    tree: str
    base: str
    outcome: str
    reason: str


@dataclass(frozen=True, slots=True)
class HookedEnded(Event):
    """The session is over, and why: by its hook, or because nothing was heard of it for a long time."""

    KIND: ClassVar[str] = "hooked.ended"
    why: str


@dataclass(frozen=True, slots=True)
class HooksOff(Event):
    """A person's hooks were switched off there, or on again; told when a controller was reached."""

    KIND: ClassVar[str] = "hooks.off"
    off: bool
    at_us: int


@dataclass(frozen=True, slots=True)
class EditedWithoutHooks(Event):
    """An edit while hooks were off, which nobody was asked about."""

    KIND: ClassVar[str] = "hooks.passed"
    conversation: str
    repo: str
    path: str
    at_us: int
