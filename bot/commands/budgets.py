"""Budgets: what is used and left, and more of it."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Final

from bot.cards import Card, Line, capped, footed, line, one_line
from bot.commands.common import find_task, reply
from bot.outbox.posting import Posts
from bot.parse import words as split
from bot.registry import Call, Command, Context, Effect, Group
from bot.telling import sounds
from fleet import budgets
from fleet.budgets import Count, Measure, Scope
from fleet.config import FleetConfig
from fleet.config.paying import at_list_price
from fleet.errors import Misused, Refused
from fleet.events import BudgetGranted, Refs, Source
from fleet.flight import budgeting
from fleet.flight.budgeting import CountedUse, ZoneOf
from fleet.flight.halting import whose
from fleet.model import Task
from fleet.store import ledger, tasks, usage
from fleet.store.core import Tx
from fleet.store.named import plain_id
from gates.people import Right, demand

_PEOPLE: Final = 3
_REPOS: Final = 3
_TASKS: Final = 4
_TASK: Final = re.compile(r"t?\d{1,18}(?:\.\d+)*")
_ALWAYS: Final = (Measure.MONEY, Measure.TIME)


@dataclass(frozen=True, slots=True)
class _Row:
    """An account's counts, and how a person calls it. ``listed``: its money is a list price."""

    name: str
    counts: tuple[Count, ...]
    listed: bool


def zone_of(context: Context) -> ZoneOf:
    """The zones of people's clocks."""
    return lambda tx, person: sounds.zone_of(tx, context.config(), person)


async def budget(context: Context, call: Call) -> Effect:
    """What is used and left today; or of one task."""
    config = context.config()
    named, *more = split(call.args)[:2] or [""]
    if more or (named and not _TASK.fullmatch(plain_id(named))):
        raise Misused(
            attempted="show a budget",
            cause=f"“{' '.join([named, *more])[:40]}” is no task",
            hint="/budget TASK shows one. /run budget=5usd … sets one; /go TASK more adds to what is used up.",
        )

    def read(tx: Tx) -> tuple[list[_Row], str]:
        zone = sounds.zone_of(tx, config, call.actor)
        if named or call.task:
            task = find_task(tx, call, named)
            every = budgeting.accounts(tx, config, zone_of(context), task)
            return [_row(tx, config, account, task) for account in every], zone.key
        return _today(tx, config, zone_of(context)), zone.key

    rows, zone = await context.store.read(read)
    data = {"budgets": [_plain(row, count) for row in rows for count in row.counts], "zone": zone}
    lines = [_line(row) for row in rows]
    lines += _notes(rows)
    title = "Budgets · today" if not (named or call.task) else f"Budgets of {rows[0].name}"
    card = Card(
        line(title), capped(lines, "and {n} more lines"), footer=footed(config.isolation, "as agents report it")
    )
    return reply(call, card, data=data)


def grant_more(context: Context, call: Call, posts: Posts, task: Task) -> list[str]:
    """Gives each limit that is used up its whole amount again, and says which. Raises ``Refused``."""
    tx, config = posts.tx, context.config()
    found = [
        (account, count)
        for account in budgeting.accounts(tx, config, zone_of(context), task)
        for count in budgeting.counts(tx, config, account)
        if count.spent
    ]
    for account, count in found:
        if count.scope is not Scope.TASK:
            demand(call.person, Right.MANAGE, attempted=f"add to a budget of a day ({count} {whose(count)})")
        amount = count.used - count.limit + account.budget.limit(count.measure)
        event = BudgetGranted(str(count.scope), count.name, str(count.measure), amount)
        ledger.append(tx, event, actor=call.actor, source=Source.PERSON, refs=Refs(task=task.id))
    if found:
        tx.after_commit(lambda: context.control.wake(""))
    limited = [(count, account.budget.limit(count.measure)) for account, count in found]
    return [f"{budgets.words(count.measure, limit)} more {whose(count)}" for count, limit in limited]


