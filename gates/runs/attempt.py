"""Runs one gate on one commit: picks a machine, copies a clean checkout, starts the gate, waits for its end.

The run's row is committed before anything starts. Only ``Exited(0)``, recorded by the supervisor over exactly the
tree that is judged, passes.
"""

from __future__ import annotations

import asyncio
import contextlib
import secrets
import time
from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass, field, replace
from functools import partial
from pathlib import Path

from fleet.config import FleetConfig
from fleet.errors import AirbossError, DiskFull, Misused, Refused, Unavailable
from fleet.exits import RESTARTED, UNRECORDED
from fleet.failpoints import failpoint
from fleet.gate_runs import GateRun
from fleet.git.repository import Repository
from fleet.git.workspace import Workspaces
from fleet.machines.watch import MachineSeen
from fleet.ports import Candidate, Ended, PipeSpec
from fleet.setup.environments import Environments
from fleet.setup.site import SetupCaller, SetupFailed
from fleet.supervise import alongside, side_by_side
from fleet.verdict import GateResult, Outcome
from gates.records import Opening, Records
from gates.runs import in_place
from gates.runs.again import runs_again, unable_there, with_earlier
from gates.runs.counting import BaseRun, left_at, read_report
from gates.runs.course import REPORT, REPORT_LIMIT, Course, Equipped
from gates.runs.definitions import Definition
from gates.runs.environment import GateSetups, keeps, keeps_checkouts, room_of
from gates.runs.given_up import GivenUp
from gates.runs.outcome import result_of, setup_failed, unavailable
from gates.runs.place import AWAY, GateLogins, Place, Run, find_place, own_place, retry_unreachable
from gates.runs.plan import NOTHING_MADE, GateEnvironment, SetupPlan
from gates.runs.pool import LoginPool
from gates.runs.surroundings import process_of
from gates.runs.watch import redact_log, watch
from gates.runs.work import GateWork

_STOP_SECONDS = 15.0
_FOLDERS = ("home", "scratch", "report")
_FILES_AT_ONCE = 4
#: The run was closed before its end was seen: the process may still run.
_MAY_RUN_ON = (Outcome.LOST, Outcome.ABORTED, Outcome.UNAVAILABLE)


