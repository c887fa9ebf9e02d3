"""A played fleet for the gallery: the real core, store, notifier and deliverer; only the dispatcher is played."""

from __future__ import annotations

from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path

from bot.chats.slack.manifest import dialect
from bot.commands import every_command
from bot.health import Serving, Troubles
from bot.hearing.core import ChatCore
from bot.outbox.delivering import Deliverer
from bot.outbox.posting import Outbox
from bot.registry import Context, Registry
from bot.schedules.beats import Beats
from bot.telling.notify import Notifier
from fleet.clock import SystemClock
from fleet.config import parse_fleet
from fleet.events import (
    Event,
    GateClosed,
    GateOpened,
    Refs,
    SessionPlaced,
    SnapshotMade,
    Source,
    TurnClosed,
    TurnStarted,
    VerdictGiven,
)
from fleet.exits import Exited
from fleet.git.patches import Patch
from fleet.machines.watch import MachineSeen, MachineState
from fleet.model import Isolation, Session, TaskState, TurnCause
from fleet.schedule.timer import Timer
from fleet.store import ledger, sessions, tasks
from fleet.store.core import Store, Tx
from fleet.supervise import Supervisor
from fleet.verdict import JUnitCounts
from gates.locks.service import LockService
from gates.people import Right
from tests.chat_house import House, Phone, PlayedFleet

FLEET = """
[machines.evo-x2]
executor = "local"
labels = ["linux"]
slots = 4
run_as = "agents"
gate_as = "gates"
[machines.macbook]
executor = "ssh"
host = "macbook.local"
user = "agents"
gate_as = "gates"
host_key = "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIGPFbbd0Eal0aQEw1Zr1oiVOJPyQ9qsqYaN0a1yhc0vB"
labels = ["macos", "ios"]
[agents.claude]
driver = "claude"
program = ["claude"]
[agents.codex]
driver = "codex"
program = ["codex"]
[repos.shop]
url = "/srv/git/shop.git"
agent = "claude"
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
BASE, COMMIT, TREE, LANDED = "b4a5e" + "0" * 35, "9589d6d926" + "c" * 30, "d" * 40, "7c5d222f0d" + "a" * 30
ARGV = ("/opt/shop/.venv/bin/python3", "-m", "pytest", "-q", "-p", "no:cacheprovider", "--junitxml={junit}")
DIFF = """diff --git a/shop/pricing.py b/shop/pricing.py
index 1f3a0c2..8b2e7d1 100644
--- a/shop/pricing.py
+++ b/shop/pricing.py
@@ -3,4 +3,5 @@

 def discounted(price: int, percent: int) -> int:
     \"\"\"The price after a discount of ``percent``.\"\"\"
