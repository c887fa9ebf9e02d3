"""A chat core on a real store with a real console; only the fleet behind ``FleetControl`` is played."""

from __future__ import annotations

import itertools
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime
from functools import partial
from pathlib import Path

from bot.cards import Card, shown
from bot.commands import every_command
from bot.doctor.findings import Finding
from bot.health import Serving, Troubles
from bot.hearing.core import ChatCore
from bot.message import Attachment, Message
from bot.outbox.closed import closed
from bot.outbox.delivering import Deliverer
from bot.outbox.files import brought
from bot.outbox.port import Adapter, Outgoing, Receive, Undeliverable
from bot.outbox.posting import Outbox
from bot.registry import Context, Registry, Result
from bot.repositories import RepoSeen
from bot.schedules.beats import Beats
from bot.telling.notify import Notifier
from fleet.clock import SystemClock
from fleet.config import FleetConfig, GateConfig, RepoConfig, parse_fleet
from fleet.errors import Misused
from fleet.faults import Fault, Point, site_of
from fleet.flight.starting import FleetSeen
from fleet.git.patches import Patch
from fleet.machines.hand_terminal import HandTerminal
from fleet.machines.watch import MachineSeen, MachineState
from fleet.model import ChatRef, PersonId, Task
from fleet.ports import Clock
from fleet.schedule.timer import Timer
from fleet.store import tasks
from fleet.store.core import Store
from fleet.supervise import Supervisor
from gates.locks.service import LockService
from gates.people import Right
from gates.runs.definitions import define
from tests.empty_store import filled

FLEET = """
isolation = "unsafe-same-user"
[machines.evo-x2]
executor = "local"
labels = ["linux"]
[machines.macbook]
executor = "local"
[agents.demo]
driver = "command"
program = ["cat"]
[repos.shop]
url = "/srv/shop.git"
[[people]]
name = "Vera"
role = "viewer"
ids = ["phone::vera"]
[[people]]
name = "Otto"
role = "operator"
ids = ["phone::otto"]
[[people]]
name = "Ada"
role = "admin"
ids = ["phone::ada"]
"""

CHAT = ChatRef("phone", "c1")
VERA, OTTO, ADA = (PersonId("phone", "", name) for name in ("vera", "otto", "ada"))
STRANGER = PersonId("phone", "", "mallory")


def quiet_now() -> str:
    """Quiet hours in which it is now, and for hours yet, at whatever time of the day a test runs."""
    hour = datetime.now(UTC).hour
    return f"{(hour - 2) % 24:02}:00-{(hour + 4) % 24:02}:00 UTC"


@dataclass
class PlayedFleet:
    """The far side of ``FleetControl``: notes who was woken."""

    config: Callable[[], FleetConfig] = lambda: parse_fleet(FLEET, "fleet.toml")
    woken: list[str] = field(default_factory=list)
    wrong: Troubles = field(default_factory=Troubles)
    found: list[Finding] = field(default_factory=list)
    grows: bool = True
    seen: dict[str, MachineSeen] = field(
        default_factory=lambda: {"macbook": MachineSeen(MachineState.AWAY, why="no route to host")}
    )

    def wake(self, task_id: str) -> None:
        self.woken.append(task_id)

    def placing(self) -> FleetSeen:
        return FleetSeen(self.config())

    def machines(self) -> Mapping[str, MachineSeen]:
        return self.seen

    def troubles(self) -> Troubles:
        return self.wrong

    def serving(self) -> Serving:
        return Serving("0.1.0", 1_764_338_400_000_000)

    async def demand(self, right: Right, attempted: str) -> None:
        """Everything may happen."""

    def ledger_grows(self) -> bool:
        return self.grows

    async def save_work(self, task_id: str) -> None:
        """Nothing is in a worktree."""

    def pool_notes(self) -> Sequence[str]:
        return ()

    def tend_work(self) -> None:
        """Nothing is to be removed."""

    async def repository(self, name: str) -> RepoSeen:
        config = RepoConfig(url=f"/srv/{name}.git")
        if name != "shop":
            return RepoSeen(name, config, trouble="no answer", remedy="look")
        gates = tuple(define(gate, GateConfig(run=["true"], needs=["linux"])) for gate in ("lint", "tests"))
        return RepoSeen(name, config, "a" * 40, gates)

    async def at_root(self, repo: str, names: Sequence[str]) -> Sequence[str]:
        return [name for name in names if (repo, name) == ("shop", "lib")]

    async def examine(self) -> list[Finding]:
        return self.found

    async def terminal(self, task_id: str) -> HandTerminal:
        raise Misused(attempted="open a terminal", on=task_id)

    async def diff(self, repo: str, base: str, commit: str, limit: int) -> Patch:
        if repo != "shop":
            raise Misused(attempted="read a diff", on=repo)
        return Patch("diff --git a/x.py b/x.py\n--- a/x.py\n+++ b/x.py\n@@ -1 +1 @@\n-old\n+new\n")