@dataclass(frozen=True, slots=True)
class Suite:
    """Runs gates. ``patience`` is how many seconds past a gate's timeout to wait for its end; the runs of what was
    ``given_up`` are ended."""

    records: Records
    config: Callable[[], FleetConfig]
    executors: GateLogins
    workspaces: Workspaces
    home: Path
    environments: Environments
    given_up: GivenUp
    patience: float = 600.0
    machines: dict[str, MachineSeen] | None = None
    _turns: dict[str, asyncio.Lock] = field(default_factory=dict)
    _pool: LoginPool = field(default_factory=LoginPool)

    async def run(self, work: GateWork) -> GateResult:
        """Runs one gate and returns its result. After a crash it resumes the open run.

        A lost run is done again, one that a machine could not do goes to another, and a flaky gate that failed runs
        once more: ``limits.attempts`` in all. The result has the runs before.
        Raises ``Unreachable`` or ``MachineFaulty`` when no machine can do it now and one that fits is only away,
        and ``DiskFull`` when its output cannot be kept here: judge again then. Such a run is closed as
        unavailable, and counts no more.
        """
        result = await self._last_run(work)
        return with_earlier(result, work.definition, await self._runs(work))

    async def _runs(self, work: GateWork) -> list[GateRun]:
        """This gate's runs in this judgement; those by another definition are stale."""
        candidate, wanted = work.candidate, (work.candidate.task.id, work.definition.name)
        found = await self.records.runs(candidate.commit, candidate.round)
        return [run for run in found if (run.task, run.gate) == wanted]

    async def _last_run(self, work: GateWork) -> GateResult:
        candidate, definition = work.candidate, work.definition
        last: GateResult | None = None
        unable: dict[str, Unavailable | str] = {}
        used = 0
        for run in await self._runs(work):
            if run.definition_sha256 != definition.sha256:
                continue
            if run.result is not None and run.result.outcome in (Outcome.UNAVAILABLE, Outcome.ABORTED):
                continue  # what was unavailable may be there now; a task that was stopped may go on
            try:
                last = run.result or await self._resume(run, work)
                used += 1
            except AWAY as error:
                unable[run.machine] = error
            else:
                if unable_there(last):
                    unable[run.machine] = last.reason
        while last is None or (
            runs_again(last, definition)
            and used < self.config().limits.attempts
            and not self.given_up.test(candidate)
        ):
            place, why_not = await find_place(definition, self.config(), self.executors, unable, self.machines)
            if place is None and last is not None:
                other = [line for line in why_not if last.reason not in line]
                more = f"; it was not run again: {'; '.join(other)}" if other else ""
                return replace(last, reason=f"{last.reason}{more}")
            try:
                last = await self._attempt(work, place, why_not, anew=last is not None)
                used += 1
            except AWAY as error:
                assert place is not None
                unable[place.machine] = error
                continue
            if place is None:
                return last
            if unable_there(last):
                unable[place.machine] = last.reason
        return last

    async def set_up(self, caller: SetupCaller, definition: Definition, plan: SetupPlan) -> None:
        """Builds a gate's environment before there is a change, where it is known which login will use it. A
        machine that is away is no reason to wait. Raises ``SetupFailed``."""
        try:
            place, _ = await find_place(definition, self.config(), self.executors, {}, self.machines)
        except AWAY:
            return
        if place is not None and not place.config.has_gate_pool:
            with contextlib.suppress(*AWAY):
                await self._setups.of_base(place, caller, plan)

    # --- one run --------------------------------------------------------------------------------------

    async def _attempt(self, work: GateWork, place: Place | None, why_not: list[str], *, anew: bool) -> GateResult:
        """``anew``: its checkout is filled anew, since the run before may have ended for the sake of a kept one."""
        async with self._own_login(place, work.candidate) as login:
            if place is not None and place.config.has_gate_pool:
                machine = place.machine
                try:
                    place = await own_place(place, login, self.executors) if login else None
                except AWAY:
                    raise
                except (Refused, Misused, Unavailable) as error:
                    place, why_not = None, [*why_not, f"{machine}: {error}"]
            environment, trouble = NOTHING_MADE, None
            if place is not None:
                try:
                    environment = await self._setups.of_base(
                        place, self._setups.caller(work.candidate), work.plan, runs_base=work.runs_base
                    )
                except (Refused, Misused, Unavailable) as error:
                    trouble = error
            return await self._attempt_at(work, place, why_not, environment, trouble, anew=anew)

    async def _attempt_at(
        self,
        work: GateWork,
        place: Place | None,
        why_not: list[str],
        environment: GateEnvironment,
        trouble: AirbossError | None,
        *,
        anew: bool,
    ) -> GateResult:
        """Opens the run, and does it. ``trouble``: why it cannot be done after all."""
        candidate, definition = work.candidate, work.definition
        nonce, pipe = secrets.token_hex(16), f"{self.records.instance}-gate-{secrets.token_hex(8)}"
        opening = Opening(candidate, definition, "", nonce, pipe)
        if place is not None:
            opening = replace(opening, machine=place.machine, login=place.own, supervisor=place.supervisor)
        run_id = await self.records.open_run(opening)
        failpoint("gate-opened")
        if place is None:
            reason = "no machine can run it: " + "; ".join(why_not)
            return await self._close(candidate.task.id, run_id, unavailable(run_id, definition, reason))
        run = Run(run_id, nonce, pipe, definition, candidate, place, environment, work.plan)
        async with self._turn(place):  # from the checkout on: the run before could change what it finds
            try:
                if trouble is not None:
                    raise trouble
                await self.records.opened(run_id)
                run, spec = await self._furnish(run, work, anew=anew)
                result = await self._watch_run(run, work, spec, started=False)
                result = replace(result, notes=(*run.notes, *result.notes))
            except SetupFailed as failed:
                result = setup_failed(run, failed)
            except (Refused, Misused, Unavailable) as error:
                result = unavailable(run_id, definition, str(error))
                await self._close(candidate.task.id, run_id, result, place, pipe, work.repository)
                if isinstance(error, (*AWAY, DiskFull)):
                    raise
                return result
            return await self._close(candidate.task.id, run_id, result, place, pipe, work.repository)

    @contextlib.asynccontextmanager
    async def _own_login(self, place: Place | None, candidate: Candidate) -> AsyncIterator[str]:
        """A login of the machine's pool; empty where it has none, or once the task was stopped."""
        if place is None or not place.config.has_gate_pool:
            yield ""
            return
        machine, logins = place.machine, place.config.gate_as
        in_use = await self.records.open_logins(machine)
        async with (
            self._pool.lease(machine, logins, self._given_up(candidate), in_use) as login,
            self.records.alone(f"gate login {login}@{machine}"),
        ):
            yield login

    def _given_up(self, candidate: Candidate) -> Callable[[], bool]:
        return lambda: self.given_up.test(candidate)

    async def _furnish(self, run: Run, work: GateWork, *, anew: bool) -> tuple[Run, PipeSpec]:
        """Puts in place what a run needs. Returns the run with all that it sees, and what to start."""
        executor, checkout, repository = run.place.executor, self.workspaces.checkout, work.repository
        started, alone = time.monotonic(), bool(run.plan.changed) or not keeps(run.place)
        aside = await self._setups.in_place(run)
        if anew or not keeps_checkouts(run.place) or (work.course is not None and work.course.runs_base(run)):
            await retry_unreachable(lambda: checkout(executor, repository, run.candidate.commit, run.pipe))
        else:
            kept = self.workspaces.kept_checkout
            place = await retry_unreachable(lambda: kept(executor, repository, run.candidate.commit, run.pipe))
            run = replace(run, kept=place)
        run = await in_place.put(self.workspaces, repository, run, run.candidate.commit)
        environment = await self._setups.of_change(run, aside)
        seconds = time.monotonic() - started if alone and environment.tree else 0.0
        run = replace(run, environment=replace(environment, seconds=seconds))
        equipped = await _equipped(run, work.course)
        spec = equipped.spec
        if equipped.base:
            await retry_unreachable(lambda: checkout(executor, repository, equipped.base, run.pipe, inner="base"))
            both = await in_place.put(self.workspaces, repository, run, equipped.base, "base/tree")
            spec = replace(spec, large=both.large, submodules=both.submodules)
        wanted = {**{f"{folder}/.keep": b"" for folder in _FOLDERS}, **equipped.files}
        works = [
            retry_unreachable(partial(executor.write_file, f"{run.room}/{name}", data))
            for name, data in wanted.items()
        ]
        await side_by_side(works, f"equip {run.pipe}", most=_FILES_AT_ONCE)
        return run, spec

    async def _resume(self, open_: GateRun, work: GateWork) -> GateResult:
        """Resumes a run that an earlier controller opened; it is never started a second time."""
        candidate, definition = work.candidate, work.definition
        config = self.config().machines.get(open_.machine)
        if config is None:
            reason = f"the machine {open_.machine or '(none)'} is not in fleet.toml"
            return await self._close(candidate.task.id, open_.id, unavailable(open_.id, definition, reason))
        async with contextlib.AsyncExitStack() as held:
            if open_.login:
                lease = self._pool.lease(open_.machine, [open_.login], self._given_up(candidate))
                await held.enter_async_context(lease)
                turn = self.records.alone(f"gate login {open_.login}@{open_.machine}")
                await held.enter_async_context(turn)
            executor = self.executors.gate(open_.machine, open_.login)
            supervising = self.executors.gate(open_.machine, open_.supervisor) if open_.supervisor else None
            place = None
            try:
                facts = await retry_unreachable(executor.facts)
                place = Place(open_.machine, executor, facts, config, open_.login, open_.supervisor, supervising)
                run = Run(open_.id, open_.nonce, open_.pipe, definition, candidate, place, plan=work.plan)
                await held.enter_async_context(self._turn(place))
                spec = (await _equipped(run, work.course)).spec
                result = await self._watch_run(run, work, spec, started=True)
            except (Refused, Misused, Unavailable) as error:
                result = unavailable(open_.id, definition, str(error))
                result = await self._close(candidate.task.id, open_.id, result, place, open_.pipe, work.repository)
                if isinstance(error, (*AWAY, DiskFull)):
                    raise
                return result
            return await self._close(candidate.task.id, open_.id, result, place, open_.pipe, work.repository)

    async def _watch_run(self, run: Run, work: GateWork, spec: PipeSpec, *, started: bool) -> GateResult:
        """Starts the run's process unless already started, watches it to its end, and returns the result."""
        log = self.home / "gates" / f"{run.id}.log"
        if run.place.supervising is not None and not started:
            await run.place.executor.close()  # nothing else runs as the run's own login
        owner = run.candidate.task.id
        async with alongside(self.records.follow(log, run.id, owner), "tell a gate's last lines"):
            ended, seen = await watch(
                run.place.runner,
                spec,
                log,
                started=started,
                patience=self.patience,
                abandoned=self._given_up(run.candidate),
                tell=partial(self.records.waits, owner),
            )
            ended = await _explained(run.place, ended)
        await asyncio.to_thread(redact_log, log, self.records.redact)
        await self.records.keep_output(log, run.id, owner)
        read = None
        if run.definition.reports:
            read = await read_report(run.place.executor, f"{run.room}/report/junit.xml", self.records.redact)
        given_up = self.given_up.why(run.candidate)
        result = await asyncio.to_thread(
            result_of, run, ended, seen, read, given_up=given_up, redact=self.records.redact
        )
        if work.course is not None:
            sealed = await left_at(run.place.executor, f"{run.room}/{REPORT}", REPORT_LIMIT)
            result = await work.course.judge(run, result, sealed)
        base = BaseRun(self.workspaces, work.repository, self.home, self.patience, self._given_up(run.candidate))
        return await base.checked(run, result, read)

    @property
    def _setups(self) -> GateSetups:
        return GateSetups(self.environments, self.given_up.test)

    @contextlib.asynccontextmanager
    async def _turn(self, place: Place) -> AsyncIterator[None]:
        """Runs that share a login without walls take turns."""
        if place.facts.walled or place.own:
            yield
            return
        async with (
            self._turns.setdefault(place.login, asyncio.Lock()),
            self.records.alone(f"gate login {place.login}"),
        ):
            yield

    async def _close(  # noqa: PLR0917 - what ended, and what of it is on a machine
        self,
        task: str,
        run_id: str,
        result: GateResult,
        place: Place | None = None,
        pipe: str = "",
        repository: Repository | None = None,
    ) -> GateResult:
        await self.records.close_run(run_id, result)
        failpoint("gate-closed")
        if place is None or repository is None:
            await self.records.closed(run_id, task)
        else:
            async with alongside(self._clear(result, place, pipe, repository), f"clear {pipe}") as clearing:
                await self.records.closed(run_id, task)
                await clearing
        return result

    async def _clear(self, result: GateResult, place: Place, pipe: str, repository: Repository) -> None:
        """Removes what a run left on its machine, and gives its checkout back. Leftovers of a gate do no harm: they
        may stay while the link is down."""
        with contextlib.suppress(Unavailable, TimeoutError):
            if result.outcome in _MAY_RUN_ON:
                async with asyncio.timeout(min(_STOP_SECONDS, self.patience)):
                    await place.runner.stop(pipe, 1.0)
            holds = result.evidence.tree if result.evidence and result.outcome not in _MAY_RUN_ON else ""
            rooms = [f"{place.executor.root}/gates/{room}" for room in (pipe, room_of(pipe))]
            works = [
                *(self.workspaces.discard(place.executor, room) for room in rooms),
                self.workspaces.put_back(place.executor, repository, pipe, holds),
            ]
            await side_by_side(works, f"clear {pipe}", most=len(works))


async def _explained(place: Place, ended: Ended) -> Ended:
    """A run without an exit record may have ended with its machine: that has another boot then."""
    if ended.exit != UNRECORDED or (await retry_unreachable(place.executor.facts)).boot == place.facts.boot:
        return ended
    return replace(ended, exit=RESTARTED)


async def _equipped(run: Run, course: Course | None) -> Equipped:
    spec = process_of(run)
    return Equipped("", {}, spec) if course is None else await asyncio.to_thread(course.equip, run, spec)
