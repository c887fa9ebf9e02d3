"""Where a setup runs, what it is wanted for, and what it makes there."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass
from enum import StrEnum
from typing import Final, Protocol

from fleet.errors import Unavailable
from fleet.git.repository import Repository
from fleet.limits import RunLimits
from fleet.ports import Executor, LoginFacts
from fleet.refs import Refs
from fleet.setup.definitions import SetupDefinition

SETUP_FAILED: Final = "setup failed: "
"""How a person recognises such an error among others."""


class SetupFailed(Unavailable):
    """A setup ended badly. ``lines`` are those of its output that matter, cleaned and redacted."""

    retry = False

    def __init__(self, setup: str, where: str, cause: str, lines: str) -> None:
        super().__init__(attempted=f"run [setup.{setup}]", on=where, cause=cause)
        self.setup, self.lines = setup, lines

    def __str__(self) -> str:
        return f"{SETUP_FAILED}{self.setup} on {self.on}: {self.cause}"


class SetupUse(StrEnum):
    """What uses an environment. The two are never the same files, even on one login."""

    GATES = "gates"
    """Nobody may write it."""
    AGENTS = "agents"
    """Each session writes in a layer of its own above it."""


@dataclass(frozen=True, slots=True)
class SetupSite:
    """A login of a machine, and what a setup finds there.

    ``path``: where programs are looked up; empty: where the login itself looks. ``read``: directories outside the
    system's that it may read.
    """

    executor: Executor
    facts: LoginFacts
    path: str
    read: tuple[str, ...]
    limits: RunLimits
    use: SetupUse = SetupUse.GATES

    @property
    def where(self) -> str:
        """The login and machine, for people."""
        return f"{self.facts.user}@{self.executor.machine}"


@dataclass(frozen=True, slots=True)
class WantedSetup:
    """A setup to be used on the inputs of a commit."""

    setup: SetupDefinition
    repository: Repository
    commit: str
    inputs_sha256: str


@dataclass(frozen=True, slots=True)
class SetupCaller:
    """Who waits for it: what the ledger's events refer to, and whether nobody waits any more."""

    refs: Refs
    given_up: Callable[[], bool] = lambda: False


class SetupRecords(Protocol):
    """Where it is recorded what setups did."""

    @property
    def instance(self) -> str:
        """A name that no other has: what is built for this one is another's for nobody."""

    @property
    def redact(self) -> Callable[[str], str] | None:
        """Takes secrets out of a text."""

    def alone(self, name: str) -> AbstractAsyncContextManager[None]:
        """Holds a name against the other controllers for the block; waits for it."""

    async def built(self, wanted: WantedSetup, content: str, user: str, took_us: int, refs: Refs) -> None:
        """Records that a setup made an environment. ``content``: its digest."""

    async def broke(self, wanted: WantedSetup, user: str, failed: SetupFailed, refs: Refs) -> None:
        """Records that a setup failed."""


@dataclass(frozen=True, slots=True)
class Room:
    """A new directory among the gates' checkouts, or one inside of it."""

    name: str
    inner: str = ""


@dataclass(frozen=True, slots=True)
class ProvidedDirectory:
    """A directory that a setup made: its ``path`` in the tree, and where it is on the machine."""

    path: str
    source: str
