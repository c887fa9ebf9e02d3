"""Two controllers of one fleet, on a real PostgreSQL, with a phone: one is killed or frozen where a seed says.

The other leads everything to its end, one that was frozen wakes up, and what was written and shown is looked at.
Then that one takes part again, for the next seed. The two share no files.
"""

from __future__ import annotations

import contextlib
import signal
import time
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from random import Random
from typing import Final, TypeVar

from sqlalchemy import select

from bot.cards import Card
from bot.chats.telegram.inbox import parts
from bot.chats.telegram.render import render
from bot.telling.notify import CURSOR
from fleet.errors import StoreUnavailable
from fleet.events import CommandGiven, Recorded
from fleet.model import TaskState
from fleet.store import controllers, leads, ledger, sessions, tasks
from fleet.store.chat import inbox, settings
from fleet.store.controllers import Condition
from fleet.store.core import Store, Tx
from fleet.store.states import OutboxKind, OutboxState
from fleet.store.tables import outbox
from tests.conftest import living_in
from tests.far_end.bot_api import BotApi
from tests.far_end.bot_api_text import read
from tests.far_end.clocks import wall_clock
from tests.far_end.repositories import advance
from tests.kill_points import NAMES, OF_CHATS, OF_HALTS, OF_LANDINGS, OF_MERGES, OF_POOLS, OF_SCHEDULES, OF_TREES
from tests.scenarios.controllers import Controller
from tests.scenarios.house import House
from tests.scenarios.pair import Pair
from tests.scenarios.telegram_house import ADA

T = TypeVar("T")

OF_FLIGHTS: Final = (*OF_SCHEDULES, *OF_TREES, *OF_HALTS, *OF_LANDINGS, *OF_POOLS)
"""Only a flight that is made for it reaches each of these: ``killed_flights.py``."""
ORDINARY: Final = (*NAMES, *OF_CHATS, *OF_MERGES)
POINTS: Final = (*ORDINARY, *OF_FLIGHTS)
_OF_THE_COORDINATOR: Final = (
    *("slot-reserved", "session-placed"),
    *(*OF_CHATS, *OF_SCHEDULES, *OF_TREES, *OF_POOLS),
)
"""Only the coordinator reaches these."""
_TASKS: Final = 2
_LINES: Final = 10
_PATIENCE: Final = 120.0


@dataclass(frozen=True)
class Play:
    """What one seed plays: who dies where, at which visit, and how the clock of the one that is started anew is.

    ``freezes``: it is stopped there instead, and woken once all is over. ``stop``: a person stops a task meanwhile
    whose gate runs."""

    seed: int
    point: str
    coordinator: bool
    visit: int
    clock: str
    freezes: bool
    stop: bool

    @property
    def dies(self) -> str:
        """What the victim is told."""
        return f"{self.point}:{self.visit}{':freeze' if self.freezes else ''}"

    @classmethod
    def of(cls, seed: int, points: tuple[str, ...] = POINTS) -> Play:
        """What a seed plays, at one of these points."""
        chance = Random(seed)
        point = chance.choice(points)
        coordinator = point in _OF_THE_COORDINATOR or chance.random() < 0.5
        visit = chance.randint(1, 4) if point.startswith("card-") else 1
        clock = chance.choice(("", "", "", "", "+3600", "-3600"))
        freezes, stop = chance.random() < 0.25, chance.random() < 0.25
        return cls(seed, point, coordinator, visit, clock, freezes, stop and point not in OF_FLIGHTS)


