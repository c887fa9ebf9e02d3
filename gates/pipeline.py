"""The gatekeeper: runs a change's gates, gives the verdict, and rules on an agent's requests.

Nothing here trusts the agent: the gates come from the base branch and the operator, they run on a tree that the
controller made, and a change to the gates themselves is held for a person.
"""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path

from fleet.agent_events import Allow, Asked, AskPerson, Deny, Ruling
from fleet.agents.acts import ask_rules
from fleet.config import FleetConfig, GateKind, RepoConfig
from fleet.errors import DiskFull, Misconfigured, Misused, OriginAway, Refused, RepositoryUnusable, Unavailable
from fleet.gate_runs import GateRun
from fleet.git import submodule_changes, submodules
from fleet.git.repository import Repository
from fleet.git.trees import entries
from fleet.git.workspace import Workspaces
from fleet.leaks import Leak
from fleet.machines.watch import MachineSeen
from fleet.model import Isolation, Session, Task, TaskMode
from fleet.ports import Candidate
from fleet.refs import Refs
from fleet.setup.definitions import SetupDefinition
from fleet.setup.definitions import load as load_setups
from fleet.setup.environments import Environments
from fleet.setup.repo_file import REPO_FILE
from fleet.setup.site import SetupCaller
from fleet.supervise import alongside, side_by_side
from fleet.untrusted import clean
from fleet.verdict import GateResult, HeldPlace, Outcome, Verdict
from gates import dependencies, policy, walls
from gates.holding import all_of, held_by, missing, overridden, with_layers, with_protected
from gates.layers.examination import course_of
from gates.layers.protocol import Change
from gates.layers.reading import read_change
from gates.leaks.search import Leaks
from gates.records import Records, Reviewers, SessionGrants
from gates.rulings import permissions
from gates.runs.attempt import Suite
from gates.runs.definitions import Definition, load
from gates.runs.given_up import MERGED_ANEW, TASK_ENDED, GivenUp
from gates.runs.place import GateLogins, machines_for
from gates.runs.plan import SetupPlan, plan_of
from gates.runs.work import GateWork

_SIDE_BY_SIDE = 4
_BREAKS = "with this change nothing can be judged here any more"