def demand_left(context: Context, tx: Tx, task: Task) -> None:
    """Raises ``Refused`` while a limit of the task is used up."""
    spent = [
        count for count in budgeting.counts_of_task(tx, context.config(), zone_of(context), task) if count.spent
    ]
    if spent:
        raise Refused(
            attempted=f"continue {task.id}",
            cause=f"its budget is used up: {spent[0]} {whose(spent[0])}",
            hint=f"/go {task.id} more adds {budgets.words(spent[0].measure, _base(context, tx, task, spent[0]))}.",
        )


def _base(context: Context, tx: Tx, task: Task, count: Count) -> int:
    every = budgeting.accounts(tx, context.config(), zone_of(context), task)
    return next(each.budget.limit(count.measure) for each in every if each.scope is count.scope)


def _today(tx: Tx, config: FleetConfig, zone: ZoneOf) -> list[_Row]:
    """The day, its people and repositories, and the open tasks that used something."""
    here = budgeting.day_began(tx.now_us(), zone(tx, ""))
    people = [
        budgeting.person(config, name, budgeting.day_began(tx.now_us(), zone(tx, name)))
        for name in usage.names_since(tx, Scope.PERSON, here)
    ]
    once = {
        account.names[:1] if len(account.names) == 1 else tuple(sorted(account.names)): account
        for account in people
    }
    repos = [budgeting.repo(config, name, here) for name in usage.names_since(tx, Scope.REPO, here)]
    rows = [_row(tx, config, budgeting.day(config, here), None)]
    rows += [_row(tx, config, account, None) for account in [*list(once.values())[:_PEOPLE], *repos[:_REPOS]]]
    for task in tasks.open_tasks(tx)[-_TASKS:]:
        own = budgeting.accounts(tx, config, zone, task)[0]
        rows.append(_row(tx, config, own, task))
    return rows


def _row(tx: Tx, config: FleetConfig, account: CountedUse, task: Task | None) -> _Row:
    counts = budgeting.counts(tx, config, account, every=True)
    agents = usage.used(tx, account.scope, account.names, account.since_us)
    names = {
        Scope.TASK: account.name,
        Scope.PERSON: sounds.name_of(config, account.name),
        Scope.REPO: account.name,
        Scope.DAY: "all",
    }
    listed = any(at_list_price(config, agent) for agent in ([task.agent] if task else agents))
    return _Row(names[account.scope], tuple(counts), listed)


def _line(row: _Row) -> Line:
    """``shop · $5.10 of $20.00 · 3 h, unlimited``: money and time always, the rest where it is limited."""
    star = "*" if row.listed else ""
    shown = [count for count in row.counts if count.limit or count.measure in _ALWAYS]
    said = [f"{count}{star if count.measure is Measure.MONEY else ''}" for count in shown]
    return line(one_line(row.name, 30), " · ", " · ".join(said))


def _notes(rows: list[_Row]) -> list[Line]:
    unpriced = max((count.unpriced for row in rows for count in row.counts), default=0)
    notes = []
    if unpriced:
        amount = budgets.words(Measure.TOKENS, unpriced)
        notes.append(line(f"Cost unknown for {amount}: price of an agent in fleet.toml gives it."))
    if any(row.listed for row in rows):
        notes.append(line("* list price: a subscription pays these, by its own limits"))
    return notes


def _plain(row: _Row, count: Count) -> dict[str, object]:
    return {
        "scope": str(count.scope),
        "name": row.name,
        "measure": str(count.measure),
        "used": count.used,
        "limit": count.limit or None,
        "left": count.left if count.limit else None,
        "unpriced_tokens": count.unpriced,
        "list_price": row.listed and count.measure is Measure.MONEY,
    }


COMMANDS = (
    Command(
        "budget",
        "",
        "what is used and left today, or of a task",
        "[TASK]",
        Right.SEE,
        budget,
        Group.REPORTS,
        aliases=("budgets",),
    ),
)
