"""Runs one gate over one commit: which machine, a checkout from the controller alone, a clean environment, the end.

That a run was opened is committed before anything starts. Only ``Exited(0)``, taken by the supervisor over the
very tree that is judged, passes.
"""

from __future__ import annotations

import asyncio
import contextlib
import secrets
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Protocol

from fleet.config import FleetConfig
from fleet.errors import Misused, Refused, Unavailable
from fleet.exits import Lost, succeeded
from fleet.failpoints import failpoint
from fleet.git.repository import Repository
from fleet.git.workspace import Workspaces
from fleet.model import Isolation
from fleet.ports import Candidate, Ended, Executor, LoginFacts, PipeSpec
from fleet.store import gates as gate_runs
from fleet.store.core import Store
from fleet.store.gates import GateRun
from fleet.untrusted import clean, tail_that_matters
from fleet.verdict import Evidence, GateOutcome, GateResult, JUnitCounts
from gates.runs import junit
from gates.runs.definitions import Definition
from gates.runs.watch import GateOutput, watch

#: System directories only: what an agent's login can write must not be found before them.
_PATH = "/opt/homebrew/bin:/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"
_STOP_SECONDS = 15.0
_FINAL = (GateOutcome.PASSED, GateOutcome.FAILED, GateOutcome.ABANDONED)
#: Closed before an end was seen: the process may still run.
_MAY_RUN_ON = (GateOutcome.LOST, GateOutcome.ABANDONED, GateOutcome.UNAVAILABLE)


def machines_for(definition: Definition, config: FleetConfig) -> tuple[list[str], list[str]]:
    """The machines that may run a gate, and why each other one may not, one line each."""
    fitting, why_not = [], []
    for name, machine in config.machines.items():
        missing = [label for label in definition.needs if label not in machine.labels]
        if not machine.gates:
            why_not.append(f"{name}: gates = false")
        elif not machine.runs_gates(config.isolation):
            why_not.append(f"{name}: no gate_as login, and the isolation is {config.isolation}")
        elif missing:
            why_not.append(f"{name}: lacks the label {', '.join(missing)}")
        else:
            fitting.append(name)
    return fitting, why_not


class GateLogins(Protocol):
    """Where gates run: ``fleet.machines.executors.Executors`` is one."""

    def gate(self, machine: str) -> Executor:
        """The login for gates on a machine of ``fleet.toml``."""


@dataclass(frozen=True, slots=True)
class _Place:
    machine: str
    executor: Executor
    facts: LoginFacts


@dataclass(frozen=True, slots=True)
class _Run:
    """One opened run: what it judges, where, and by which pipe."""

    id: str
    nonce: str
    pipe: str
    definition: Definition
    candidate: Candidate
    place: _Place

    @property
    def room(self) -> str:
        """The run's own directory on the machine; the checkout is ``tree`` in it."""
        return f"{self.place.executor.root}/gates/{self.pipe}"


