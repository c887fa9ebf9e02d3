"""Help: the frequent commands with a word or two, one group in full, or one command in full."""

from __future__ import annotations

from bot.cards import Action, Card, Line, line
from bot.commands.common import reply
from bot.outbox.posting import Posts
from bot.parse import words
from bot.registry import Call, Command, Context, Dialect, Effect, Group, Registry
from fleet.errors import Misused
from fleet.store.chat import cards as card_rows
from gates.people import Person, Right, may


async def show_help(context: Context, call: Call) -> Effect:
    """The overview and the groups are one card: a press on it changes it in place."""
    registry = context.registry
    dialect = registry.dialects.get(call.message.adapter, Dialect())
    # Telegram sends /start with whatever a link to the bot had in it.
    given = [] if call.message.text.startswith("/start") else words(call.args)
    group = Group.named(" ".join(given))
    data: dict[str, object] = {"commands": [_data(command) for command in registry]}
    if given and group is None:
        card = _command_card(registry, dialect, given[0].lstrip("/").lower(), call.person)
        return reply(call, card, data=data)
    card = _overview(registry, dialect, call) if group is None else _group_card(registry, dialect, group)

    def effect(posts: Posts) -> None:
        posts.data = data
        pressed = card_rows.by_put(posts.tx, call.put) if call.put else None
        if pressed is None or not _is_help(pressed.card_json):
            posts.post(call.message.chat, card, key=card_rows.loose_key())
        else:
            posts.repost(pressed.chat, card, key=pressed.key, soon=True)

    return effect


def _data(command: Command) -> dict[str, object]:
    return {
        "verb": command.verb,
        "usage": command.usage,
        "summary": command.summary,
        "right": str(command.right),
        "group": str(command.group),
        "aliases": list(command.aliases),
    }


def _is_help(card_json: str) -> bool:
    """Whether this card may be changed into another of ours: all its buttons lead to help."""
    return bool(card_json) and all(
        action.command.startswith("/help") for action in Card.from_json(card_json).actions
    )


def _overview(registry: Registry, dialect: Dialect, call: Call) -> Card:
    lines = []
    for group in Group:
        named = [f"{_name(dialect, command)} {command.brief}" for command in _of(registry, group) if command.brief]
        lines.append(line(f"{group}: {' · '.join(named)}"))
    lines.append(line(dialect.advice))
    return Card(
        _title("airboss", dialect),
        tuple(lines),
        actions=tuple(Action(group, f"/help {group.lower()}", once=False) for group in Group),
        footer=f"{call.person.name} · {call.person.role}",
    )


def _group_card(registry: Registry, dialect: Dialect, group: Group) -> Card:
    commands = [line(f"{_name(dialect, command)} · {command.summary}") for command in _of(registry, group)]
    more = line(f"{dialect.write('help')} VERB shows a command in full.")
    return Card(_title(group, dialect), (*commands, more), actions=(Action("Back", "/help", once=False),))


def _command_card(registry: Registry, dialect: Dialect, verb: str, person: Person) -> Card:
    command = registry.get(verb)
    if command is None:
        close = registry.nearest(verb)
        hint = f"Did you mean {dialect.write(close)}?" if close else f"{dialect.write('help')} shows them all."
        raise Misused(attempted=f"explain /{verb}", cause="there is no such command", hint=hint)
    has = "you have it" if may(person, command.right) else f"your role, {person.role}, does not have it"
    lines = [line(command.summary), line(f"Needs the right to {command.right}; {has}.")]
    if command.aliases:
        lines.append(line("Also: " + " ".join(map(dialect.write, command.aliases))))
    return Card(line(f"{dialect.write(command.verb)} {command.usage}".rstrip()), tuple(lines))


def _title(text: str, dialect: Dialect) -> Line:
    return line(text, f" · write {dialect.before} and one of:" if dialect.before else "")


def _of(registry: Registry, group: Group) -> list[Command]:
    return [command for command in registry if command.group is group]


def _name(dialect: Dialect, command: Command) -> str:
    """Without what the card says once for all commands."""
    return command.verb if dialect.before else dialect.write(command.verb)


COMMANDS = (
    Command(
        "help",
        "more",
        "list the commands, or explain one",
        "[VERB]",
        Right.SEE,
        show_help,
        Group.SET_UP,
        aliases=("start", "commands"),
    ),
)
