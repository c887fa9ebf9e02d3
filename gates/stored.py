"""A controller's judgements, in its store."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from functools import partial
from pathlib import Path
from typing import Final

from fleet import shared_files
from fleet.events import GateOverridden, Refs, Source, VerdictGiven
from fleet.gate_runs import GateRun
from fleet.model import AIRBOSS, PipeEnd, Session
from fleet.ports import Candidate
from fleet.setup.site import WantedSetup
from fleet.setup.stored import SetupsInStore
from fleet.store import gates as gate_runs
from fleet.store import ledger, overrides, sessions, tasks, verdicts
from fleet.store.core import Store, Tx
from fleet.store.states import BlobKind
from fleet.untrusted import shortened
from fleet.verdict import GateResult, Verdict
from gates import released_setups
from gates.leaks.stored import SecretsInStore
from gates.records import Opening
from gates.runs import tails
from gates.witness.opening import Openings

_TAIL_LIMIT: Final = 8_000


class StoredRecords(SetupsInStore, SecretsInStore):
    """Implements ``gates.records.Records``. ``openings``: what each run's opening and end go under."""

    def __init__(self, store: Store, openings: Openings) -> None:
        super().__init__(store)
        self._openings = openings

    async def runs(self, commit: str, round: int) -> list[GateRun]:
        return await self.store.read(lambda tx: gate_runs.runs(tx, commit, round))

    async def runs_of_task(self, task: str) -> list[GateRun]:
        return await self.store.read(lambda tx: gate_runs.of_task(tx, task))

    async def open_logins(self, machine: str) -> frozenset[str]:
        return await self.store.read(lambda tx: gate_runs.open_logins(tx, machine))

    async def open_run(self, opening: Opening) -> str:
        definition = opening.definition
        return await self.store.write(
            lambda tx: gate_runs.open_run(
                tx,
                opening.candidate,
                gate=definition.name,
                argv=definition.argv,
                definition_sha256=definition.sha256,
                machine=opening.machine,
                nonce=opening.nonce,
                pipe=opening.pipe,
                login=opening.login,
                supervisor=opening.supervisor,
            )
        )

    async def opened(self, run_id: str) -> None:
        await self._openings.opened(run_id)

    async def close_run(self, run_id: str, result: GateResult) -> None:
        await self.store.write(partial(gate_runs.close_run, run_id=run_id, result=result))

    async def closed(self, run_id: str, task: str) -> None:
        await self._openings.closed(run_id, task)

    async def follow(self, log: Path, run_id: str, task: str) -> None:
        await tails.follow(self.store, log, run_id, task)

    async def waits(self, task: str, over: str, why: str) -> None:
        def work(tx: Tx) -> None:
            now = tasks.task(tx, task).why
            if (said := _instead(now, over, why)) != now:
                tasks.explain(tx, task, said)

        await self.store.write(work)

    async def keep_output(self, log: Path, run_id: str, task: str) -> None:
        name = shared_files.gate_output(run_id)
        await shared_files.keep(self.store, log, BlobKind.GATE_OUTPUT, name=name, owner=task)
        await tails.forget(self.store, run_id)

    async def overrides(self, task: str, tree: str) -> Mapping[tuple[str, str], GateOverridden]:
        return await self.store.read(lambda tx: overrides.valid(tx, task, tree))

    async def releases(self, task: str, gates: Mapping[str, str]) -> frozenset[str]:
        return await self.store.read(lambda tx: verdicts.released(tx, task, gates))

    async def setups_released(self, repo: str) -> frozenset[tuple[str, str]]:
        return await self.store.read(lambda tx: released_setups.released(tx, repo))

    async def ask_for_setups(self, candidate: Candidate, asked: Iterable[WantedSetup]) -> None:
        await self.store.write(lambda tx: released_setups.record(tx, candidate, asked))

    async def agent_gone(self, session: Session) -> bool:
        now = await self.store.read(lambda tx: sessions.session(tx, session.id))
        return not now.pipe or now.pipe_end in (PipeEnd.GONE, PipeEnd.UNAVAILABLE)

    async def give(self, candidate: Candidate, verdict: Verdict) -> None:
        await self.store.write(lambda tx: _record(tx, candidate, verdict))


def _instead(words: str, over: str, why: str) -> str:
    """The words of a task with ``why`` instead of ``over``. Several gates may wait for the same."""
    rest = f"{words}; " if words else ""
    rest = rest.replace(f"{over}; ", "", 1) if over else rest
    said = rest if not why or f"{why}; " in rest else f"{why}; {rest}"
    return said.removesuffix("; ")


def _record(tx: Tx, candidate: Candidate, verdict: Verdict) -> None:
    tail = next((result.tail for result in verdict.gates if not result.outcome.opens and result.tail), "")
    event = VerdictGiven(
        commit=verdict.commit,
        tree=verdict.tree,
        base=verdict.base,
        outcome=str(verdict.outcome),
        reasons=verdict.reasons,
        gate_runs=tuple(result.run for result in verdict.gates if result.run),
        isolation=str(verdict.isolation),
        rework_turns=verdict.rework_turns,
        tail=shortened(tail, _TAIL_LIMIT),
    )
    given = ledger.read(tx, kinds=(VerdictGiven.KIND,), task=candidate.task.id)
    if given and given[-1].event == event:
        return
    refs = Refs(task=candidate.task.id, session=candidate.session.id, turn=candidate.turn.id)
    ledger.append(tx, event, actor=AIRBOSS, source=Source.CONTROLLER, refs=refs)
