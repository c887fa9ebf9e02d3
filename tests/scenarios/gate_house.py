"""A small house for judging: a real repository, a real store, the real runner on this machine."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path

from bot.gatekeeping import gatekeeper_of
from fleet.config import (
    AgentConfig,
    FleetConfig,
    Limits,
    MachineConfig,
    RepoConfig,
    ReviewerConfig,
    Secrets,
    WitnessConfig,
)
from fleet.events import Recorded
from fleet.git.repository import Repository
from fleet.machines.executors import Executors
from fleet.model import ChatRef, Isolation, PipeEnd, Session, Task, TaskMode, Turn, TurnCause
from fleet.ports import Candidate
from fleet.redact import Redactor
from fleet.store import ledger, sessions, tasks
from fleet.store.core import Store, Tx
from gates.pipeline import Pipeline
from tests.empty_store import filled
from tests.far_end.repositories import commit, git, make_bare
from tests.far_end.tools import GATE_TOOLS

Files = dict[str, str | bytes]


def airboss_toml(*argv: str, timeout: str = "30s", more: str = "", name: str = "tests") -> str:
    """A repository's file with one gate."""
    run = ", ".join("'''" + word + "'''" for word in argv)
    return f'[gates.{name}]\nrun = [{run}]\ntimeout = "{timeout}"\n{more}\n'


@dataclass
class House:
    """One repository and one local machine, on one shared login unless ``isolation`` says otherwise. ``files`` are
    the base's."""

    room: Path
    files: Files
    attempts: int = 1
    machines: dict[str, MachineConfig] = field(default_factory=dict)
    repo: RepoConfig | None = None
    patience: float = 60.0
    env: dict[str, str] = field(default_factory=dict)
    agents: dict[str, AgentConfig] = field(default_factory=dict)
    reviewers: dict[str, ReviewerConfig] = field(default_factory=dict)
    witnesses: dict[str, WitnessConfig] = field(default_factory=dict)
    witnesses_needed: int = 0
    isolation: Isolation = Isolation.UNSAFE_SAME_USER
    executors: Callable[[FleetConfig, Path], Executors] = Executors

    def __post_init__(self) -> None:
        self.bare = make_bare(self.room / "demo.git", self.files)
        self.work = self.bare.with_suffix(".work")
        self.repository = Repository("demo", str(self.bare), "main", self.room / "home" / "repos" / "demo.git")
        here = MachineConfig.model_validate(
            {"executor": "local", "labels": ["linux"], "home": str(self.room / "machine"), **GATE_TOOLS}
        )
        self.config = FleetConfig(
            isolation=self.isolation,
            machines=self.machines or {"here": here},
            repos={"demo": self.repo or RepoConfig(url=str(self.bare))},
            limits=Limits(attempts=self.attempts),
            agents=self.agents,
            reviewers=self.reviewers,
            witnesses=self.witnesses,
            witnesses_needed=self.witnesses_needed,
        )
        self.home = self.room / "home"

    @asynccontextmanager
    async def open(self) -> AsyncIterator[Judge]:
        """A controller's judging half; opening it again is what a restart finds."""
        executors = self.executors(self.config, self.home)
        store_file = filled(self.home / "airboss.db")
        with Store.open(f"sqlite:///{store_file}", redact=Redactor(self.env.values())) as store:
            pipeline = gatekeeper_of(
                store,
                lambda: self.config,
                executors,
                lambda _: self.repository,
                home=self.home,
                env=Secrets(self.env),
                patience=self.patience,
            )
            try:
                yield Judge(self, store, pipeline, executors)
            finally:
                await executors.close()


@dataclass
class Judge:
    """What a test asks of an open house."""

    house: House
    store: Store
    pipeline: Pipeline
    executors: Executors

    async def candidate(self, files: Files | None = None, *, remove: tuple[str, ...] = ()) -> Candidate:
        """A change to the base as a candidate, its session's agent gone."""
        house = self.house
        base = await house.repository.fetch()
        git(house.work, "checkout", "--quiet", "--detach", base)
        for path in remove:
            git(house.work, "rm", "--quiet", "-r", path)
        made = commit(house.work, {"change.txt": "changed\n"} if files is None else files)
        return await self.of_commit(base, made)

    async def of_commit(self, base: str, made: str) -> Candidate:
        """A candidate for a commit that is in the working copy."""
        git(self.house.work, "push", "--quiet", str(self.house.repository.mirror), f"{made}:refs/made/{made}")
        tree = await self.house.repository.tree_of(made)

        def begin(tx: Tx) -> tuple[Task, Session, Turn]:
            task = tasks.create_task(
                tx,
                repo="demo",
                agent="claude",
                machine="here",
                prompt="mend it",
                mode=TaskMode.CHANGE,
                requester="slack:T1:U1",
                origin=ChatRef("console", ""),
            )
            session = sessions.create_session(
                tx, task=task.id, machine="here", agent="claude", base=base, isolation=self.house.isolation
            )
            session = sessions.update(tx, session.id, workspace="/w/t1.1", pipe="p1", pipe_end=PipeEnd.GONE)
            return task, session, sessions.create_turn(tx, session, TurnCause.REQUEST, "mend it")

        task, session, turn = await self.store.write(begin)
        return Candidate(task, session, turn, made, tree, base, round=1)

    async def events(self, *kinds: str) -> list[Recorded]:
        """What the ledger holds of these kinds, in order."""
        return await self.store.read(lambda tx: ledger.read(tx, kinds=kinds))


#: Says that it began (once, in its home), then goes on when the test lets it.
WAITING = 'echo began >> "$HOME/count"; echo first; until test -e "$HOME/go"; do sleep 0.02; done; echo second'


async def begun(room: Path) -> Path:
    """The home of the one run there is, once it says that it began."""
    async with asyncio.timeout(60):
        while not (found := list(room.glob("machine/.airboss/gates/*/home/count"))) or not found[0].read_text():
            await asyncio.sleep(0.02)
    (count,) = found
    return count.parent
