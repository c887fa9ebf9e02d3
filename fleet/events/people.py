"""Events about the people whom ``fleet.toml`` lists."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from fleet.events.envelope import Event


@dataclass(frozen=True, slots=True)
class PersonRevoked(Event):
    """An id lost every right. The actor is who said so."""

    KIND: ClassVar[str] = "person.revoked"
    person: str
    name: str
