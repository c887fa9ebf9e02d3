"""Help: what is registered, and nothing else."""

from __future__ import annotations

from bot.cards import Card, line
from bot.commands.common import reply
from bot.parse import words
from bot.registry import Call, Command, Context, Dialect, Effect
from fleet.errors import Misused
from gates.people import RIGHTS, Right


async def show_help(context: Context, call: Call) -> Effect:
    """All commands by section, or one in full."""
    given = words(call.args)
    dialect = context.registry.dialects.get(call.message.adapter, Dialect())
    if given:
        return reply(call, _one(context, dialect, given[0].lstrip("/").lower()))
    sections: dict[str, list[str]] = {}
    for command in context.registry:
        name = command.verb if dialect.before else dialect.write(command.verb)
        sections.setdefault(command.section, []).append(name)
    lines = [line(f"Write {dialect.before} and one of:")] if dialect.before else []
    lines += [line(f"{section}: {' '.join(verbs)}") for section, verbs in sections.items()]
    lines.append(line(dialect.advice))
    rights = ", ".join(right for right in Right if right in RIGHTS[call.person.role])
    return reply(
        call, Card(line("airboss"), tuple(lines), footer=f"{call.person.name} · {call.person.role}: {rights}")
    )


def _one(context: Context, dialect: Dialect, verb: str) -> Card:
    command = context.registry.get(verb)
    if command is None:
        close = context.registry.nearest(verb)
        hint = f"Did you mean {dialect.write(close)}?" if close else f"{dialect.write('help')} shows them all."
        raise Misused(attempted=f"explain /{verb}", cause="there is no such command", hint=hint)
    lines = [line(command.summary), line(f"Takes the right to {command.right}.")]
    if command.aliases:
        lines.append(line("Also: " + " ".join(map(dialect.write, command.aliases))))
    return Card(line(f"{dialect.write(command.verb)} {command.usage}".rstrip()), tuple(lines))


COMMANDS = (
    Command("help", "what there is", "[VERB]", Right.SEE, show_help, "Help", aliases=("start", "commands")),
)
