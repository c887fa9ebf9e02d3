"""The registered commands. The module that owns a capability registers its commands; help shows no others."""

from __future__ import annotations

import json
import re
from collections.abc import Awaitable, Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from enum import StrEnum
from functools import partial
from pathlib import Path
from typing import Protocol

from bot.doctor.findings import Finding
from bot.health import Serving, Troubles
from bot.message import Message
from bot.outbox.posting import Posts
from bot.parse import nearest
from bot.repositories import RepoSeen
from fleet.clock import SystemClock
from fleet.config import FleetConfig
from fleet.errors import Misused, Refused
from fleet.flight.starting import FleetSeen
from fleet.git.patches import Patch
from fleet.machines.hand_terminal import HandTerminal
from fleet.machines.watch import MachineSeen
from fleet.ports import Clock
from fleet.store.core import Store
from fleet.store.named import of_another_kind
from gates.locks.service import LockService
from gates.people import Person, Right, may


class FleetControl(Protocol):
    """What a command needs from the running fleet; everything else it reads and writes in the store."""

    def wake(self, task_id: str) -> None:
        """This task changed in the store. Called on the event loop, after the commit."""

    def placing(self) -> FleetSeen:
        """What a placement depends on beside the store."""

    def machines(self) -> Mapping[str, MachineSeen]:
        """The last contact with each machine, by name; machines never contacted may be missing."""

    def troubles(self) -> Troubles:
        """What is wrong with the controller itself."""

    def serving(self) -> Serving:
        """Which controller this is, and since when it runs."""

    async def demand(self, right: Right, attempted: str) -> None:
        """Raises ``Refused`` while nothing that takes this right may happen."""

    def ledger_grows(self) -> bool:
        """Whether events may be added: not while the store lacks something, or nobody has looked yet."""

    async def save_work(self, task_id: str) -> None:
        """Takes a snapshot of what an ended task left in its worktree. Raises ``Refused`` and ``Unavailable``."""

    def pool_notes(self) -> Sequence[str]:
        """What is wrong with pools and their slots beside what the store says."""

    def tend_work(self) -> None:
        """Something was decided about work that did not land. Called on the event loop, after the commit."""

    async def repository(self, name: str) -> RepoSeen:
        """A repository of ``fleet.toml`` as it is now."""

    async def at_root(self, repo: str, names: Sequence[str]) -> Sequence[str]:
        """Those of these names that the base branch has at its root."""

    async def examine(self) -> list[Finding]:
        """What a short examination finds; crossing walls and logging in to machines is left to the command line."""

    async def terminal(self, task_id: str) -> HandTerminal:
        """The agent's own interface, which a person has in hand. Raises ``Refused`` when none has."""

    async def diff(self, repo: str, base: str, commit: str, limit: int) -> Patch:
        """The unified diff between two commits of a repository, cut at ``limit`` bytes, its secrets masked."""


@dataclass(frozen=True, slots=True)
class Context:
    """What every handler may use. ``config`` returns the current configuration; ``direct`` are the platforms where
    a person has a private chat."""

    store: Store
    config: Callable[[], FleetConfig]
    registry: Registry
    control: FleetControl
    home: Path
    locks: LockService
    clock: Clock = field(default_factory=SystemClock)
    direct: frozenset[str] = frozenset()


@dataclass(slots=True)
class Result:
    """The result of a call, for whoever waits for it.

    ``status``: exit status by the contract; ``task``: the task it began or concerned; ``data``: what ``--json``
    prints; ``posted``: the outbox rows of its answer; ``repeated``: the message was handled before.
    """

    status: int = 0
    task: str = ""
    data: dict[str, object] | None = None
    posted: list[int] = field(default_factory=list)
    repeated: bool = False

    def to_json(self) -> str:
        """The form in which the inbox keeps it."""
        kept = {"status": self.status, "task": self.task, "data": self.data, "posted": self.posted}
        return json.dumps({name: value for name, value in kept.items() if value}, separators=(",", ":"))

    @classmethod
    def again(cls, stored: str) -> Result:
        """A kept result, for a message that came again. Empty: too old, or of an old version."""
        return cls(**(json.loads(stored) if stored else {}), repeated=True)


@dataclass(frozen=True, slots=True)
class Call:
    """One command by one person. ``args`` is everything after the verb, unchanged.

    ``task`` is the task whose card or thread the message replies to, else empty; ``digest`` is the content that a
    pressed button was bound to, or the files that are kept for a draft; empty for typed text. ``put`` is the outbox
    row of the card whose button was pressed, 0 for typed text.
    """

    message: Message
    person: Person
    verb: str
    args: str
    task: str = ""
    digest: str = ""
    put: int = 0

    @property
    def actor(self) -> str:
        """The ledger's name for the person."""
        return str(self.message.sender)


Effect = Callable[[Posts], None]
"""Applied in one transaction together with the end of the inbox row. It may raise an ``AirbossError``, which undoes
all of it and is shown to the person."""

Handler = Callable[[Context, Call], Awaitable[Effect]]


def in_write(work: Callable[[Context, Call, Posts], None]) -> Handler:
    """The handler of a command that does everything in the transaction of its answer."""

    async def handler(context: Context, call: Call) -> Effect:
        return partial(work, context, call)

    return handler


