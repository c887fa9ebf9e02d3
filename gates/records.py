"""What a judgement looks up and writes down: the port between the judge and where that is kept.

A controller keeps it in its store (``gates.stored``); ``airboss gate try`` in memory (``gates.remembered``), since
nothing outlives it. How a change is judged depends on neither.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Protocol

from fleet.agent_events import Asked
from fleet.gate_runs import GateRun
from fleet.git.repository import Repository
from fleet.leaks import Leak
from fleet.model import Session
from fleet.ports import Candidate
from fleet.setup.site import SetupRecords, WantedSetup
from fleet.verdict import GateResult, Verdict
from gates.leaks.search import SecretRecords
from gates.people import NamesPeople
from gates.runs.definitions import Definition

if TYPE_CHECKING:
    from fleet.events import GateOverridden


@dataclass(frozen=True, slots=True)
class Opening:
    """A run that is about to begin: of which gate on what, where, and how its process is known."""

    candidate: Candidate
    definition: Definition
    machine: str
    nonce: str
    pipe: str
    login: str = ""
    supervisor: str = ""


class Records(SetupRecords, SecretRecords, Protocol):
    """One home's judgements. Raises ``StoreUnavailable`` while it is away."""

    async def runs(self, commit: str, round: int) -> list[GateRun]:
        """The runs on a commit in one of its judgements, in the order in which they were opened."""

    async def runs_of_task(self, task: str) -> list[GateRun]:
        """All runs for a task, in the order in which they were opened."""

    async def open_logins(self, machine: str) -> frozenset[str]:
        """The logins of runs on a machine that are not closed."""

    async def open_run(self, opening: Opening) -> str:
        """Records a run before it starts, and returns its id."""

    async def opened(self, run_id: str) -> None:
        """The run may begin once this returns. Raises ``DiskFull`` or ``Unavailable`` where it may not."""

    async def close_run(self, run_id: str, result: GateResult) -> None:
        """Records a run's result. Raises ``ValueError`` when it was already closed."""

    async def closed(self, run_id: str, task: str) -> None:
        """The run is closed: whatever follows from it."""

    async def follow(self, log: Path, run_id: str, task: str) -> None:
        """Until cancelled: the last lines of a run are where others get them."""

    async def waits(self, task: str, over: str, why: str) -> None:
        """A run of the task's waits for its machine, and why. ``over``: what it waited for before."""

    async def keep_output(self, log: Path, run_id: str, task: str) -> None:
        """The whole output of a run is where others get it."""

    async def overrides(self, task: str, tree: str) -> Mapping[tuple[str, str], GateOverridden]:
        """A person's word on gates of this tree, by gate and digest of its definition."""

    async def releases(self, task: str, gates: Mapping[str, str]) -> frozenset[str]:
        """A task's commits that a person released as these gates (with digests) held them."""

    async def setups_released(self, repo: str) -> frozenset[tuple[str, str]]:
        """The definitions and inputs of setups, by their digests, that a person released for a repository."""

    async def ask_for_setups(self, candidate: Candidate, asked: Iterable[WantedSetup]) -> None:
        """Records which inputs a release of this commit would release, once."""

    async def agent_gone(self, session: Session) -> bool:
        """Whether no process of the agent can be alive: none was started, or its whole tree was seen to end."""

    async def give(self, candidate: Candidate, verdict: Verdict) -> None:
        """Records the verdict, once: a judgement repeated after a crash gives the same verdict."""


class Reviewers(Protocol):
    """Whoever asks models about a change."""

    def preflight(self, definition: Definition) -> None:
        """Raises ``Refused`` when this gate could never pass, since no such reviewer is configured."""

    async def run(
        self,
        candidate: Candidate,
        definition: Definition,
        repository: Repository,
        results: Sequence[GateResult],
        leaks: Sequence[Leak] = (),
    ) -> GateResult:
        """The gate's result. ``results`` are those of the other gates; lines with ``leaks`` are not sent."""


class SessionGrants(Protocol):
    """What people allowed for whole sessions."""

    async def load(self) -> None:
        """Loads what was allowed before this process started."""

    def cover(self, session: Session, asked: Asked, config: NamesPeople) -> bool:
        """Whether somebody who still may allow it allowed exactly this for the whole session."""