class Phone:
    """The far end of an adapter: keeps what it was sent. ``trouble`` is raised by the next deliveries, in turn;
    ``gone`` are chats that refuse everything."""

    name = "phone"

    def __init__(self) -> None:
        self.sent: list[Outgoing] = []
        self.trouble: list[Exception] = []
        self.gone: set[str] = set()
        self._ids = itertools.count(1)

    async def start(self, receive: Receive) -> None:
        """Messages are handed in by the test."""

    async def deliver(self, outgoing: Outgoing) -> str:
        if self.trouble:
            raise self.trouble.pop(0)
        if outgoing.chat.chat in self.gone:
            raise Undeliverable("Forbidden: bot was blocked by the user")
        self.sent.append(outgoing)
        return outgoing.edits or f"m{next(self._ids)}"

    async def close(self) -> None:
        """Nothing is held."""

    def titles(self) -> list[str]:
        return [shown(post.card.title) for post in self.sent]


@dataclass
class House:
    """Everything of one chat core."""

    home: Path
    store: Store
    config: FleetConfig
    fleet: PlayedFleet
    phone: Phone
    core: ChatCore
    notifier: Notifier
    deliverer: Deliverer
    supervisor: Supervisor
    outbox: Outbox
    beats: Beats
    updates: itertools.count[int] = field(default_factory=lambda: itertools.count(1))
    in_force: list[FleetConfig] = field(default_factory=list)

    def message(
        self, text: str = "", sender: PersonId = ADA, *, update: str = "", pressed: str = "", chat: ChatRef = CHAT,
        reply_to: str = "", direct: bool = True, files: tuple[Attachment, ...] = (), private: bool = True,
    ) -> Message:  # fmt: skip
        return Message(
            "phone",
            update or f"u{next(self.updates)}",
            sender,
            chat,
            text,
            pressed,
            reply_to,
            files,
            direct,
            private=private,
        )

    async def say(self, text: str, sender: PersonId = ADA) -> tuple[Result, list[Card]]:
        """Says it, and answers what it came to and the cards that answered it."""
        return await self.hand_over(self.message(text, sender))

    async def hand_over(self, message: Message) -> tuple[Result, list[Card]]:
        before = len(self.phone.sent)
        result = await self.core.call(message)
        assert result is not None
        await self.settle()
        return result, [post.card for post in self.phone.sent[before:] if post.id in result.posted]

    async def press(self, card: Card, label: str, sender: PersonId = ADA) -> tuple[Result, list[Card]]:
        token = next(action.token for action in card.actions if action.label == label)
        return await self.hand_over(self.message(pressed=token, sender=sender))

    def taking_fails(self) -> Fault:
        """The next commit that takes a slot of a schedule fails, and no other one."""
        return Fault(Point.STORE_COMMIT, site=site_of(self.beats._take))

    async def settle(self, chat: ChatRef = CHAT) -> None:
        """Until everything told has been delivered."""
        await self.notifier.caught_up()
        await self.deliverer.drained(chat)

    def configured(self, config: FleetConfig) -> None:
        """Somebody has edited ``fleet.toml``."""
        self.config = self.in_force[0] = config

    async def tasks(self) -> list[Task]:
        return await self.store.read(lambda tx: tasks.recent(tx, 100))

    def last(self) -> Card:
        return self.phone.sent[-1].card


@asynccontextmanager
async def house(
    directory: Path,
    *,
    more: tuple[Adapter, ...] = (),
    documents: bool = False,
    fleet_toml: str = FLEET,
    redraw: float = 0,
    patience: float = 30,
    clock: Clock | None = None,
    url: str = "",
) -> AsyncIterator[House]:
    """Opens one under ``directory``; opening it again there finds what the first one left. ``url``: of its store.

    ``documents``: the notifier may write some. ``redraw``: seconds between two forms of a task's card.
    ``patience``: seconds that a write waits for another writer before the store counts as away. ``clock``: what
    schedules go by; nothing looks at them until a test does (``beats.look``).
    """
    config = parse_fleet(fleet_toml, "fleet.toml")
    in_force = [config]
    with Store.open(url or f"sqlite:///{filled(directory / 'airboss.db')}?timeout={patience}") as store:
        fleet, phone = PlayedFleet(lambda: in_force[0]), Phone()
        supervisor, outbox = Supervisor(SystemClock()), Outbox(store)
        context = Context(
            store,
            lambda: in_force[0],
            Registry(every_command()),
            fleet,
            directory,
            LockService(store, SystemClock()),
            clock or SystemClock(),
            frozenset({Phone.name}),
        )
        core = ChatCore(context, outbox, supervisor)
        beats = Beats(context, outbox, Timer(context.clock).alarm("schedules"))
        files = directory / "files" if documents else None
        notifier = Notifier(
            outbox, lambda: in_force[0], supervisor, pause=0, redraw=redraw, files=files, direct=(Phone.name,)
        )
        there = partial(brought, store, directory / "files")
        shut = partial(closed, lambda: in_force[0])
        deliverer = Deliverer(outbox, (phone, *more), supervisor, closed=shut, files=there)
        deliverer.start()
        await notifier.start()
        await core.start()
        try:
            made = House(
                directory, store, config, fleet, phone, core, notifier, deliverer, supervisor, outbox, beats
            )
            made.in_force = in_force
            yield made
        finally:
            await core.close()
            await notifier.close()
            await deliverer.close()
            await supervisor.close()