@dataclass(frozen=True, slots=True)
class Suite:
    """Runs gates. ``patience`` is the seconds an end is waited for beyond a gate's timeout; ``abandoned`` are tasks
    that a person has stopped: what of theirs runs is ended."""

    store: Store
    config: Callable[[], FleetConfig]
    executors: GateLogins
    workspaces: Workspaces
    home: Path
    patience: float = 600.0
    abandoned: set[str] = field(default_factory=set)

    async def run(self, candidate: Candidate, definition: Definition, repository: Repository) -> GateResult:
        """The result of one gate. Repeating it after a crash takes up the run that was open.

        A lost run is done again, and one that a machine could not do goes to another, ``limits.attempts`` in all.
        """
        earlier = await self.store.read(lambda tx: gate_runs.runs(tx, candidate.commit, candidate.round))
        last: GateResult | None = None
        unable: dict[str, str] = {}
        used = 0
        for run in earlier:
            if (run.task, run.gate, run.definition_sha256) != (
                candidate.task.id,
                definition.name,
                definition.sha256,
            ):
                continue
            last, used = run.result or await self._resume(run, candidate, definition), used + 1
            if last.outcome is GateOutcome.UNAVAILABLE:
                unable[run.machine] = last.reason
        while last is None or (
            last.outcome not in _FINAL
            and used < self.config().limits.attempts
            and candidate.task.id not in self.abandoned
        ):
            place, why_not = await self._place(definition, unable)
            if place is None and last is not None:
                return last
            last, used = await self._attempt(candidate, definition, repository, place, why_not), used + 1
            if last.outcome is GateOutcome.UNAVAILABLE:
                if place is None:
                    return last
                unable[place.machine] = last.reason
        return last

    # --- where ----------------------------------------------------------------------------------------

    async def _place(self, definition: Definition, unable: Mapping[str, str]) -> tuple[_Place | None, list[str]]:
        config = self.config()
        fitting, why_not = machines_for(definition, config)
        for name in fitting:
            if name in unable:
                why_not.append(f"{name}: {unable[name]}")
                continue
            executor = self.executors.gate(name)
            try:
                facts = await executor.facts()
            except Unavailable as error:
                why_not.append(f"{name}: {error}")
                continue
            if config.isolation is Isolation.SEPARATE_LOGINS and facts.user == config.machines[name].agent_login:
                why_not.append(f"{name}: its gate login {facts.user} is the agents' own")
                continue
            return _Place(name, executor, facts), why_not
        return None, why_not or ["fleet.toml names no machine"]

    # --- one run --------------------------------------------------------------------------------------

    async def _attempt(
        self,
        candidate: Candidate,
        definition: Definition,
        repository: Repository,
        place: _Place | None,
        why_not: list[str],
    ) -> GateResult:
        nonce, pipe = secrets.token_hex(16), f"{self.store.instance}-gate-{secrets.token_hex(8)}"
        run_id = await self.store.write(
            lambda tx: gate_runs.open_run(
                tx,
                candidate,
                gate=definition.name,
                argv=definition.argv,
                definition_sha256=definition.sha256,
                machine=place.machine if place else "",
                nonce=nonce,
                pipe=pipe,
            )
        )
        failpoint("gate-opened")
        if place is None:
            reason = "no machine can run it: " + "; ".join(why_not)
            return await self._close(run_id, _unavailable(run_id, definition, reason))
        run = _Run(run_id, nonce, pipe, definition, candidate, place)
        try:
            await self.workspaces.checkout(place.executor, repository, candidate.commit, pipe)
            for folder in ("home", "scratch", "report"):
                await place.executor.write_file(f"{run.room}/{folder}/.keep", b"")
            result = await self._see(run, started=False)
        except (Refused, Misused, Unavailable) as error:
            result = _unavailable(run_id, definition, str(error))
        return await self._close(run_id, result, place.executor, pipe)

    async def _resume(self, open_: GateRun, candidate: Candidate, definition: Definition) -> GateResult:
        """Takes up a run that an earlier controller opened: it is never started a second time."""
        if open_.machine not in self.config().machines:
            reason = f"the machine {open_.machine or '(none)'} is not in fleet.toml"
            return await self._close(open_.id, _unavailable(open_.id, definition, reason))
        executor = self.executors.gate(open_.machine)
        try:
            place = _Place(open_.machine, executor, await executor.facts())
            run = _Run(open_.id, open_.nonce, open_.pipe, definition, candidate, place)
            result = await self._see(run, started=True)
        except (Refused, Misused, Unavailable) as error:
            result = _unavailable(open_.id, definition, str(error))
        return await self._close(open_.id, result, executor, open_.pipe)

    async def _see(self, run: _Run, *, started: bool) -> GateResult:
        """Starts the run's process unless it was, watches it to its end, and says what that means."""
        report = f"{run.room}/report/junit.xml"
        spec = PipeSpec(
            id=run.pipe,
            nonce=run.nonce,
            argv=tuple(word.replace("{junit}", report) for word in run.definition.argv),
            cwd=f"{run.room}/tree",
            env={
                "PATH": _PATH,
                "HOME": f"{run.room}/home",
                "TMPDIR": f"{run.room}/scratch",
                "LANG": "C.UTF-8",
                "PYTHONDONTWRITEBYTECODE": "1",
                "AIRBOSS_GATE": run.definition.name,
                **dict(run.definition.env),
            },
            bare_env=True,
            merge=True,
            contain=True,
            timeout_us=run.definition.timeout_us,
            expect_tree=(f"{run.room}/tree", run.candidate.tree),
        )
        log = self.home / "gates" / f"{run.id}.log"
        ended, seen = await watch(
            run.place.executor,
            spec,
            log,
            started=started,
            patience=self.patience,
            abandoned=lambda: run.candidate.task.id in self.abandoned,
        )
        counts = None
        if any("{junit}" in word for word in run.definition.argv):
            counts = await _counts(run.place.executor, report)
        return self._result(run, ended, seen, counts)

    def _result(self, run: _Run, ended: Ended, seen: GateOutput, counts: JUnitCounts | None) -> GateResult:
        outcome, reason = judge_end(ended, run.candidate.tree, counts)
        if run.candidate.task.id in self.abandoned:
            outcome, reason = GateOutcome.ABANDONED, f"abandoned, because the task was stopped ({reason})"
        text = seen.tail.decode("utf-8", "replace")
        redact = self.store.redact
        evidence = Evidence(
            exit=ended.exit,
            raw_wait_status=ended.raw_wait_status,
            tree=ended.tree,
            machine=run.place.machine,
            login=run.place.facts.user,
            contained=ended.contained,
            output_sha256=seen.digest.hexdigest(),
            output_bytes=seen.size,
            started_us=ended.started_us,
            ended_us=ended.ended_us,
        )
        text = clean(text, len(text))  # first: a terminal code inside a secret would hide it from the redactor
        tail = tail_that_matters(redact(text) if redact else text)
        return GateResult(run.id, run.definition.name, run.definition.argv, outcome, reason, evidence, counts, tail)

    async def _close(
        self, run_id: str, result: GateResult, executor: Executor | None = None, pipe: str = ""
    ) -> GateResult:
        await self.store.write(lambda tx: gate_runs.close_run(tx, run_id, result))
        failpoint("gate-closed")
        if executor is not None:
            # What a gate left behind is in nobody's way: where the link is down now, it may stay.
            with contextlib.suppress(Unavailable, TimeoutError):
                if result.outcome in _MAY_RUN_ON:
                    async with asyncio.timeout(min(_STOP_SECONDS, self.patience)):
                        await executor.stop(pipe, 1.0)
                await self.workspaces.discard(executor, f"{executor.root}/gates/{pipe}")
        return result


