"""Chooses machines for the tasks that wait, and explains why not the others. Pure functions.

A new requirement is a function in ``REQUIREMENTS``; what it looks at of the fleet is a field of :class:`FleetNow`,
what it looks at of the task one of :class:`Wants`.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Final

from fleet.agents.versions import OLDEST, Fit, fit, install, written
from fleet.config import FleetConfig, MachineConfig
from fleet.flight.pool_placing import Growth, PoolNow, growth, slot_of
from fleet.machines.vendor_logins import LoginSeen
from fleet.machines.watch import MachineSeen, labels_of
from fleet.model import Task
from fleet.offers import NOT_SEEN, lacking, passes
from fleet.store.sessions import SlotHeld
from fleet.turns import Turns


@dataclass(frozen=True, slots=True)
class Placed:
    """``machine`` takes the task; ``passed_over`` says why the others do not, one line each."""

    machine: str
    passed_over: tuple[str, ...]
    login: str = ""


@dataclass(frozen=True, slots=True)
class Waiting:
    """No machine can take it now; ``why`` says what each of them lacks. ``pool``: a slot of that pool could."""

    why: str
    pool: str = ""


@dataclass(frozen=True, slots=True)
class Impossible:
    """No machine of this fleet can take it with the current configuration; ``hint`` says how to fix that."""

    why: str
    hint: str


Answer = Placed | Waiting | Impossible


@dataclass(frozen=True, slots=True)
class Wants:
    """All that a placement looks at of a task: two tasks that want the same get the same answer."""

    machine: str
    agent: str
    repo: str
    person: str
    needs: tuple[str, ...] = ()

    @classmethod
    def of(cls, task: Task) -> Wants:
        """What this task wants."""
        return cls(task.machine, task.agent, task.repo, task.requester, task.needs)


@dataclass(frozen=True, slots=True)
class FleetNow:
    """All that a placement looks at of the fleet, at one moment.

    ``slots`` are those that are held. ``returning``: how many of a machine's slots belong to tasks that started
    before and want to go on. ``logins``: those that sessions have, by machine. On ``drained`` machines nothing new
    starts, nor where the disk is ``full``. ``seen``: each machine's last answer. ``spent``: until when an agent's
    account is used up, by agent and machine. ``pools``: what makes slots.
    """

    config: FleetConfig
    slots: Sequence[SlotHeld] = ()
    logins: Mapping[str, Sequence[str]] = field(default_factory=dict)
    drained: Collection[str] = ()
    full: Collection[str] = ()
    seen: Mapping[str, MachineSeen] = field(default_factory=dict)
    spent: Mapping[tuple[str, str], str] = field(default_factory=dict)
    returning: Mapping[str, int] = field(default_factory=dict)
    pools: Mapping[str, PoolNow] = field(default_factory=dict)

    def used(self, machine: str) -> int:
        """How many slots of a machine are taken or waited for by tasks that have started before."""
        return sum(held.machine == machine for held in self.slots) + self.returning.get(machine, 0)

    def with_one(self, wants: Wants, placed: Placed) -> FleetNow:
        """The fleet once this task has its slot."""
        held = SlotHeld(placed.machine, wants.agent, wants.repo, wants.person)
        logins = {**self.logins, placed.machine: (*self.logins.get(placed.machine, ()), placed.login)}
        return replace(self, slots=(*self.slots, held), logins=logins)


Requirement = Callable[[Wants, str, FleetNow], str]
"""Why a machine cannot take a task now; empty: as far as this goes, it can."""


def _not_drained(wants: Wants, machine: str, now: FleetNow) -> str:
    return "drained" if machine in now.drained else ""


def _labels(wants: Wants, machine: str, now: FleetNow) -> str:
    labels, all_known = labels_of(machine, now.config.machines[machine], now.seen)
    missing = lacking(_needs(wants, now), labels)
    if not missing:
        return ""
    return f"lacks {', '.join(missing)}" if all_known else NOT_SEEN


def _installed(wants: Wants, machine: str, now: FleetNow) -> str:
    seen = now.seen.get(machine)
    if seen is None or wants.agent not in seen.absent or wants.machine == machine:
        return ""  # a task that asked for this machine is told at once what is missing there
    return f"{wants.agent} is not installed"


def _supported(wants: Wants, machine: str, now: FleetNow) -> str:
    seen, driver = now.seen.get(machine), now.config.agents[wants.agent].driver
    has = (seen.offers or {}).get(wants.agent, "") if seen is not None else ""
    if fit(driver, has) is not Fit.TOO_OLD:
        return ""
    return f"{wants.agent} {has} is too old: {written(OLDEST[driver])} or later"


def _as_a_slot(wants: Wants, machine: str, now: FleetNow) -> str:
    return slot_of(machine, now.pools)


def _answers(wants: Wants, machine: str, now: FleetNow) -> str:
    seen = now.seen.get(machine)
    if seen is None or not seen.state.is_bad:
        return ""
    if seen.refused and wants.machine == machine:
        return ""  # the task asked for it: it is told at once what a person has to do
    return f"{seen.state.value}: {seen.why}" if seen.why else seen.state.value


def _disk(wants: Wants, machine: str, now: FleetNow) -> str:
    return "its disk is almost full" if machine in now.full else ""


def _account(wants: Wants, machine: str, now: FleetNow) -> str:
    everywhere = bool(now.config.agents[wants.agent].key)
    accounts = (
        until for (agent, at), until in now.spent.items() if agent == wants.agent and (everywhere or at == machine)
    )
    until = next(accounts, "")
    return f"{wants.agent}'s account is used up until {until}" if until else ""


def _account_slots(wants: Wants, machine: str, now: FleetNow) -> str:
    agent = now.config.agents[wants.agent]
    most, everywhere = agent.account_slots, bool(agent.key)
    used = sum(held.agent == wants.agent and (everywhere or held.machine == machine) for held in now.slots)
    return f"{wants.agent}'s account has its {most} slots" if most is not None and used >= most else ""


def _slot(wants: Wants, machine: str, now: FleetNow) -> str:
    slots, used = now.config.machines[machine].slots, now.used(machine)
    return f"{min(used, slots)} of {slots} slots busy" if used >= slots else ""


def _login(wants: Wants, machine: str, now: FleetNow) -> str:
    config = now.config.machines[machine]
    if not config.has_agent_pool or len(now.logins.get(machine, ())) < len(config.agent_logins):
        return ""
    return f"each of its {len(config.agent_logins)} logins has a task"


REQUIREMENTS: Final[tuple[Requirement, ...]] = (
    _not_drained,
    _as_a_slot,
    _answers,
    _labels,
    _installed,
    _supported,
    _disk,
    _account,
    _account_slots,
    _slot,
    _login,
)


def _needs(wants: Wants, now: FleetNow) -> tuple[str, ...]:
    repo = now.config.repos.get(wants.repo)
    return (*(repo.needs if repo else ()), *wants.needs)


def _never(wants: Wants, machine: str, now: FleetNow) -> bool:
    """Whether a machine lacks what it will not have unless somebody changes it."""
    labels, all_known = labels_of(machine, now.config.machines[machine], now.seen)
    needs = _needs(wants, now)
    return all_known and bool(lacking(needs, labels)) and not passes(needs, labels)


def place(wants: Wants, now: FleetNow) -> Answer:
    """Of the machines that meet every requirement the one with the most free slots (ties: the less loaded one)."""
    config = now.config
    if wants.agent not in config.agents:
        return Waiting(f"fleet.toml no longer names agent {wants.agent}")
    pool = now.pools.get(wants.machine)
    if wants.machine and wants.machine not in config.machines and pool is None:
        return Waiting(f"fleet.toml no longer names machine {wants.machine}")
    candidates = _candidates(wants, now)
    more = growth(wants.machine, _needs(wants, now), now.pools)
    if not candidates and not more.reasons:
        return Waiting("the fleet has no machines: `airboss machines add` adds one")
    if not more.possible and all(_never(wants, name, now) for name in candidates):
        why = "; ".join((*(f"{name}: {_labels(wants, name, now)}" for name in candidates), *more.reasons))
        return Impossible(why, "Change needs=, or install what is missing; /machines NAME shows what it has.")
    if not more.possible and all(_supported(wants, name, now) for name in candidates):
        why = "; ".join(f"{name}: {_supported(wants, name, now)}" for name in candidates)
        return Impossible(why, f"On one of these machines: {install(config.agents[wants.agent].driver)}")
    if shares := _shares(wants, now):
        return Waiting(shares)
    lacks = {name: _lacking(wants, name, now) for name in candidates}
    ready = [name for name in candidates if not lacks[name]]
    for name in _logged_out(wants, ready, now):
        lacks[name] = f"{wants.agent} is not logged in"
    fit = sorted((name for name in ready if not lacks[name]), key=lambda name: _load(name, now))
    passed_over = tuple(f"{name}: {why}" for name, why in lacks.items() if why)
    if not fit:
        return Waiting("; ".join((*more.reasons, *passed_over)), _from_pool(wants, now, more))
    chosen, *others = fit
    login = free_login(config.machines[chosen], now.logins.get(chosen, ()))
    return Placed(chosen, (*passed_over, *(f"{name}: {chosen} is less busy" for name in others)), login or "")


def _candidates(wants: Wants, now: FleetNow) -> list[str]:
    """The machines that a task may start on, as far as it says so."""
    if (pool := now.pools.get(wants.machine)) is not None and wants.machine not in now.config.machines:
        return sorted(name for name in pool.slots if name in now.config.machines)
    return [wants.machine] if wants.machine else sorted(now.config.machines)


def _from_pool(wants: Wants, now: FleetNow, more: Growth) -> str:
    """The pool that makes a slot for the task; none while the agent's account would have no use for it."""
    return "" if _account_slots(wants, "", now) else more.pool


