"""Commands about what was: tasks page by page, and what agents cost."""

from __future__ import annotations

from datetime import datetime, timedelta
from typing import Final
from zoneinfo import ZoneInfo

from bot import plain
from bot.cards import Action, Card, Line, footed, line, one_line
from bot.commands import choose
from bot.commands.common import reply
from bot.pages import ROWS, Page
from bot.parse import words as split
from bot.registry import Call, Command, Context, Effect, Group
from bot.telling import sounds
from bot.words import money
from fleet.config.paying import at_list_price
from fleet.errors import Misused
from fleet.model import Task, TaskState
from fleet.schedule.times import instant, local_time
from fleet.store import tasks
from fleet.store.core import Tx
from fleet.store.spending import Spent, spent
from gates.people import Right

_DAYS: Final = 7
_AGENTS: Final = 8
_SIGNS: Final = {
    TaskState.LANDED: "✓",
    TaskState.PUSHED: "✓",
    TaskState.ANSWERED: "✓",
    TaskState.FAILED: "✗",
    TaskState.REFUSED: "✗",
    TaskState.UNAVAILABLE: "✗",
    TaskState.LOST: "✗",
    TaskState.STOPPED: "■",
}


async def history(context: Context, call: Call) -> Effect:
    """A page of all tasks, newest first; of one repository, if one is named."""
    given = split(call.args)
    numbers = [int(word[:9]) for word in given if word.isascii() and word.isdigit()]
    named = [word for word in given if not (word.isascii() and word.isdigit())]
    repo = choose.pick("repository", "", named[0], sorted(context.config().repos)) if named else ""
    number = max(1, numbers[0]) if numbers else 1

    def read(tx: Tx) -> tuple[list[Task], ZoneInfo, int]:
        some = tasks.page(tx, ROWS + 1, (number - 1) * ROWS, repo)
        return some, sounds.zone_of(tx, context.config(), call.actor), tx.now_us()

    found, zone, now = await context.store.read(read)
    first = (number - 1) * ROWS
    page = Page(number, first, first + min(ROWS, len(found)), first + len(found))
    shown = found[:ROWS]
    data = {"tasks": [plain.task(task) for task in shown], "page": number, "more": len(found) > ROWS}
    card = Card(
        line(f"Tasks{f' of {repo}' if repo else ''}{page.span if shown else ''}"),
        tuple(_row(task, zone, now, with_repo=not repo) for task in shown) or (line("No tasks here."),),
        actions=(*(_open(task) for task in shown[:3]), *page.actions(f"/history {repo} ".replace("  ", " "))),
        footer=footed(context.config().isolation, f"times in {zone.key}"),
    )
    return reply(call, card, data=data)


def _open(task: Task) -> Action:
    return Action(task.id, f"/session {task.id}", once=False)


def _row(task: Task, zone: ZoneInfo, now_us: int, *, with_repo: bool) -> Line:
    """``✓ t12 shop · landed 14:02 · fix the discount``."""
    when, now = local_time(task.updated_us, zone), local_time(now_us, zone)
    at = when.strftime("%H:%M" if when.date() == now.date() else "%d %b")
    where = f" {task.repo}" if with_repo else ""
    return line(f"{_SIGNS.get(task.state, '▸')} {task.id}{where} · {task.state} {at} · ", one_line(task.prompt, 30))


async def cost(context: Context, call: Call) -> Effect:
    """What agents cost today and in seven days, in the person's own zone."""
    config = context.config()
    if any(letter.isdigit() for letter in call.args):
        raise Misused(
            attempted="do /cost", cause="it shows today and seven days", hint="/digest 30d shows another period."
        )

    def read(tx: Tx) -> tuple[ZoneInfo, int]:
        return sounds.zone_of(tx, config, call.actor), tx.now_us()

    zone, now = await context.store.read(read)
    midnight = datetime.combine(local_time(now, zone).date(), datetime.min.time())
    today, since = instant(midnight, zone), instant(midnight - timedelta(days=_DAYS - 1), zone)
    found = await spent(context.store, since, today)
    listed = frozenset(name for name in found if at_list_price(config, name))
    data = {
        "zone": zone.key,
        "since_us": since,
        "today_us": today,
        "agents": [
            {
                "agent": name,
                "list_price": name in listed,
                "today": {"cost_udollar": sum_.today_udollar, "tokens": sum_.today_tokens},
                "seven_days": {"cost_udollar": sum_.all_udollar, "tokens": sum_.all_tokens},
            }
            for name, sum_ in found.items()
        ],
    }
    total = Spent(
        sum(each.today_udollar for each in found.values()), sum(each.all_udollar for each in found.values())
    )
    lines = [_agent_line(name, sum_, listed=name in listed) for name, sum_ in list(found.items())[:_AGENTS]]
    if len(found) > _AGENTS:
        lines.append(line(f"and {len(found) - _AGENTS} more agents"))
    if listed:
        lines.append(line("* list price: a subscription pays these, by its own limits"))
    card = Card(
        line(f"Cost · {money(total.today_udollar)} today · {money(total.all_udollar)} in {_DAYS} days"),
        tuple(lines) or (line("No agent has reported a cost in these days."),),
        footer=f"as the agents report it · days of {zone.key}",
    )
    return reply(call, card, data=data)


def _agent_line(name: str, sum_: Spent, *, listed: bool) -> Line:
    def amount(udollar: int, tokens: int) -> str:
        return money(udollar) if udollar or not tokens else f"{tokens:,} tokens"

    today, week = amount(sum_.today_udollar, sum_.today_tokens), amount(sum_.all_udollar, sum_.all_tokens)
    return line(f"{name}{'*' if listed else ''} · {today} today · {week} in {_DAYS} days")


COMMANDS = (
    Command("history", "", "all tasks, page by page", "[REPO] [PAGE]", Right.SEE, history, Group.REPORTS),
    Command(
        "cost", "today", "cost of today and of seven days", "", Right.SEE, cost, Group.REPORTS, aliases=("costs",)
    ),
)
