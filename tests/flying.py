"""Flights on a real store and a real git, with a machine in memory and a gatekeeper that says what a test wants."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field, replace
from functools import partial
from pathlib import Path
from typing import Any

from fleet.agent_events import AskPerson, Ruling
from fleet.config import FleetConfig, Secrets, parse_fleet
from fleet.errors import DiskFull, StoreUnavailable
from fleet.events import PermissionAsked, Recorded, TaskMoved, VerdictGiven
from fleet.flight.agent_process import AgentProcess
from fleet.flight.flight import Flight
from fleet.flight.moves import to_running
from fleet.flight.placer import Placer
from fleet.flight.services import Services
from fleet.git.repository import Repository
from fleet.git.workspace import Workspaces
from fleet.landing.base_branch import BaseBranch
from fleet.machines.executors import Executors
from fleet.model import ChatRef, Isolation, Session, Task, TaskMode, TaskState, TurnCause
from fleet.ports import Candidate
from fleet.setup.environments import Environments
from fleet.setup.stored import SetupsInStore
from fleet.store import approvals, ledger, sessions, tasks
from fleet.store.core import Store, Tx
from fleet.store.recording import record
from fleet.supervise import Supervisor
from fleet.verdict import Outcome, Verdict
from gates.locks.guard import LockGuard
from gates.locks.service import LockService
from tests.empty_store import filled
from tests.far_end.machine import Machine

FLEET = """
isolation = "unsafe-same-user"
[machines.box]
executor = "local"
[agents.helper]
driver = "claude"
program = ["claude"]
[repos.shop]
url = "{url}"
agent = "helper"
"""
PERSON = "console:h:ada"


class FastClock:
    """Waiting takes no time."""

    def __init__(self) -> None:
        self.slept: list[float] = []

    def now_us(self) -> int:
        return 1_000_000 * len(self.slept)

    async def sleep(self, seconds: float) -> None:
        self.slept.append(seconds)
        await asyncio.sleep(0)


def _comparable(body: dict[str, Any]) -> dict[str, Any]:
    kept = dict(body)
    if "fencing_token" in kept:
        kept["fencing_token"] = 0
    if "pipe" in kept:  # INSTANCE-SESSION-pNUMBER-RANDOM
        kept["pipe"] = kept["pipe"].split("-", 1)[1].rsplit("-", 1)[0]
    return kept


def passed(candidate: Candidate) -> Verdict:
    """The verdict of gates that all passed."""
    judged = (candidate.commit, candidate.tree, candidate.base)
    return Verdict(*judged, Outcome.PASSED, (), (), candidate.session.isolation, 0)


async def _nothing() -> None:
    """Nobody waits for it."""


def give(tx: Tx, session: Session, verdict: Verdict) -> None:
    """Records a verdict."""
    judged = (verdict.commit, verdict.tree, verdict.base, str(verdict.outcome), verdict.reasons)
    record(tx, VerdictGiven(*judged, (), str(session.isolation), verdict.rework_turns, ""), session)


class Judge:
    """A gatekeeper. ``judging`` gives the verdicts; every question of an agent goes to a person."""

    def __init__(self, store: Store) -> None:
        self._store = store
        self.records = True  # its verdicts, in the ledger
        self.judging: Callable[[Candidate], Any] | None = None
        self.abandoned: list[str] = []
        self.closed: list[str] = []
        self.withdrawn: list[Candidate] = []
        self.on_withdraw: Callable[[], Awaitable[None]] = _nothing
        self.standing: Callable[[Candidate], bool] = lambda _: True
        self.usable: Callable[[str], None] = lambda base: None

    async def set_up(self, task: Task, session: Session) -> None:
        pass

    async def preflight(self, repo: str, base: str) -> None:
        self.usable(base)

    async def judge(self, candidate: Candidate) -> Verdict:
        assert self.judging is not None, "nothing is to be judged"
        verdict: Verdict = await self.judging(candidate)
        if verdict.outcome is not Outcome.ABORTED and self.records:
            await self._store.write(lambda tx: give(tx, candidate.session, verdict))
        return verdict

    async def stands(self, candidate: Candidate) -> bool:
        return self.standing(candidate)

    async def abandon(self, task: str) -> None:
        self.abandoned.append(task)

    async def close_left(self, task: str) -> None:
        self.closed.append(task)

    async def withdraw(self, candidate: Candidate) -> None:
        self.withdrawn.append(candidate)
        await self.on_withdraw()

    def rule(self, session: Session, task: Task, asked: Any) -> Ruling:
        return AskPerson("a test asks")


@dataclass
class _Logins:
    """The one machine, for whatever the configuration names; otherwise the error of the real executors."""

    world: World

    def agent(self, machine: str, login: str = "") -> Machine:
        Executors(self.world.config, self.world.directory).agent(machine, login)
        return self.world.machine

    def gate(self, machine: str, login: str = "") -> Machine:
        return self.agent(machine)


@dataclass
class World:
    """What flights of one test stand on."""

    directory: Path
    store: Store
    config: FleetConfig
    services: Services = field(init=False)
    machine: Machine = field(default_factory=Machine)
    judge: Judge = field(init=False)
    clock: FastClock = field(default_factory=FastClock)
    receipts: list[str] = field(default_factory=list)
    full: int = 0  # how often a receipt finds the disk full
    late: bool = False  # a person answers only once the question has given its slot back
    stop_in: int = 0  # the ledger's event in whose commit a person stops the task that flies

    def __post_init__(self) -> None:
        self.judge = Judge(self.store)
        self.repository = Repository(
            "shop", self.config.repos["shop"].url, "main", self.directory / "repos" / "shop.git"
        )
        self.services = Services(
            store=self.store,
            config=lambda: self.config,
            secrets=Secrets({}),
            executors=_Logins(self),
            workspaces=(workspaces := Workspaces(lambda: self.config.limits)),
            environments=Environments(SetupsInStore(self.store), workspaces),
            repositories=self.named,
            base_branches=lambda name: BaseBranch(self.named(name)),
            gatekeeper=self.judge,
            locks=LockGuard(self.store, LockService(self.store, self.clock), self.named),
            issue_receipt=self._receipt,
            clock=self.clock,
            holder="me",
            new_nonce=lambda: "nonce",
        )

    def named(self, name: str) -> Repository:
        """The one repository, while the configuration has it."""
        self.config.repo(name)
        return self.repository

    async def _receipt(self, task: Task) -> None:
        if self.full > 0:
            self.full -= 1
            raise DiskFull(attempted="write the receipt", on="receipts", cause="No space left on device")
        self.receipts.append(task.id)

    # --- what was before a test's flight --------------------------------------------------------------

    async def task(self, *states: TaskState, mode: TaskMode = TaskMode.CHANGE, base: str = "b" * 40) -> Task:
        """A task that went through these states, with a session unless it only was requested."""

        def work(tx: Tx) -> Task:
            task = tasks.create_task(
                tx,
                repo="shop",
                agent="helper",
                machine="",
                prompt="see to it",
                mode=mode,
                requester=PERSON,
                origin=ChatRef("console", "main"),
            )
            if states:
                session = sessions.create_session(
                    tx,
                    task=task.id,
                    machine="box",
                    agent="helper",
                    base=base,
                    isolation=Isolation.UNSAFE_SAME_USER,
                )
                if states[-1] is not TaskState.PREPARING:
                    sessions.create_turn(tx, session, TurnCause.REQUEST, "see to it")
            for state in states:
                task = tasks.move(tx, task.id, state, "", "airboss")
            return task

        return await self.store.write(work)

    async def released(self, tree: str, base: str) -> tuple[Task, str]:
        """A held change to this tree that a person has just released, and its commit."""
        commit = await self.repository.commit_tree(tree, (base,), "the change", 1_700_000_100)
        task = await self.task(TaskState.PREPARING, TaskState.RUNNING, TaskState.JUDGING, TaskState.HELD, base=base)
        session = await self.session(task)

        def approved(tx: Tx) -> None:
            (turn,) = sessions.turns(tx, session.id)
            sessions.update_turn(tx, turn.id, snapshot=commit, tree=tree, ended_us=1)
            give(tx, session, Verdict(commit, tree, base, Outcome.HELD, (), (), session.isolation, 0))
            held = approvals.open_hold(tx, session=session, commit=commit, tree=tree, reason="protected")
            approvals.decide(tx, held.id, True, PERSON, "")

        await self.store.write(approved)
        return task, commit

    async def running(self, mode: TaskMode = TaskMode.ASK, base: str = "b" * 40) -> Task:
        """A task whose agent is committed to, and not started yet."""
        task = await self.task(TaskState.PREPARING, mode=mode, base=base)
        session = replace(await self.session(task), workspace="/w")
        process = AgentProcess(self.services, task)
        await process.begin(
            session, TurnCause.REQUEST, task.prompt, partial(to_running, task_id=task.id, config=self.config)
        )
        return await self.now(task)

    # --- what stands in the store ---------------------------------------------------------------------

    async def now(self, task: Task) -> Task:
        """The task as the store has it."""
        return await self.store.read(lambda tx: tasks.task(tx, task.id))

    async def session(self, task: Task) -> Session:
        """The task's last session."""
        return (await self.store.read(lambda tx: sessions.of_task(tx, task.id)))[-1]

    async def told(self) -> list[tuple[str, dict[str, Any]]]:
        """The ledger without its times, and without what each run has of its own: tokens, random ids."""
        events = await self.store.read(lambda tx: ledger.read(tx, limit=1_000))
        return [(recorded.event.KIND, _comparable(recorded.event.body())) for recorded in events]

    async def kinds(self) -> list[str]:
        """The kinds of the ledger's events."""
        return [kind for kind, _ in await self.told()]

    # --- flying ---------------------------------------------------------------------------------------

    async def fly(self, task: Task) -> Flight:
        """Flies a task to its end as the dispatcher does: as a component, begun again when the store was away.

        A person says yes to each question of its agent as soon as that is committed, or ``late``.
        """
        flight, landed = Flight(self.services, task), asyncio.Event()
        self._answering(flight)

        async def work() -> None:
            await flight.run()
            landed.set()

        supervisor = Supervisor(self.clock)
        if task.state is TaskState.QUEUED:  # waiting takes no time here, so it would look without end
            supervisor.run("placer", Placer(self.services).run)
        supervisor.run(f"task {task.id}", work, ends=True)
        try:
            async with asyncio.timeout(60):
                await landed.wait()
        finally:
            await supervisor.close()
        return flight

    def _answering(self, flight: Flight) -> None:
        loop, answers = asyncio.get_running_loop(), set[asyncio.Task[None]]()

        def yes(tx: Tx) -> None:
            if self.late and tasks.task(tx, flight.task.id).state is not TaskState.ASKING:
                return
            for approval in approvals.waiting(tx, flight.task.id):
                approvals.decide(tx, approval.id, True, PERSON, "")

        async def say_yes() -> None:
            while True:
                try:
                    await self.store.write(yes)
                except StoreUnavailable:
                    continue
                break
            flight.wake()

        def asked(tx: Tx, recorded: Recorded) -> None:
            event = recorded.event
            if recorded.seq == self.stop_in:
                tasks.request_stop(tx, flight.task.id, PERSON)
                tx.after_commit(flight.wake)
            asks = isinstance(event, TaskMoved) and event.new == TaskState.ASKING
            if asks if self.late else isinstance(event, PermissionAsked):
                tx.after_commit(lambda: answers.add(loop.create_task(say_yes())))

        self.store.observe(asked)
        self.store.when_unsure(lambda: answers.add(loop.create_task(say_yes())))


def world(directory: Path, url: str = "/nowhere/shop.git") -> World:
    """A new world in ``directory``. Close its store at the end."""
    store = Store.open(f"sqlite:///{filled(directory / 'airboss.db')}", create=False)
    return World(directory, store, parse_fleet(FLEET.format(url=url), "fleet.toml"))