def plan(
    waiting: Sequence[Task], now: FleetNow, served: Mapping[tuple[str, str], int], kept_back: Mapping[str, str]
) -> Iterator[tuple[Task, Answer]]:
    """Answers for every task that waits, those first whose turn it is. ``kept_back``: why a task may not start,
    wherever a slot is free.

    A task that gets no slot costs its person no turn: another one of theirs may fit where it does not.
    """
    turns, known = Turns(waiting, served, now.config.first_id), dict[Wants, Answer]()
    while (task := turns.pick()) is not None:
        if why := kept_back.get(task.id):
            yield task, Waiting(why)
            continue
        wants = Wants.of(task)
        answer = known[wants] = known.get(wants) or place(wants, now)
        if isinstance(answer, Placed):
            turns.serve(task)
            now, known = now.with_one(wants, answer), {}
        yield task, answer


def free_login(machine: MachineConfig, used: Collection[str]) -> str | None:
    """A login of the machine's pool for a session; ``None`` while sessions have them all.

    Empty where there is no pool. ``used``: those of the sessions; one from before there was a pool has the first.
    """
    if not machine.has_agent_pool:
        return ""
    first, *_ = machine.agent_logins
    taken = {login or first for login in used}
    return next((login for login in machine.agent_logins if login not in taken), None)