@dataclass
class KilledControllers:
    """The two, the phone, and what was played so far. ``hours``: the file that moves the controllers' clock."""

    both: Pair
    api: BotApi
    store: Store
    stack: contextlib.ExitStack
    hours: Path
    running: dict[str, Controller] = field(default_factory=dict)
    played: list[Play] = field(default_factory=list)
    kills: Counter[str] = field(default_factory=Counter)

    def start(self, world: House, clock: str = "", dies: str = "") -> None:
        """Takes part, and can be told where to die."""
        told = self.death(world)
        told.write_text(dies)
        skewed = wall_clock(clock, self.both.first.directory) if clock else {}
        more = {"AIRBOSS_FAILPOINT": f"@{told}", "AIRBOSS_CLOCK": str(self.hours), **skewed}
        self.running[world.home.name] = self.stack.enter_context(self.both.standby(world, "--join", **more))

    def play(self, play: Play) -> None:
        """Raises ``AssertionError``, with the logs of both."""
        self.played.append(play)
        with self.explained():
            self._play(play)

    @contextlib.contextmanager
    def explained(self) -> Iterator[None]:
        """An error in the block has the logs of both, and what is open."""
        try:
            yield
        except Exception as error:
            for world in self.both.homes[:2]:
                error.add_note(f"--- {world.home.name}\n{self.both.said(world)[-1500:]}\n{_log(world)}")
            error.add_note(f"played: {self.played}\n{chr(10).join(self._open_tasks())}")
            raise

    def _play(self, play: Play) -> None:
        leader, member = self.divided()
        victim = leader if play.coordinator else member
        self.fly(play, victim, self._size())
        self.start(victim, play.clock)

    def fly(self, play: Play, victim: House, before: int) -> None:
        """Two tasks, on whose way ``victim`` dies; ``before``: the ledger's size at the beginning."""
        slow = self._judged_slowly() if play.stop else ""
        number = self.asked()
        go = self.both.first.directory / f"go-{number}"
        self.death(victim).write_text(play.dies)
        conflict = play.point in OF_MERGES
        for each in range(number, number + _TASKS):
            ran = self.both.first.directory / f"ran-{each}"
            wait = f"while [ ! -e {go} ]; do sleep 0.1; done; " if conflict else ""
            work = f"echo ran >> {ran}; {wait}echo mine > both-{each}.txt; echo {each} > {each}.txt"
            self.api.say(ADA, f"/run chatter {_LINES}\nshell {work}")
        wanted = [f"t{each}" for each in range(number, number + _TASKS)]
        if conflict:
            self.until(lambda: self.all("turn.started", wanted), "both agents are at work")
            theirs = {f"both-{each}.txt": "theirs\n" for each in range(number, number + _TASKS)}
            advance(self.both.first.bare, dict(theirs))
        go.touch()
        self.dies(play, victim)
        if slow:
            self.api.say(ADA, f"/stop {slow}")
        self.until(lambda: self.ended([*wanted, *filter(None, [slow])]), f"after {play}, the tasks end")
        self.wakes(play, victim)
        self._check(play, wanted, before)
        if slow:
            self._check_stopped(play, slow)

    def dies(self, play: Play, victim: House) -> None:
        """Until the victim is dead, or frozen."""
        dying = self.running[victim.home.name]
        self.until(lambda: _frozen(dying) or dying.poll() is not None, f"{play} dies")
        assert dying.poll() in (None, -9), f"{play} was on no task's way"
        self.kills[play.point] += 1

    def wakes(self, play: Play, victim: House) -> None:
        """Until all is told, also by a victim that wakes up."""
        dying = self.running[victim.home.name]
        self.until(self._told, f"after {play}, everything is told")
        if play.freezes:
            dying.send_signal(signal.SIGCONT)
            self.until(lambda: dying.poll() is not None, f"{play} wakes up and ends")
            assert dying.poll() == 3, f"{play} found itself fenced"
            self.until(self._told, f"after {play}, everything is told")

    def _judged_slowly(self) -> str:
        """A task whose gate runs, and would for minutes."""
        slow = f"t{self.asked()}"
        self.api.say(ADA, "/run write GOOD but SLOW")
        self.until(lambda: self.all("gate.opened", [slow]), "its gate runs")
        return slow

    # --- what is looked at --------------------------------------------------------------------------------

    def _check(self, play: Play, wanted: list[str], before: int) -> None:
        events = self.check_all(play, before)
        assert self.asked() - len(wanted) == int(wanted[0][1:]), f"{play}: each message has one task"
        of = {task: [recorded for recorded in events if recorded.refs.task == task] for task in wanted}
        for task, own in of.items():
            self._check_task(play, task, own)

    def check_all(self, play: Play, before: int) -> list[Recorded]:
        """Looked at after each flight: a dense ledger, nothing that runs, all on the phone. Returns the events."""
        events = self._events(before)
        numbers = [recorded.seq for recorded in events]
        assert numbers == list(range(before + 1, before + len(events) + 1)), play
        for where in ("evo-x2", "macbook"):
            self.until(partial(self._empty, where), f"after {play}, nothing of it runs on {where}")
        self._check_phone(play)
        return events

    def _check_task(self, play: Play, task: str, events: list[Recorded]) -> None:
        kinds = Counter(recorded.event.KIND for recorded in events)
        about = (play, task, kinds)
        for kind in ("task.requested", "session.placed", "landing.done", "receipt.issued", "session.ended"):
            assert kinds[kind] == 1, (kind, *about)
        assert self.state(task) is TaskState.LANDED, about
        assert self.read(lambda tx: len(sessions.of_task(tx, task))) == 1, about
        turns = kinds["turn.started"]
        assert turns == (2 if play.point in OF_MERGES else 1), about
        directory, name = self.both.first.directory, task[1:]
        assert (directory / f"ran-{name}").read_text() == "ran\n" * turns, (*about, "one session a command")
        said = [recorded.event.body()["text"] for recorded in events if recorded.event.KIND == "agent.said"]
        lines = [line for line in "\n".join(said).splitlines() if line.startswith("line ")]
        assert lines == [f"line {line}" for line in range(_LINES)] * turns, about
        assert self.both.first.main(f"{name}.txt").strip() == name, about
        assert self.both.first.main(f"both-{name}.txt").strip() == "mine", about

    def _check_stopped(self, play: Play, slow: str) -> None:
        """It was stopped once, whoever led it: nothing of its gate runs, or is open, any more."""
        events = [each for each in self._events(0) if each.refs.task == slow]
        kinds = Counter(each.event.KIND for each in events)
        assert self.state(slow) is TaskState.STOPPED, (play, kinds)
        assert kinds["gate.opened"] == kinds["gate.closed"] == 1, (play, kinds)
        assert kinds["landing.done"] == 0, (play, kinds)

    def _check_phone(self, play: Play) -> None:
        """Each message is there once, and shows the last state of its card; a second one says what it is."""
        rows = self.read(lambda tx: tx.connection.execute(select(outbox).order_by(outbox.c.id)).all())
        last = {row.put or row.id: row for row in rows}
        shown = {message.id: message for message in self.api.screen(ADA)}
        again, known = 0, set[int]()
        for row in rows:
            assert row.state is OutboxState.DELIVERED, (play, row)
            if row.kind is OutboxKind.PUT:
                again += row.again
                message = shown[parts(row.message_id)[1]]
                known.add(message.id)
                text = read(render(Card.from_json(last[row.id].card_json)).html, "HTML").text
                missing = [piece for piece in text.splitlines() if piece not in message.text]
                footer = f"shown again · {missing[0]}" if missing else ""
                assert not missing or (row.again and footer in message.text), (play, text, message.text)
        unknown = [message.text for message in shown.values() if message.text and message.id not in known]
        assert len(unknown) <= again, (play, unknown, "twice, and the second does not say so")
        for number in range(1, self.asked()):
            state = self.state(f"t{number}")
            assert any(_card(message.text, f"t{number}", state) for message in shown.values()), (play, number)

    # --- the store ----------------------------------------------------------------------------------------

    def divided(self) -> tuple[House, House]:
        """Who coordinates and who takes part, once both are there and lead nothing."""
        there = {Condition.LEADS, Condition.SHARES}
        what = "one coordinates, the other takes part, and nothing is left to lead"
        self.until(lambda: self._roles().keys() == there and not self.read(leads.every), what)
        roles = self._roles()
        return roles[Condition.LEADS], roles[Condition.SHARES]

    def _roles(self) -> dict[Condition, House]:
        """Who leads, and who takes part by now: it says so a moment before it can get a task."""

        def look(tx: Tx) -> dict[Condition, str]:
            return {
                each.condition: each.controller.home
                for each in controllers.seen(tx)
                if each.condition is not Condition.SHARES
                or each.controller.instance in leads.members(tx, each.controller.runs_on)
            }

        homes = {str(world.home): world for world in self.both.homes}
        return {condition: homes[home] for condition, home in self.read(look).items()}

    def _open_tasks(self) -> list[str]:
        """What an error says of each: where it stands, who leads it, its last event."""

        def look(tx: Tx) -> list[str]:
            led = {task: lead.controller for task, lead in leads.every(tx).items()}
            last = {each.refs.task: each.event.KIND for each in ledger.read(tx, limit=100_000)}
            return [
                f"{task.id} {task.state} {task.why!r}, led by {led.get(task.id)}, last {last.get(task.id)}"
                for task in tasks.unfinished(tx)
            ]

        return self.read(look)

    def asked(self) -> int:
        """The number of the next task."""
        return 1 + len(self.read(lambda tx: ledger.read(tx, limit=100_000, kinds=("task.requested",))))

    def _events(self, after: int) -> list[Recorded]:
        return self.read(lambda tx: ledger.read(tx, after=after, limit=100_000))

    def _size(self) -> int:
        return self.read(ledger.size)

    def state(self, task: str) -> TaskState:
        return self.read(lambda tx: tasks.task(tx, task).state)

    def all(self, kind: str, wanted: list[str]) -> bool:
        found = self.read(lambda tx: ledger.read(tx, limit=100_000, kinds=(kind,)))
        return {recorded.refs.task for recorded in found} >= set(wanted)

    def ended(self, wanted: list[str]) -> bool:
        return self.all("task.requested", wanted) and self.all("session.ended", wanted)

    def _told(self) -> bool:
        """Nothing is left to handle, to tell or to send."""

        def look(tx: Tx) -> bool:
            unsettled = select(outbox.c.id).where(outbox.c.state != OutboxState.DELIVERED).limit(1)
            return (
                not inbox.pending(tx)
                and not ledger.last_besides(tx, CommandGiven.KIND, int(settings.get(tx, CURSOR) or 0))
                and tx.connection.execute(unsettled).first() is None
            )

        if self.api.unconfirmed() or not self.read(look):
            return False
        time.sleep(1.5)  # a card that was put off is drawn a second later
        return self.read(look)

    def _empty(self, where: str) -> bool:
        """Neither agents nor gates run there."""
        home = self.both.first.directory / where / ".airboss"
        return not living_in(home / "work") and not living_in(home / "gates")

    def read(self, work: Callable[[Tx], T]) -> T:
        for _ in range(2):
            with contextlib.suppress(StoreUnavailable), self.store.transaction() as tx:  # of one that is frozen
                return work(tx)
        with self.store.transaction() as tx:
            return work(tx)

    def death(self, world: House) -> Path:
        return self.both.first.directory / f"dies-{world.home.name}"

    def until(self, true: Callable[[], object], what: str) -> None:
        """Looks five times a second: the controllers need the processor."""
        give_up = time.monotonic() + _PATIENCE
        while not true():
            assert time.monotonic() < give_up, f"it never came about that {what}"
            time.sleep(0.2)


def _card(text: str, task: str, state: TaskState) -> bool:
    """Whether a message is a task's card, and says that this has become of it."""
    lines = text.splitlines()
    return len(lines) > 1 and f"{task} · shop" in lines[0] and lines[1].startswith(f"{state} · turn")


def _frozen(controller: Controller) -> bool:
    with contextlib.suppress(OSError):
        return Path(f"/proc/{controller.pid}/stat").read_text().rpartition(")")[2].split()[0] == "T"
    return False


def _log(world: House) -> str:
    with contextlib.suppress(OSError):
        return (world.home / "airboss.log").read_text(errors="replace")[-6000:]
    return ""
