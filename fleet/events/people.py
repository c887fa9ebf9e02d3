"""Events about the people whom ``fleet.toml`` lists."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum
from typing import ClassVar

from fleet.events.envelope import Event


class CommandOutcome(StrEnum):
    """What came of a person's command."""

    DONE = "done"
    REFUSED = "refused"  # a rule says no
    MISUSED = "misused"  # its arguments are wrong
    UNAVAILABLE = "unavailable"  # something that it needs is away
    FAILED = "failed"  # an internal error
    NOT_UNDERSTOOD = "not-understood"  # it is no command


@dataclass(frozen=True, slots=True)
class CommandGiven(Event):
    """A person gave a command, and what came of it. The actor is the person; of their words there is the length.

    ``command`` is the verb, empty where it was not understood; ``task`` the one that it began or concerned.
    """

    KIND: ClassVar[str] = "command.given"
    command: str
    chat: str
    pressed: bool
    characters: int
    outcome: CommandOutcome
    reason: str
    task: str


@dataclass(frozen=True, slots=True)
class PersonRevoked(Event):
    """An id lost every right. The actor is who said so."""

    KIND: ClassVar[str] = "person.revoked"
    person: str
    name: str