def _unavailable(run_id: str, definition: Definition, reason: str) -> GateResult:
    outcome, words = GateOutcome.UNAVAILABLE, clean(reason)
    return GateResult(run_id, definition.name, definition.argv, outcome, words, None, None, "")


async def _counts(executor: Executor, report: str) -> JUnitCounts | None:
    try:
        data = await executor.read_file(report, junit.SIZE_LIMIT + 1)
    except Unavailable:
        return None
    return await asyncio.to_thread(junit.counts, data)


def judge_end(ended: Ended, tree: str, counts: JUnitCounts | None) -> tuple[GateOutcome, str]:
    """What the end of a gate's process means, and a line for people. Only ``Exited(0)`` over ``tree`` passes."""
    if ended.unavailable:
        return GateOutcome.UNAVAILABLE, ended.unavailable
    if isinstance(ended.exit, Lost):
        return GateOutcome.LOST, str(ended.exit)
    if ended.tree != tree:
        return GateOutcome.LOST, f"the supervisor hashed the tree {ended.tree or '(none)'}, not {tree}"
    reason = str(ended.exit)
    if counts is not None:
        bad = counts.failures + counts.errors
        reason += f" ({bad} of {counts.tests} tests failed, by its own report)"
    return (GateOutcome.PASSED if succeeded(ended.exit) else GateOutcome.FAILED), reason