def _shares(wants: Wants, now: FleetNow) -> str:
    """What is used up of the shares that the task is part of, wherever it would start. A machine that does not let
    us in keeps nobody's: its tasks wait there for a person."""
    repo = now.config.repos.get(wants.repo)
    slots = [held for held in now.slots if held.machine not in now.seen or not now.seen[held.machine].refused]
    shares = (
        (wants.repo, repo.slots if repo else None, sum(held.repo == wants.repo for held in slots)),
        (
            wants.person,
            now.config.limits.person_slots,
            sum(now.config.is_same_person(held.person, wants.person) for held in slots),
        ),
    )
    return "; ".join(
        f"{whose} has {most} of at most {most} slots"
        for whose, most, used in shares
        if most is not None and used >= most
    )


def _lacking(wants: Wants, machine: str, now: FleetNow) -> str:
    return next(filter(None, (lacks(wants, machine, now) for lacks in REQUIREMENTS)), "")


def _logged_out(wants: Wants, machines: Sequence[str], now: FleetNow) -> list[str]:
    """Those on which the agent is not logged in, if there are others. Where it is on none, one is tried: it may
    have a way of its own that nobody can see, and else it says what is missing."""
    found = [name for name in machines if _login_of(wants, name, now) is LoginSeen.LOGGED_OUT]
    return found if len(found) < len(machines) else []


def _login_of(wants: Wants, machine: str, now: FleetNow) -> LoginSeen:
    seen = now.seen.get(machine)
    return seen.logins.get(wants.agent, LoginSeen.UNKNOWN) if seen is not None else LoginSeen.UNKNOWN


def _load(machine: str, now: FleetNow) -> tuple[int, float, str]:
    seen = now.seen.get(machine)
    load = seen.load_milli / max(1, seen.cpus) if seen is not None else 0.0
    return now.used(machine) - now.config.machines[machine].slots, load, machine
