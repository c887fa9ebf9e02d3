"""Events about the controller itself."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from fleet.events.envelope import Event


@dataclass(frozen=True, slots=True)
class ControllerStarted(Event):
    KIND: ClassVar[str] = "controller.started"
    version: str
    recovered_tasks: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class LedgerReset(Event):
    """The store was older than what was seen outside it, and a person let it go on. ``size`` and ``root`` are the
    ledger's before this event; ``lost`` is what was seen and the store does not know. ``signature`` is the
    controller's, in the namespace ``airboss-reset-v1``, over the other fields and the person as RFC 8785 JSON."""

    KIND: ClassVar[str] = "ledger.reset"
    person: str
    reason: str
    lost: tuple[str, ...]
    lost_count: int
    task_floor: int
    size: int
    root: str
    key: str
    signature: str


@dataclass(frozen=True, slots=True)
class ConfigReloaded(Event):
    KIND: ClassVar[str] = "config.reloaded"
    sha256: str
