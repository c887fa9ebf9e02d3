"""How much of each limit is used now. Limits and prices are those of ``fleet.toml`` at this moment."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Final
from zoneinfo import ZoneInfo

from fleet.budgets import UNLIMITED, Allowance, Count, Measure, Scope, limits
from fleet.config import FleetConfig
from fleet.model import Task
from fleet.schedule.times import instant, local_time
from fleet.store import usage
from fleet.store.core import Tx
from fleet.usage import Usage
from fleet.zones import machine_zone

ZoneOf = Callable[[Tx, str], ZoneInfo]
"""The zone of a person's clock (``str(PersonId)``); of anybody else's, the controller's."""


def controllers_zone(tx: Tx, person: str) -> ZoneInfo:
    """Nobody has set a zone."""
    return ZoneInfo(machine_zone())


@dataclass(frozen=True, slots=True)
class CountedUse:
    """Whose use is counted: ``names`` are all ids of a person, or one name. ``since_us``: when its day began."""

    scope: Scope
    names: tuple[str, ...]
    since_us: int
    budget: Allowance

    @property
    def name(self) -> str:
        """The one that events name."""
        return self.names[0]


_TASK: Final = 0
_PERSON: Final = 1
_REPO: Final = 2


def limited(config: FleetConfig, task: Task) -> bool:
    """Whether anything that the task uses is limited: without reading the store."""
    return any(account.budget for account in _accounts(config, task, 0, 0))


def accounts(tx: Tx, config: FleetConfig, zone: ZoneOf, task: Task) -> list[CountedUse]:
    """Everything that the task's use counts for."""
    here = day_began(tx.now_us(), zone(tx, ""))
    return _accounts(config, task, day_began(tx.now_us(), zone(tx, task.requester)), here)


def person(config: FleetConfig, name: str, since_us: int) -> CountedUse:
    """A person's day, by any of their ids."""
    for each in config.people:
        if name in each.ids:
            budget = each.budget.budget.before(config.budgets.person.budget)
            return CountedUse(Scope.PERSON, (name, *(id_ for id_ in each.ids if id_ != name)), since_us, budget)
    return CountedUse(Scope.PERSON, (name,), since_us, config.budgets.person.budget)


def repo(config: FleetConfig, name: str, since_us: int) -> CountedUse:
    """A repository's day."""
    own = config.repos[name].budget.budget if name in config.repos else UNLIMITED
    return CountedUse(Scope.REPO, (name,), since_us, own.before(config.budgets.repo.budget))


def day(config: FleetConfig, since_us: int) -> CountedUse:
    """The whole day."""
    return CountedUse(Scope.DAY, ("",), since_us, config.budgets.day.budget)


def counts(tx: Tx, config: FleetConfig, account: CountedUse, *, every: bool = False) -> list[Count]:
    """What is used of each limit; ``every``: of what is unlimited too."""
    wanted = dict(limits(account.budget))
    if not wanted and not every:
        return []
    by_agent = usage.used(tx, account.scope, account.names, account.since_us)
    more = usage.granted(tx, account.scope, account.names, account.since_us)
    total = sum(by_agent.values(), Usage())
    money, unpriced = priced(config, by_agent)
    amounts = {
        Measure.MONEY: money,
        Measure.TOKENS: total.input_tokens + total.output_tokens,
        Measure.CALLS: total.calls,
        Measure.ATTEMPTS: total.attempts,
    }
    if every or Measure.TIME in wanted:
        amounts[Measure.TIME] = total.time_us + sum(_running(tx, account))
    return [
        Count(
            account.scope,
            account.name,
            measure,
            amounts[measure],
            wanted[measure] + more.get(measure, 0) if measure in wanted else 0,
            unpriced if measure is Measure.MONEY else 0,
        )
        for measure in Measure
        if every or measure in wanted
    ]


def counts_of_task(tx: Tx, config: FleetConfig, zone: ZoneOf, task: Task) -> list[Count]:
    """What is used of every limit that holds for the task."""
    return [count for account in accounts(tx, config, zone, task) for count in counts(tx, config, account)]


def spent_day(tx: Tx, config: FleetConfig, zone: ZoneOf, task: Task) -> Count | None:
    """The limit of a day that is used up, so that the task may not start."""
    of_days = [account for account in accounts(tx, config, zone, task) if account.scope is not Scope.TASK]
    every = (count for account in of_days for count in counts(tx, config, account))
    return next((count for count in every if count.spent), None)


def priced(config: FleetConfig, by_agent: Mapping[str, Usage]) -> tuple[int, int]:
    """Micro-dollars: what agents report, and other tokens by the price in ``fleet.toml``; and the tokens of agents
    without one."""
    money = unpriced = 0
    for name, used in by_agent.items():
        money += used.cost_udollar
        agent = config.agents.get(name)
        if agent is not None and agent.price is not None:
            money += agent.price.price.of(used.unpriced_input, used.unpriced_output)
        else:
            unpriced += used.unpriced_input + used.unpriced_output
    return money, unpriced


def day_began(now_us: int, zone: ZoneInfo) -> int:
    """When the day began there."""
    return instant(datetime.combine(local_time(now_us, zone).date(), datetime.min.time()), zone)


def _accounts(config: FleetConfig, task: Task, person_us: int, here_us: int) -> list[CountedUse]:
    own = task.budget.before(config.budgets.task.budget)
    return [
        CountedUse(Scope.TASK, (task.id,), 0, own),
        person(config, task.requester, person_us),
        repo(config, task.repo, here_us),
        day(config, here_us),
    ]


def _running(tx: Tx, account: CountedUse) -> Iterator[int]:
    """How long each turn has run that is at work, of this account, since its day began."""
    for work in usage.at_work(tx):
        whose = {Scope.TASK: work[_TASK], Scope.PERSON: work[_PERSON], Scope.REPO: work[_REPO], Scope.DAY: ""}
        if whose[account.scope] in account.names:
            yield max(0, tx.now_us() - max(work[-1], account.since_us))
