"""Events about setups: what was installed for gates and agents, and changes of what is installed."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from fleet.events.envelope import Event


@dataclass(frozen=True, slots=True)
class SetupBuilt(Event):
    """An environment that runs use from now on. ``inputs_sha256`` is of the names and bytes of its inputs,
    ``content_sha256`` of the names and bytes of the files that were made."""

    KIND: ClassVar[str] = "setup.built"
    setup: str
    commit: str
    definition_sha256: str
    inputs_sha256: str
    content_sha256: str
    login: str
    took_us: int


@dataclass(frozen=True, slots=True)
class SetupBroke(Event):
    """``tail`` is untrusted: what the setup printed, cut and redacted."""

    KIND: ClassVar[str] = "setup.failed"
    setup: str
    commit: str
    definition_sha256: str
    login: str
    reason: str
    tail: str


@dataclass(frozen=True, slots=True)
class SetupChanged(Event):
    """A change that is held because it changes the inputs of a setup. Releasing it releases these inputs."""

    KIND: ClassVar[str] = "setup.changed"
    repo: str
    commit: str
    setup: str
    definition_sha256: str
    inputs_sha256: str