class Pipeline:
    """Implements ``fleet.ports.Gatekeeper``.

    ``config`` gives the current configuration, ``repositories`` a repository by its name in ``fleet.toml``.
    ``home`` is where gate logs are kept, ``patience`` how many seconds past a gate's timeout to wait for its end,
    ``given_up`` what nobody waits for any more. ``machines``: as last seen, with their labels.
    """

    def __init__(
        self,
        *,
        records: Records,
        reviews: Reviewers,
        granted: SessionGrants,
        config: Callable[[], FleetConfig],
        executors: GateLogins,
        workspaces: Workspaces,
        repositories: Callable[[str], Repository],
        home: Path,
        leaks: Leaks,
        given_up: GivenUp,
        patience: float = 600.0,
        machines: dict[str, MachineSeen] | None = None,
    ) -> None:
        self._records, self._reviews, self._granted = records, reviews, granted
        self._config, self._repositories = config, repositories
        self._executors, self._leaks, self._home, self._machines = executors, leaks, home, machines
        made = (home, Environments(records, workspaces), given_up, patience, machines)
        self._suite = Suite(records, config, executors, workspaces, *made)

    async def load(self) -> None:
        """Loads permissions for whole sessions given before this process started; call it before any ruling."""
        await self._granted.load()

    async def preflight(self, repo: str, base: str) -> None:
        """Raises ``RepositoryUnusable`` when no change to this repository can currently be judged."""
        for definition in (await self._definitions(repo, base))[0]:
            if definition.kind is GateKind.REVIEW:
                self._reviews.preflight(definition)
                continue
            fitting, unknown, why_not = machines_for(definition, self._config(), self._machines)
            if not fitting and not unknown:
                raise RepositoryUnusable(
                    attempted="find a machine for the gate",
                    on=f"{definition.name} of {repo}",
                    cause="; ".join(why_not) or "fleet.toml has no machines",
                    hint="give a machine the labels that the gate needs, and a gate_as login",
                )

    async def set_up(self, task: Task, session: Session) -> None:
        """Builds what the gates of the session's base need, where that can be done now. Raises ``SetupFailed``."""
        repository = self._repositories(task.repo)
        defined, setups = await self._definitions(task.repo, session.base)
        if not setups:
            return
        base = (session.base, await entries(repository, session.base))
        plan = await plan_of(repository, setups, base, base)
        caller = SetupCaller(Refs(task=task.id, session=session.id), lambda: task.id in self._suite.given_up.tasks)
        for definition in defined:
            if definition.kind is GateKind.COMMAND:
                await self._suite.set_up(caller, definition, plan)

    async def judge(self, candidate: Candidate) -> Verdict:
        """Runs every gate that applies and gives the verdict. A repeated call resumes existing runs.

        Raises ``Misconfigured`` without the repository, ``RepositoryUnusable`` for wrong definitions, ``DiskFull``,
        and ``OriginAway`` while the repository of a submodule does not answer.
        """
        repository = self._repositories(candidate.task.repo)
        await self._end_those_left(candidate)
        defined, setups = await self._definitions(candidate.task.repo, candidate.base)
        same_login = self._isolation(candidate) is Isolation.UNSAFE_SAME_USER
        if same_login and not await self._records.agent_gone(candidate.session):
            why = "the agent's processes may still run, and they share a login with the gates"
            return await self._not_run(candidate, defined, Outcome.LOST, why)
        return await self._judge_by(candidate, repository, defined, setups)

    async def _judge_by(
        self,
        candidate: Candidate,
        repository: Repository,
        defined: Sequence[Definition],
        setups: Sequence[SetupDefinition],
    ) -> Verdict:
        definitions = [each for each in defined if each.kind is GateKind.COMMAND]
        try:
            await submodules.bring_changed(repository, candidate.base, candidate.commit)
            moved = await submodule_changes.changes(repository, candidate.base, candidate.commit)
            change = await read_change(repository, candidate.base, candidate.commit)
            await self._demand_unbroken(candidate, change, setups, moved)
            plan = await plan_of(repository, setups, (candidate.base, change.base), (candidate.commit, change.head))
        except (DiskFull, OriginAway):
            raise  # neither says anything about the change: it is judged once there is room, or an answer
        except RepositoryUnusable as error:  # by what the change makes of it: its agent can correct that
            why = f"{_BREAKS}: {clean(str(error))}"
            return await self._not_run(candidate, defined, Outcome.FAILED, why)
        except Unavailable as error:
            return await self._not_run(candidate, defined, Outcome.UNAVAILABLE, clean(str(error)))
        except Refused as error:
            return await self._not_run(candidate, defined, Outcome.REFUSED, clean(str(error)))
        search = self._leaks.unreleased(repository, candidate.base, candidate.commit)
        async with alongside(search, f"search {candidate.task.id} for secrets") as searching:
            base_tree = await repository.tree_of(candidate.base)
            works = []
            for definition in definitions:
                course = course_of(definition, change, base_tree, self._home / "gates" / "baselines")
                works.append(self._run(GateWork(candidate, definition, repository, course, plan)))
            results = await side_by_side(works, f"gates of {candidate.task.id}", most=_SIDE_BY_SIDE)
            if self._suite.given_up.test(candidate):
                return await self._aborted(candidate, defined, results)
            given = await self._records.overrides(candidate.task.id, candidate.tree)
            results = [
                overridden(await with_layers(result, definition, change), definition, given)
                for result, definition in zip(results, definitions, strict=True)
            ]
            try:
                leaks = await searching
            except DiskFull:
                raise
            except Unavailable as error:
                unsearched = policy.Judgement(Outcome.UNAVAILABLE, (clean(str(error)),))
                return await self._give_verdict(candidate, results, unsearched, 0)
        if all(result.outcome.opens for result in results):
            for each in (each for each in defined if each.kind is GateKind.REVIEW):
                reviewed = await self._reviews.run(candidate, each, repository, results, leaks)
                results.append(overridden(reviewed, each, given))
            if self._suite.given_up.test(candidate):
                return await self._aborted(candidate, defined, results)
        results = all_of(defined, results, "not asked, as another gate did not pass")
        touched = held_by(change, defined)
        results = [with_protected(result, touched) for result in results]
        if walls.are_wanted(self._config_of(candidate.task.repo), self._isolation(candidate)):
            named = {definition.name: definition for definition in defined}
            results = [walls.asks(result, named[result.gate]) for result in results]
        installs = await self._installs(candidate, repository, change, plan)
        recorded = (HeldPlace(each.path, 0, each.words) for each in moved)
        results[0] = replace(results[0], held=(*results[0].held, *installs, *recorded))
        digests = {definition.name: definition.sha256 for definition in defined}
        released = await self._records.releases(candidate.task.id, digests)
        decision = policy.decide(
            policy.every(definition.name for definition in defined),
            results,
            touched,
            commit=candidate.commit,
            released=released,
            leaks=leaks,
        )
        red = {result.gate for result in results if result.outcome.red}
        turns = min(item.rework_turns for item in defined if not red or item.name in red)
        return await self._give_verdict(candidate, results, decision, turns, leaks, defined=defined)

    async def _demand_unbroken(
        self, candidate: Candidate, change: Change, setups: Sequence[object], moved: Sequence[object]
    ) -> None:
        """Raises ``RepositoryUnusable`` where the repository could not be used once the change has landed.

        No address that the change names is asked.
        """
        if setups or any(each.path == REPO_FILE for each in change.paths):
            await self._defined(candidate.task.repo, candidate.commit)
        if moved:
            await submodules.usable(self._repositories(candidate.task.repo), candidate.commit)

    async def _not_run(self, of: Candidate, defined: Sequence[Definition], outcome: Outcome, why: str) -> Verdict:
        turns = min(each.rework_turns for each in defined) if outcome is Outcome.FAILED else 0
        return await self._give_verdict(of, all_of(defined, (), why), policy.Judgement(outcome, (why,)), turns)

    async def _run(self, work: GateWork) -> GateResult:
        if why := self._suite.given_up.why(work.candidate):
            return missing(work.definition, why)
        return await self._suite.run(work)

    async def stands(self, candidate: Candidate) -> bool:
        """Whether each gate that is required now has a run on it by this very definition."""
        repo = candidate.task.repo
        config = self._config_of(repo)
        try:
            defined = await load(self._repositories(repo), candidate.base, config)
        except (Refused, Misused):
            return False  # the judgement says why
        runs = await self._records.runs(candidate.commit, candidate.round)
        made = {(run.gate, run.definition_sha256) for run in runs if run.task == candidate.task.id}
        return all((definition.name, definition.sha256) in made for definition in defined)

    async def abandon(self, task: str) -> None:
        """Ends what runs for a stopped task; its judgement then ends soon, and does not count."""
        self._suite.given_up.tasks.add(task)
        await self._stop(await self._records.runs_of_task(task))

    async def close_left(self, task: str) -> None:
        """Ends and closes what runs of a task that has ended: an earlier controller had started it, or its
        judgement had an error. Its login is free for others then, and it can be judged if it goes on."""
        self._suite.given_up.tasks.discard(task)
        await self._abort(await self._records.runs_of_task(task), TASK_ENDED)

    async def withdraw(self, candidate: Candidate) -> None:
        """Ends what runs for a merge that is made anew; its judgement then ends soon, and gives no verdict."""
        self._suite.given_up.withdraw(candidate)
        found = await self._records.runs(candidate.commit, candidate.round)
        await self._stop([run for run in found if run.task == candidate.task.id])

    def rule(self, session: Session, task: Task, asked: Asked) -> Ruling:
        """The answer to an agent's request; denied when no rules are configured for it."""
        config = self._config()
        agent, repo = config.agents.get(session.agent), config.repos.get(task.repo)
        if agent is None or repo is None:
            return Deny("denied: fleet.toml does not list this task's agent or repository")
        if task.mode is TaskMode.ASK and asked.paths:
            return Deny("this task only asks a question: it may not edit anything")
        asks = ask_rules(agent.driver, agent.ask)
        rules = permissions.PermissionRules(asks, (*repo.deny_edits, *agent.deny_edits))
        ruling = permissions.rule(asked, session.workspace, rules)
        by_rule = not asked.questions and not asked.person
        if isinstance(ruling, AskPerson) and by_rule and self._granted.cover(session, asked, config):
            return Allow()
        return ruling

    async def _end_those_left(self, candidate: Candidate) -> None:
        """Closes runs on other merges of this change, which a controller that was killed left open."""
        runs = await self._records.runs_of_task(candidate.task.id)
        await self._abort([run for run in runs if run.commit != candidate.commit], MERGED_ANEW)

    async def _abort(self, runs: Sequence[GateRun], cause: str) -> None:
        """Ends and closes those of the runs that are open. Nobody else follows them."""
        left = [run for run in runs if run.result is None]
        await self._stop(left)
        for run in left:
            why = f"aborted: {cause}"
            result = GateResult(run.id, run.gate, run.argv, Outcome.ABORTED, why, None, None, "")
            await self._records.close_run(run.id, result)

    async def _stop(self, runs: Sequence[GateRun]) -> None:
        for run in runs:
            if run.result is None and run.machine:
                with contextlib.suppress(Unavailable, Misconfigured):
                    await self._executors.gate(run.machine, run.supervisor or run.login).stop(run.pipe)

    # --- parts ----------------------------------------------------------------------------------------

    def _config_of(self, repo: str) -> RepoConfig:
        return self._config().repo(repo)

    async def _definitions(
        self, repo: str, base: str
    ) -> tuple[tuple[Definition, ...], tuple[SetupDefinition, ...]]:
        """What a commit of the base branch defines. Its submodules are in the mirror from here on."""
        await submodules.bring(self._repositories(repo), base)
        return await self._defined(repo, base)

    async def _defined(self, repo: str, commit: str) -> tuple[tuple[Definition, ...], tuple[SetupDefinition, ...]]:
        config, repository = self._config_of(repo), self._repositories(repo)
        return await load(repository, commit, config), await load_setups(repository, commit, config)

    async def _installs(
        self, candidate: Candidate, repository: Repository, change: Change, plan: SetupPlan
    ) -> tuple[HeldPlace, ...]:
        """What a person must see of changed inputs of setups, unless a person released just these inputs before."""
        if not plan.changed:
            return ()
        known = await self._records.setups_released(candidate.task.repo)
        asked = [each for each in plan.changed if (each.setup.sha256, each.inputs_sha256) not in known]
        await self._records.ask_for_setups(candidate, asked)
        return await dependencies.held_places(repository, change, asked)

    def _isolation(self, candidate: Candidate) -> Isolation:
        unsafe = Isolation.UNSAFE_SAME_USER
        return (
            unsafe
            if unsafe in (candidate.session.isolation, self._config().isolation)
            else Isolation.SEPARATE_LOGINS
        )

    async def _aborted(
        self, candidate: Candidate, defined: Sequence[Definition], results: Sequence[GateResult]
    ) -> Verdict:
        """A person stopped the task, or the merge is made anew; that one is no news of the change."""
        why = self._suite.given_up.why(candidate)
        gates = all_of(defined, results, why)
        aborted = policy.Judgement(Outcome.ABORTED, (f"aborted: {why}",))
        if candidate.task.id in self._suite.given_up.tasks:
            return await self._give_verdict(candidate, gates, aborted, 0)
        base, isolation = candidate.base, self._isolation(candidate)
        return Verdict(
            candidate.commit, candidate.tree, base, aborted.outcome, aborted.reasons, tuple(gates), isolation, 0
        )

    async def _give_verdict(
        self,
        candidate: Candidate,
        results: Sequence[GateResult],
        decision: policy.Judgement,
        turns: int,
        leaks: tuple[Leak, ...] = (),
        *,
        defined: Sequence[Definition] = (),
    ) -> Verdict:
        """``defined``: the gates, where they ran."""
        results = decision.gates or results
        unwalled = [line for line in walls.without(results, defined) if line not in decision.reasons]
        opens = decision.outcome.opens or decision.outcome is Outcome.HELD
        notes = [f"{each.gate}: {note}" for each in results for note in each.notes] if opens else []
        verdict = Verdict(
            commit=candidate.commit,
            tree=candidate.tree,
            base=candidate.base,
            outcome=decision.outcome,
            reasons=(*decision.reasons, *unwalled, *map(clean, notes)),
            gates=tuple(results),
            isolation=self._isolation(candidate),
            rework_turns=turns,
            leaks=leaks if decision.outcome is Outcome.HELD else (),
        )
        await self._records.give(candidate, verdict)
        return verdict
