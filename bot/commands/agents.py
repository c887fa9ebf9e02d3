"""``/agents``: which agents there are, and on which machines they can work."""

from __future__ import annotations

from typing import Final

from bot import words
from bot.agent_view import agent_lines, agent_plain, seen_agents, versions_line
from bot.cards import MAX_LINES, Action, Card, footed, line
from bot.commands import choose
from bot.commands.common import reply
from bot.logins import typed
from bot.pages import Page, wanted
from bot.parse import words as split
from bot.registry import Call, Command, Context, Effect, Group
from fleet.agents.logins import KEEPINGS
from fleet.machines.vendor_logins import LoginSeen
from gates.people import Right

_A_PAGE: Final = 3


async def agents(context: Context, call: Call) -> Effect:
    """The agent that is named; or a page of all."""
    config, machines = context.config(), context.control.machines()
    if named := choose.to_show("an agent", split(call.args), config.agents):
        return _agent(context, call, named)
    names = sorted(config.agents)
    page = Page.of(wanted(call.args), len(names), _A_PAGE)
    seen = {name: seen_agents(config, name, machines) for name in names}
    data = {"agents": [agent_plain(config, name, seen[name]) for name in names]}
    lines = [
        each
        for name in names[page.first : page.upto]
        for each in agent_lines(name, config.agents[name], seen[name])
    ]
    footer = footed(config.isolation, "/agents NAME shows one" if names else "")
    title = line(words.count(len(names), "agent") + page.span)
    models = (Action("Models", "/model", once=False),) if names else ()
    shown = tuple(lines) or (line("fleet.toml has no agent."),)
    return reply(call, Card(title, shown, actions=(*models, *page.actions("/agents ")), footer=footer), data=data)


def _agent(context: Context, call: Call, name: str) -> Effect:
    config = context.config()
    agent, seen = config.agents[name], seen_agents(config, name, context.control.machines())
    data = {"agents": [agent_plain(config, name, seen)]}
    lines = [*agent_lines(name, agent, seen, rows=MAX_LINES - 4), *versions_line(agent.driver)]
    out = [each.machine for each in seen if each.installed and each.login is LoginSeen.LOGGED_OUT]
    if out and agent.driver in KEEPINGS:
        machine = config.machines[out[0]]
        lines.append(line(f"to log in: {typed(machine, machine.agent_logins[0], agent)}"))
    actions = (Action("Models", "/model", once=False),)
    return reply(
        call, Card(lines[0], tuple(lines[1:]), actions=actions, footer=footed(config.isolation)), data=data
    )


COMMANDS = (Command("agents", "", "agents, where they are, logins", "[AGENT|PAGE]", Right.SEE, agents, Group.LOOK),)
