"""What setups made, for one gate run: found or built, and where the run sees it.

What the base branch has is built once and trusted. Where a change has other inputs, what they make is built for
this run alone, from the change, and thrown away with it: others use nothing that a person has not seen.
"""

from __future__ import annotations

import contextlib
from collections.abc import Callable
from dataclasses import dataclass

from fleet.ports import Candidate
from fleet.refs import Refs
from fleet.setup.environments import Environments
from fleet.setup.site import ProvidedDirectory, Room, SetupCaller, SetupFailed, SetupSite
from gates.runs.place import Place, Run, bare_path
from gates.runs.plan import GateEnvironment, SetupPlan


def room_of(pipe: str) -> str:
    """The directory among the checkouts for what is made for one run alone."""
    return f"{pipe}.setup"


def keeps(place: Place) -> bool:
    """Whether what is made there can be kept: nothing but setups may be able to write it. Runs cannot, inside their
    walls; agents cannot as another login, or inside theirs."""
    config, facts = place.config, place.facts
    shared = bool(set(config.gate_logins) & set(config.agent_logins))
    return facts.walled and (not shared or (config.session_walls and facts.layered))


def keeps_checkouts(place: Place) -> bool:
    """Whether a run there may have a kept checkout, with a layer of its own over it."""
    return keeps(place) and place.facts.layered


def site_of(place: Place) -> SetupSite:
    """A gate's place as one for setups."""
    config = place.config
    read = (*config.gate_path, *config.gate_read)
    return SetupSite(place.executor, place.facts, bare_path(config), read, config.run_limits())


@dataclass(frozen=True, slots=True)
class GateSetups:
    """Finds and builds environments for gate runs. ``given_up``: whether a judgement does not count any more."""

    environments: Environments
    given_up: Callable[[Candidate], bool]

    async def of_base(
        self, place: Place, caller: SetupCaller, plan: SetupPlan, *, runs_base: bool = False
    ) -> GateEnvironment:
        """What the base's inputs make, as far as it is used, where it can be kept.

        ``runs_base``: the base may be run, too. Raises ``SetupFailed``.
        """
        if not keeps(place):
            return GateEnvironment()
        site = site_of(place)
        tree: list[ProvidedDirectory] = []
        for wanted in plan.unchanged:
            tree += await self.environments.kept(site, wanted, caller)
        base = list(tree)
        for wanted in plan.replaced if runs_base else ():
            with contextlib.suppress(SetupFailed):  # the change may be what repairs it
                base += await self.environments.kept(site, wanted, caller)
        return GateEnvironment(tuple(tree), tuple(base))

    async def in_place(self, run: Run) -> tuple[ProvidedDirectory, ...]:
        """Without walls: builds all of it in the run's own directory, where it will be used, and puts it aside
        until the checkout is there. Raises ``SetupFailed``."""
        if run.place.facts.walled:
            return ()
        caller, site = self.caller(run.candidate), site_of(run.place)
        found: list[ProvidedDirectory] = []
        for number, wanted in enumerate((*run.plan.unchanged, *run.plan.changed)):
            made = await self.environments.once(site, wanted, Room(run.pipe), f"{run.pipe}-{number}", caller)
            aside = f"{run.place.executor.root}/gates/{room_of(run.pipe)}/{number}"
            found += await self.environments.put(site, made, aside)
        return tuple(found)

    async def of_change(self, run: Run, aside: tuple[ProvidedDirectory, ...]) -> GateEnvironment:
        """All that a run sees, once its checkout is there. Raises ``SetupFailed`` where the change's inputs make
        nothing that can be used."""
        caller, site = self.caller(run.candidate), site_of(run.place)
        if not run.place.facts.walled:
            return GateEnvironment(await self.environments.put(site, aside, f"{run.room}/tree"))
        kept = keeps(run.place)
        tree, base = list(run.environment.tree), list(run.environment.base)
        for number, wanted in enumerate((*(() if kept else run.plan.unchanged), *run.plan.changed)):
            room = Room(room_of(run.pipe), str(number))
            made = await self.environments.once(site, wanted, room, f"{run.pipe}-{number}", caller)
            tree += made
            base += made if wanted in run.plan.unchanged else ()
        return GateEnvironment(tuple(tree), tuple(base))

    def caller(self, candidate: Candidate) -> SetupCaller:
        """Who waits for a change's environment: its task, until that is given up."""
        refs = Refs(task=candidate.task.id, session=candidate.session.id, turn=candidate.turn.id)
        return SetupCaller(refs, lambda: self.given_up(candidate))
