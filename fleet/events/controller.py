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
class ConfigReloaded(Event):
    KIND: ClassVar[str] = "config.reloaded"
    sha256: str
