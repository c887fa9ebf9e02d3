"""Commands about machines: all of them, or one."""

from __future__ import annotations

from bot import plain, words
from bot.cards import Card, footed, line
from bot.commands import choose
from bot.commands.common import reply
from bot.machine_view import machine_card, plain_pools, pool_lines, pools_seen
from bot.pages import Page, wanted
from bot.parse import words as split
from bot.registry import Call, Command, Context, Effect, Group
from bot.telemetry_view import machine_line
from fleet.machines.waking import could_start
from fleet.machines.watch import MachineSeen, MachineState
from fleet.model import Session, Task
from fleet.store import queue, sessions
from fleet.store.at_work import at_work
from fleet.store.core import Tx
from gates.people import Right


async def machines(context: Context, call: Call) -> Effect:
    """The machine that is named; or a page of all, those that do not respond first."""
    config, seen = context.config(), context.control.machines()
    if named := choose.to_show("a machine", split(call.args), config.machines):
        return await _machine(context, call, named)
    busy, now, pools = await context.store.read(lambda tx: (sessions.busy(tx), tx.now_us(), pools_seen(tx)))
    names = sorted(config.machines, key=lambda name: (not (name in seen and seen[name].state.is_bad), name))
    page = Page.of(wanted(call.args), len(names))
    lines = tuple(
        machine_line(name, config.machines[name], busy.get(name, 0), seen.get(name), now, disk=True)
        for name in names[page.first : page.upto]
    )
    if not page.first:
        lines = (*pool_lines(config, pools, context.control.pool_notes()), *lines)
    data = {
        "machines": [
            plain.machine(name, config.machines[name], busy.get(name, 0), seen.get(name)) for name in names
        ],
        "pools": plain_pools(config, pools),
    }
    title = line(words.count(len(names), "machine") + page.span)
    footer = footed(config.isolation, "/machines NAME shows one" if names else "")
    return reply(call, Card(title, lines, actions=page.actions("/machines "), footer=footer), data=data)


async def _machine(context: Context, call: Call, name: str) -> Effect:
    config, every = context.config(), context.control.machines()
    seen = every.get(name, MachineSeen(MachineState.NEVER))

    def read(tx: Tx) -> tuple[list[Session], list[Task], queue.Pause | None, int]:
        asleep = queue.line(tx) if seen.state is MachineState.AWAY else []
        waiting = [task for task in asleep if could_start(task, name, config, every)]
        return at_work(tx, name), waiting, queue.pauses(tx).get(name), tx.now_us()

    working, waiting, pause, now = await context.store.read(read)
    data = {
        "machines": [plain.machine(name, config.machines[name], len(working), seen)],
        "at_work": [plain.session(session) for session in working],
        "waiting": [task.id for task in waiting],
        "pauses": [plain.pause(pause)] if pause else [],
    }
    return reply(
        call, machine_card(config, name, seen, at_work=working, waiting=waiting, pause=pause, now_us=now), data=data
    )


COMMANDS = (Command("machines", "", "machines, slots, load", "[MACHINE|PAGE]", Right.SEE, machines, Group.LOOK),)