class RefusedForNow(Refused):
    """Refused, and ``also`` happens in the transaction that says so: a person who may do it is asked."""

    def __init__(self, also: Effect, *, attempted: str, on: str, cause: str, hint: str) -> None:
        super().__init__(attempted=attempted, on=on, cause=cause, hint=hint)
        self.also = also


def demand_right(person: Person, right: Right, what: str) -> None:
    """Raises ``Refused`` unless the person has the right. Checked at every press."""
    if not may(person, right):
        raise Refused(
            attempted=f"do {what}",
            on=person.name,
            cause=f"this needs the right to {right}; your role is {person.role}",
            hint="An admin can change that with: airboss people add",
        )


class Group(StrEnum):
    """What a command is for, in the order of the help."""

    WORK = "Work"
    DECIDE = "Decide"
    LOOK = "Look"
    REPORTS = "Reports"
    SET_UP = "Set up"

    @classmethod
    def named(cls, text: str) -> Group | None:
        """The group of that name, however its letters and spaces are written."""
        name = "".join(text.lower().split())
        return next((group for group in cls if "".join(group.lower().split()) == name), None)


@dataclass(frozen=True, slots=True)
class Command:
    """A verb. ``usage`` is one line of arguments without the verb; ``aliases`` are other names for it.

    ``summary`` says on one line what it does. ``brief`` says it in a word or two that follow the verb:
    ``/run a change``. Rare commands have none: only their group's help and ``/fleet VERB`` show them.

    ``urgent``: it runs however many messages its sender sent before, since somebody who is slowed down must still
    be able to stop an agent. ``checks_right``: the handler checks the right, since it depends on what is decided.
    ``takes_words``: its arguments end with words for an agent, so it also gets what stands beside the typed text.
    """

    verb: str
    brief: str
    summary: str
    usage: str
    right: Right
    handler: Handler
    group: Group
    aliases: tuple[str, ...] = ()
    urgent: bool = False
    checks_right: bool = False
    takes_words: bool = False

    @property
    def line(self) -> str:
        """How it is written in a chat."""
        return f"/{self.verb} {self.usage}".strip()

    def misused(self, cause: str) -> Misused:
        """The error for wrong arguments: it shows the usage."""
        return Misused(attempted=f"do /{self.verb}", cause=cause, hint=f"Usage: {self.line}")


@dataclass(frozen=True, slots=True)
class Dialect:
    """How commands are written in one chat. ``write``: from a verb to what is typed; ``advice`` ends the help;
    ``before``: the command before every verb, if no verb is a command of its own; help then says it once."""

    write: Callable[[str], str] = "/{}".format
    advice: str = "/help VERB explains one. A reply to a card goes to its agent."
    before: str = ""


_SLASHED = re.compile(r"(?<![\w/])/([a-z][a-z-]*)(?![\w/-])")


class Registry:
    """Verbs and aliases by name. A second registration of a name is a bug and raises ``ValueError``.

    ``dialects`` are the chats, by their adapter's name, where commands are not written as ``/verb``.
    """

    def __init__(self, commands: Iterable[Command] = ()) -> None:
        self.dialects: dict[str, Dialect] = {}
        self._commands: dict[str, Command] = {}
        self._names: dict[str, Command] = {}
        for command in commands:
            self.add(command)

    def add(self, command: Command) -> None:
        """Registers a command."""
        for name in (command.verb, *command.aliases):
            if name in self._names:
                raise ValueError(f"two commands are called {name}")
            self._names[name] = command
        self._commands[command.verb] = command

    def get(self, name: str) -> Command | None:
        """The command of a verb or an alias."""
        return self._names.get(name)

    def demand(self, name: str) -> Command:
        """The same. Raises ``Misused`` for an unknown name."""
        command = self.get(name)
        if command is None:
            close, ended = self.nearest(name), self.get(name.removeprefix("un"))
            if ended is not None and "off" in ended.usage:
                close = f"{ended.verb} off"
            hint = f"Did you mean /{close}?" if close else "/help shows them all."
            raise Misused(
                attempted=f"do /{name}",
                cause="there is no such command",
                hint=of_another_kind(name, "command") or hint,
            )
        return command

    def nearest(self, name: str) -> str:
        """The verb that was probably meant; empty if none is close. An alias counts where no verb is close."""
        found = self._commands.get(nearest(name, self._commands)) or self._names.get(nearest(name, self._names))
        return found.verb if found else ""

    def write(self, adapter: str, verb: str) -> str:
        """A command as it is typed in that chat."""
        return self.dialects.get(adapter, Dialect()).write(verb)

    def spelled(self, adapter: str, text: str) -> str:
        """Our own text with every ``/verb`` in it as it is typed in that chat."""

        def typed(found: re.Match[str]) -> str:
            verb = found.group(1)
            return self.write(adapter, verb) if verb in self._commands else found.group()

        return _SLASHED.sub(typed, text)

    @property
    def menu(self) -> tuple[Command, ...]:
        """The commands that a chat's own menu lists: the frequent ones. ``/fleet VERB`` is any command."""
        return tuple(command for command in self if command.brief)

    @property
    def names(self) -> frozenset[str]:
        """Every verb and alias."""
        return frozenset(self._names)

    def __iter__(self) -> Iterator[Command]:
        return iter(self._commands.values())
