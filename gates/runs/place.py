"""Where a gate runs: which machines qualify, which of them answers, and the run opened there."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Final, NamedTuple, Protocol, TypeVar

from fleet.config import FleetConfig, MachineConfig
from fleet.errors import MachineFaulty, MachineFull, Unavailable, Unreachable
from fleet.exits import succeeded
from fleet.machines.watch import MachineSeen, labels_of, want
from fleet.model import Isolation
from fleet.offers import NOT_SEEN, lacking
from fleet.ports import Candidate, Executor, LoginFacts
from gates.runs.definitions import Definition
from gates.runs.plan import NO_SETUPS, NOTHING_MADE, GateEnvironment, SetupPlan

T = TypeVar("T")

#: A machine with such an error may be there again later, unchanged.
AWAY: Final = (Unreachable, MachineFaulty, MachineFull)
#: System directories only: programs that an agent's login can write must not be found first.
_SYSTEM_PATH: Final = "/opt/homebrew/bin:/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"
_PAUSES: Final = (0.5, 1.0, 2.0)


def bare_path(config: MachineConfig) -> str:
    """Where gates look programs up, apart from what setups made."""
    return ":".join([*config.gate_path, _SYSTEM_PATH])


class Candidates(NamedTuple):
    """The machines that may run a gate, those of which not all labels are known yet, and a line about each other
    one."""

    fitting: list[str]
    unknown: list[str]
    why_not: list[str]


def machines_for(
    definition: Definition, config: FleetConfig, seen: Mapping[str, MachineSeen] | None = None
) -> Candidates:
    """The machines for a gate, by their labels as last ``seen``; without that, by those of ``fleet.toml``."""
    found = Candidates([], [], [])
    for name, machine in config.machines.items():
        labels, all_known = labels_of(name, machine, seen)
        missing = lacking(definition.needs, labels)
        if not machine.gates:
            found.why_not.append(f"{name}: gates = false")
        elif not machine.runs_gates(config.isolation):
            found.why_not.append(f"{name}: no gate_as login, and isolation is {config.isolation}")
        elif missing and not all_known:
            found.unknown.append(name)
        elif missing:
            found.why_not.append(f"{name}: lacks {', '.join(missing)}")
        else:
            found.fitting.append(name)
    return found


class GateLogins(Protocol):
    """Finds gate logins; implemented by ``fleet.machines.executors.Executors``."""

    def gate(self, machine: str, login: str = "") -> Executor:
        """The login for gates on a machine of ``fleet.toml``: the first one, or the one named."""


@dataclass(frozen=True, slots=True)
class Place:
    """A machine for a gate, its gate login, its facts, and its configuration.

    ``own``: of a pool, the login that the run has to itself. ``supervisor``: the login that starts and follows the
    run, where it is another.
    """

    machine: str
    executor: Executor
    facts: LoginFacts
    config: MachineConfig
    own: str = ""
    supervisor: str = ""
    supervising: Executor | None = None

    @property
    def runner(self) -> Executor:
        """Starts, follows and stops the run; ``executor`` does what is about its files."""
        return self.supervising or self.executor

    @property
    def login(self) -> str:
        """A key for the login, unique across all machines."""
        return f"{self.facts.user}@{self.machine}"


@dataclass(frozen=True, slots=True)
class Run:
    """One opened run: what it judges, where, and through which pipe.

    ``environment`` is what setups made for it, by the ``plan``. ``large``: the files of Git LFS whose objects are
    in their place, by full path. ``pointers``: those whose objects nobody has, or that are in submodules.
    ``submodules``: see ``PipeSpec``; ``empty``: those of the change in whose place nothing is. ``kept``: where
    its kept checkout is, if it has one.
    """

    id: str
    nonce: str
    pipe: str
    definition: Definition
    candidate: Candidate
    place: Place
    environment: GateEnvironment = NOTHING_MADE
    plan: SetupPlan = NO_SETUPS
    large: tuple[str, ...] = ()
    pointers: tuple[str, ...] = ()
    submodules: tuple[tuple[str, str, str], ...] = ()
    empty: tuple[str, ...] = ()
    kept: str = ""

    @property
    def notes(self) -> tuple[str, ...]:
        """What a person should know of how it was furnished."""
        pointers = "only the pointer was there: its object was not found, or is of a submodule"
        empty = "its directory was empty: the base's .gitmodules does not say where that commit comes from"
        lacking = (("Git LFS", self.pointers, pointers), ("submodules", self.empty, empty))
        words = tuple(f"{what}: {_first_of(paths)}: {why}" for what, paths, why in lacking if paths)
        return (*self.environment.notes, *words)

    @property
    def room(self) -> str:
        """The run's own directory on the machine; the checkout is ``tree`` in it, or a kept one."""
        return f"{self.place.executor.root}/gates/{self.pipe}"

    @property
    def tree(self) -> str:
        """Where the checkout is."""
        return f"{self.kept or self.room}/tree"


def _first_of(paths: Sequence[str]) -> str:
    return repr(paths[0]) + (f" and {len(paths) - 1} more" if len(paths) > 1 else "")


async def retry_unreachable(call: Callable[[], Awaitable[T]]) -> T:
    """Repeats an idempotent call while the link is broken for a few seconds."""
    for pause in _PAUSES:
        try:
            return await call()
        except Unreachable:
            await asyncio.sleep(pause)
    return await call()


async def own_place(place: Place, login: str, executors: GateLogins) -> Place:
    """The place with a login of its pool. Another login supervises where there are no walls and it can do so."""
    executor = executors.gate(place.machine, login)
    facts = await retry_unreachable(executor.facts)
    own = replace(place, executor=executor, facts=facts, own=login)
    if facts.walled or not place.config.supervise_as:
        return own
    name = place.config.supervise_as
    supervising = executors.gate(place.machine, name)
    tried = await retry_unreachable(
        lambda: supervising.run(["sudo", "-n", "-H", "-u", login, "--", "true"], cwd="/")
    )
    return replace(own, supervisor=name, supervising=supervising) if succeeded(tried.exit) else own


async def find_place(
    definition: Definition,
    config: FleetConfig,
    executors: GateLogins,
    unable: Mapping[str, Unavailable | str],
    seen: dict[str, MachineSeen] | None,
) -> tuple[Place | None, list[str]]:
    """The first machine that qualifies, answers and keeps gates apart from agents; and why earlier ones were
    skipped.

    ``unable`` are machines that could not do this gate, and why. Where none is left, raises ``Unreachable`` or
    ``MachineFaulty`` if one that fits is only away.
    """
    fitting, unknown, why_not = machines_for(definition, config, seen)
    away: Unavailable | None = None
    for name in unknown:
        away = Unreachable(attempted=f"place the gate {definition.name}", on=name, cause=NOT_SEEN)
        why_not.append(f"{name}: {NOT_SEEN}")
    for name in fitting:
        if name in unable:
            why = unable[name]
            why_not.append(f"{name}: {why}")
            away = why if isinstance(why, AWAY) else away
            continue
        executor = executors.gate(name)
        try:
            facts = await retry_unreachable(executor.facts)
        except Unavailable as error:
            why_not.append(f"{name}: {error}")
            away = error if isinstance(error, AWAY) else away
            continue
        if config.isolation is Isolation.SEPARATE_LOGINS and facts.user in config.machines[name].agent_logins:
            why_not.append(f"{name}: its gate login {facts.user} is also the agents' login")
            continue
        return Place(name, executor, facts, config.machines[name]), why_not
    if away is not None:
        for name in (*unknown, *fitting):
            want(name, seen)
        raise away
    return None, why_not or ["fleet.toml names no machine"]
