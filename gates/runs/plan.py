"""Which setups apply to a change, and what a run sees of what they made."""

from __future__ import annotations

import asyncio
import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

from fleet.git.repository import Repository
from fleet.isolation import INSIDE, TREE
from fleet.setup.definitions import SetupDefinition, Tree, check_place
from fleet.setup.site import ProvidedDirectory, WantedSetup

BINARIES: Final = ("bin", ".bin")


@dataclass(frozen=True, slots=True)
class SetupPlan:
    """The setups that apply to a change: with the base's inputs, and with its own."""

    base: tuple[WantedSetup, ...] = ()
    head: tuple[WantedSetup, ...] = ()

    @property
    def changed(self) -> tuple[WantedSetup, ...]:
        """Those whose inputs the change has changed."""
        known = {(each.setup.name, each.inputs_sha256) for each in self.base}
        return tuple(each for each in self.head if (each.setup.name, each.inputs_sha256) not in known)

    @property
    def unchanged(self) -> tuple[WantedSetup, ...]:
        """The base's, of those that the change has not changed."""
        changed = {each.setup.name for each in self.changed}
        return tuple(each for each in self.base if each.setup.name not in changed)

    @property
    def replaced(self) -> tuple[WantedSetup, ...]:
        """The base's, of those that the change has changed."""
        return tuple(each for each in self.base if each not in self.unchanged)

    @property
    def base_sha256(self) -> str:
        """What the base's environment depends on, apart from the machine; empty without setups."""
        parts = [part for each in self.base for part in (each.setup.sha256, each.inputs_sha256)]
        return hashlib.sha256(" ".join(parts).encode()).hexdigest() if parts else ""


@dataclass(frozen=True, slots=True)
class GateEnvironment:
    """What a run sees in its tree, and in the base's tree beside it where it has one. ``seconds``: how long it took
    to make what was made for this run alone."""

    tree: tuple[ProvidedDirectory, ...] = ()
    base: tuple[ProvidedDirectory, ...] = ()
    seconds: float = 0.0

    @property
    def notes(self) -> tuple[str, ...]:
        """What a person should know of it."""
        return (f"setup: built for this run in {self.seconds:.1f} s",) if self.seconds else ()

    @property
    def mounts(self) -> tuple[tuple[str, str], ...]:
        """Inside walls: each directory, and where the run sees it."""
        return tuple((each.source, f"{TREE}/{each.path}") for each in self.tree)

    @property
    def base_mounts(self) -> tuple[tuple[str, str], ...]:
        """The same in the base's tree beside it."""
        return tuple((each.source, f"{INSIDE}/base/tree/{each.path}") for each in self.base)

    def path(self, tree: str) -> str:
        """Where a program is looked up before the machine's own directories: each with a colon at its end."""
        places = [f"{tree}/{each.path}/{name}" for each in self.tree for name in BINARIES]
        return "".join(f"{place}:" for place in places)


NO_SETUPS: Final = SetupPlan()
NOTHING_MADE: Final = GateEnvironment()


async def plan_of(
    repository: Repository, setups: Sequence[SetupDefinition], base: tuple[str, Tree], head: tuple[str, Tree]
) -> SetupPlan:
    """The plan for a change from one commit and tree to another.

    Raises ``Refused`` where the change puts a file of its own where a setup makes a directory.
    """

    def make() -> SetupPlan:
        check_place(setups, head[1], f"{repository.name} at {head[0][:12]}")
        before, after = (
            tuple(WantedSetup(setup, repository, commit, setup.digest(tree)) for setup in setups)
            for commit, tree in (base, head)
        )
        return SetupPlan(before, after)

    return await asyncio.to_thread(make) if setups else NO_SETUPS