-    return price + price * percent // 100
+    percent = max(0, min(percent, 100))
+    return price - price * percent // 100
"""
TAIL = """>       assert discounted(1000, 150) == 0
E       assert -500 == 0
E        +  where -500 = discounted(1000, 150)
tests/test_pricing.py:13: AssertionError
FAILED tests/test_pricing.py::test_never_below_zero - assert -500 == 0
1 failed, 2 passed in 0.86s"""


@dataclass
class SeenFleet(PlayedFleet):
    """A fleet whose machines were seen as ``seen`` says."""

    seen: dict[str, MachineSeen] = field(default_factory=dict)

    def machines(self) -> Mapping[str, MachineSeen]:
        return self.seen

    def troubles(self) -> Troubles:
        return Troubles()

    def serving(self) -> Serving:
        return Serving("0.1.0", 1_764_338_400_000_000)

    async def demand(self, right: Right, attempted: str) -> None:
        """Everything may happen."""

    async def save_work(self, task_id: str) -> None:
        """Nothing is in a worktree."""

    def pool_notes(self) -> Sequence[str]:
        return ()

    def ledger_grows(self) -> bool:
        return True

    def tend_work(self) -> None:
        """Nothing is to be removed."""

    async def diff(self, repo: str, base: str, commit: str, limit: int) -> Patch:
        return Patch(DIFF)


@asynccontextmanager
async def house(directory: Path, fleet_toml: str = FLEET, *, slack: bool = False) -> AsyncIterator[House]:
    """Opens one under ``directory``; its machines were all seen a moment ago. ``slack``: commands are written as
    in Slack, once it has shown how ours are called."""
    config = parse_fleet(fleet_toml, "fleet.toml")
    directory.mkdir(exist_ok=True)
    with Store.open(f"sqlite:///{directory / 'airboss.db'}") as store:
        fleet, phone = SeenFleet(), Phone()
        now = await store.read(lambda tx: tx.now_us())
        for number, name in enumerate(sorted(config.machines)):
            fleet.seen[name] = MachineSeen(
                MachineState.WELL, now - 2_000_000 * (number + 1), load_milli=1300 + 400 * number, cpus=16
            )
        registry = Registry(every_command())
        if slack:
            registry.dialects[phone.name] = dialect(registry, "")
        supervisor, outbox = Supervisor(SystemClock()), Outbox(store)
        locks = LockService(store, supervisor.clock)
        context = Context(store, lambda: config, registry, fleet, directory, locks)
        core = ChatCore(context, outbox, supervisor)
        beats = Beats(context, outbox, Timer(context.clock).alarm("schedules"))
        notifier = Notifier(outbox, lambda: config, supervisor, pause=0, redraw=0, files=directory / "files")
        deliverer = Deliverer(outbox, (phone,), supervisor)
        deliverer.start()
        await notifier.start()
        await core.start()
        try:
            there = House(
                directory, store, config, fleet, phone, core, notifier, deliverer, supervisor, outbox, beats
            )
            yield there
        finally:
            await core.close()
            await notifier.close()
            await deliverer.close()
            await supervisor.close()


@dataclass
class Flight:
    """Plays the dispatcher's events of one task, one transaction at a time."""

    there: House
    session: Session
    runs: int = 0

    @classmethod
    async def begin(cls, there: House, text: str, machine: str = "macbook") -> Flight:
        """Asks for a task, and plays as far as its first turn."""
        result, _ = await there.say(text)
        found = await there.store.read(lambda tx: tasks.task(tx, result.task))
        isolation = Isolation.SEPARATE_LOGINS

        def work(tx: Tx) -> Session:
            made = sessions.create_session(
                tx, task=found.id, machine=machine, agent=found.agent, base=BASE, isolation=isolation
            )
            return sessions.update(tx, made.id, seen_us=tx.now_us())

        flight = cls(there, await there.store.write(work))
        await flight.move(TaskState.PREPARING)
        await flight.note(SessionPlaced(machine, found.agent, BASE, isolation, ()))
        await flight.move(TaskState.RUNNING)
        await flight.note(TurnStarted(1, "prompt", found.prompt))
        return flight

    @property
    def task(self) -> str:
        """Its task's id."""
        return self.session.task

    async def note(self, *events: Event, gate_run: str = "", machine: str = "") -> None:
        """Writes events of this session's into the ledger, in one transaction."""
        machine = machine or self.session.machine
        refs = Refs(task=self.task, session=self.session.id, gate_run=gate_run, machine=machine)

        def work(tx: Tx) -> None:
            for event in events:
                ledger.append(tx, event, actor="airboss", source=Source.CONTROLLER, refs=refs)

        await self.there.store.write(work)
        await self.there.settle()

    async def move(self, *states: TaskState, why: str = "") -> None:
        """Moves the task through these states."""
        for state in states:
            move = partial(tasks.move, task_id=self.task, new=state, why=why, actor="airboss")
            await self.there.store.write(move)
        await self.there.settle()

    async def gate(self, *, code: int) -> None:
        """One gate run and its verdict: passed for 0, failed for anything else."""
        self.runs += 1
        run, outcome = f"{self.session.id}.{self.runs}-tests", "failed" if code else "passed"
        junit = JUnitCounts(tests=3, failures=1 if code else 0, errors=0, skipped=0)
        opened = GateOpened("tests", COMMIT, TREE, BASE, ARGV, "", self.runs)
        closed = GateClosed(
            "tests", outcome, "", Exited(code), code << 8, TREE, "gates", True, "", 9, 1, 2_400_001, junit
        )
        reasons = (f"tests: exit status {code}",) if code else ()
        tail = TAIL if code else ""
        verdict = VerdictGiven(COMMIT, TREE, BASE, outcome, reasons, (run,), "separate-logins", 3, tail)
        await self.note(opened, closed, verdict, gate_run=run, machine="evo-x2")

    async def turn(self, number: int, words: str) -> None:
        """One more turn, from its prompt to its snapshot."""
        cause = TurnCause.REQUEST if number == 1 else TurnCause.REWORK

        def work(tx: Tx) -> None:
            made = sessions.create_turn(tx, self.session, cause, words)
            sessions.update_turn(tx, made.id, snapshot=COMMIT, ended_us=tx.now_us())

        await self.there.store.write(work)
        await self.note(TurnClosed(words, "completed", "", ""), SnapshotMade(COMMIT, TREE, BASE, 1, number, 1))
