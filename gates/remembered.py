"""A judgement that nothing outlives, in memory: ``airboss gate try`` needs no database, which would take longer to
load than most of what it does."""

from __future__ import annotations

import secrets
import time
from collections.abc import Iterable, Mapping, Sequence
from contextlib import AbstractAsyncContextManager, nullcontext
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING

from fleet.agent_events import Asked
from fleet.gate_runs import GateRun
from fleet.git.repository import Repository
from fleet.leaks import Leak
from fleet.model import Session
from fleet.ports import Candidate
from fleet.refs import Refs
from fleet.setup.site import SetupFailed, WantedSetup
from fleet.verdict import GateResult, Outcome, Verdict
from gates.people import NamesPeople
from gates.records import Opening
from gates.runs.definitions import Definition

if TYPE_CHECKING:
    from fleet.events import GateOverridden


@dataclass(frozen=True, slots=True)
class RememberedRecords:
    """Implements ``gates.records.Records`` for one judgement: nobody released or overrode anything, no agent
    worked, and no other controller is there."""

    instance: str = field(default_factory=lambda: secrets.token_hex(4))
    redact: None = None
    _runs: dict[str, GateRun] = field(default_factory=dict)

    async def runs(self, commit: str, round: int) -> list[GateRun]:
        return [run for run in self._runs.values() if (run.commit, run.round) == (commit, round)]

    async def runs_of_task(self, task: str) -> list[GateRun]:
        return [run for run in self._runs.values() if run.task == task]

    async def open_logins(self, machine: str) -> frozenset[str]:
        return frozenset(run.login for run in self._runs.values() if not run.closed_us and run.machine == machine)

    async def open_run(self, opening: Opening) -> str:
        candidate, definition = opening.candidate, opening.definition
        run_id = self._free_id(candidate.turn.id, definition.name)
        self._runs[run_id] = GateRun(
            id=run_id,
            task=candidate.task.id,
            session=candidate.session.id,
            turn=candidate.turn.id,
            gate=definition.name,
            commit=candidate.commit,
            tree=candidate.tree,
            base=candidate.base,
            round=candidate.round,
            argv=definition.argv,
            definition_sha256=definition.sha256,
            machine=opening.machine,
            nonce=opening.nonce,
            pipe=opening.pipe,
            login=opening.login,
            supervisor=opening.supervisor,
            opened_us=_now_us(),
            closed_us=0,
            result=None,
        )
        return run_id

    async def opened(self, run_id: str) -> None:
        pass

    async def close_run(self, run_id: str, result: GateResult) -> None:
        if self._runs[run_id].closed_us:
            raise ValueError(f"gate run {run_id} was already closed")
        self._runs[run_id] = replace(self._runs[run_id], closed_us=_now_us(), result=result)

    async def closed(self, run_id: str, task: str) -> None:
        pass

    async def follow(self, log: Path, run_id: str, task: str) -> None:
        pass

    async def waits(self, task: str, over: str, why: str) -> None:
        pass

    async def keep_output(self, log: Path, run_id: str, task: str) -> None:
        pass

    async def overrides(self, task: str, tree: str) -> Mapping[tuple[str, str], GateOverridden]:
        return {}

    async def releases(self, task: str, gates: Mapping[str, str]) -> frozenset[str]:
        return frozenset()

    async def setups_released(self, repo: str) -> frozenset[tuple[str, str]]:
        return frozenset()

    async def ask_for_setups(self, candidate: Candidate, asked: Iterable[WantedSetup]) -> None:
        pass

    async def secrets_released(self, repo: str) -> frozenset[str]:
        return frozenset()

    async def agent_gone(self, session: Session) -> bool:
        return not session.pipe

    async def give(self, candidate: Candidate, verdict: Verdict) -> None:
        pass

    def alone(self, name: str) -> AbstractAsyncContextManager[None]:
        return nullcontext()

    async def built(self, wanted: WantedSetup, content: str, user: str, took_us: int, refs: Refs) -> None:
        pass

    async def broke(self, wanted: WantedSetup, user: str, failed: SetupFailed, refs: Refs) -> None:
        pass

    def _free_id(self, turn: str, gate: str) -> str:
        count = 1 + sum((run.turn, run.gate) == (turn, gate) for run in self._runs.values())
        run_id = f"{turn}-{gate}" if count == 1 else f"{turn}-{gate}-{count}"
        while run_id in self._runs:
            count += 1
            run_id = f"{turn}-{gate}-{count}"
        return run_id


class NobodyReviews:
    """Implements ``gates.records.Reviewers`` where no reviewer is asked."""

    def preflight(self, definition: Definition) -> None:
        pass

    async def run(
        self,
        candidate: Candidate,
        definition: Definition,
        repository: Repository,
        results: Sequence[GateResult],
        leaks: Sequence[Leak] = (),
    ) -> GateResult:
        why = "no review: a try asks no reviewer. Ask one: airboss review ask"
        return GateResult("", definition.name, (), Outcome.UNAVAILABLE, why, None, None, "")


class NothingGranted:
    """Implements ``gates.records.SessionGrants``: people allowed nothing."""

    async def load(self) -> None:
        pass

    def cover(self, session: Session, asked: Asked, config: NamesPeople) -> bool:
        return False


def _now_us() -> int:
    return time.time_ns() // 1_000
