"""Several changes that wait to land, on a real store and a real git, with gates that a test lets go one by one."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

from fleet.flight.flight import Flight
from fleet.model import Task, TaskState
from fleet.ports import Candidate
from fleet.store import landing_line, sessions
from fleet.store.core import Tx
from fleet.store.landing_line import LandingPlace
from fleet.supervise import OwnedTasks
from fleet.verdict import Outcome, Verdict
from tests.far_end.repositories import git
from tests.flying import World, give, passed


class QueuedGates:
    """Verdicts that a test lets go one by one; ``bad``: which changes do not pass, by whom they are behind."""

    def __init__(self, there: World) -> None:
        self._there, self._going = there, asyncio.Condition()
        self._free: set[str] = set()
        self.asked: list[Candidate] = []
        self.bad: Callable[[Candidate], bool] = lambda _: False
        there.judge.judging = self.judge
        there.judge.on_withdraw = self._wake

    async def judge(self, candidate: Candidate) -> Verdict:
        self.asked.append(candidate)
        async with self._going:
            await self._going.wait_for(lambda: candidate.task.id in self._free or self._withdrawn(candidate))
        verdict = passed(candidate)
        if self._withdrawn(candidate):
            return replace(verdict, outcome=Outcome.ABORTED)
        return replace(verdict, outcome=Outcome.UNAVAILABLE, reasons=("red",)) if self.bad(candidate) else verdict

    def _withdrawn(self, candidate: Candidate) -> bool:
        return candidate in self._there.judge.withdrawn

    async def _wake(self) -> None:
        async with self._going:
            self._going.notify_all()

    async def let_go(self, *tasks: str) -> None:
        self._free.update(tasks)
        await self._wake()


class LandingHouse:
    """Changes that wait to land, each of a file of its own, all begun on one base."""

    def __init__(self, there: World, bare: Path) -> None:
        self.there, self.bare, self.gates = there, bare, QueuedGates(there)
        self.flying = OwnedTasks()
        self.base = ""

    async def add(self, name: str, path: str = "", *, until: TaskState = TaskState.LANDING) -> Task:
        self.base = self.base or await self.there.repository.fetch()
        mirror = self.there.repository.mirror
        blob = git(mirror, "hash-object", "-w", "--stdin", stdin=name.encode())
        kept = git(mirror, "ls-tree", self.base)
        tree = git(mirror, "mktree", stdin=f"{kept}\n100644 blob {blob}\t{path or name}.txt\n".encode())
        commit = await self.there.repository.commit_tree(tree, (self.base,), name, 1_700_000_100)
        way = (TaskState.PREPARING, TaskState.RUNNING, TaskState.JUDGING, TaskState.LANDING)
        states = way[: way.index(until) + 1]
        task = await self.there.task(*states, base=self.base)
        session = await self.there.session(task)

        def judged(tx: Tx) -> None:
            sessions.update_turn(tx, f"{session.id}.1", snapshot=commit, tree=tree, ended_us=1)
            if until is TaskState.LANDING:
                give(tx, session, Verdict(commit, tree, self.base, Outcome.PASSED, (), (), session.isolation, 0))

        await self.there.store.write(judged)
        return await self.there.now(task)

    def fly(self, *queued: Task) -> list[Flight]:
        flights = [Flight(self.there.services, task) for task in queued]
        for flight in flights:
            self.flying.begin(flight.run(), f"fly {flight.task.id}")
        return flights

    async def until(self, true: Callable[[list[LandingPlace]], bool]) -> list[LandingPlace]:
        async with asyncio.timeout(60):
            while not true(line := await self.there.store.read(lambda tx: landing_line.line(tx, "shop"))):
                await asyncio.sleep(0.005)
        return line

    async def over(self) -> None:
        async with asyncio.timeout(60):
            while len(self.flying):
                await asyncio.sleep(0.005)

    def landed(self) -> list[str]:
        """The changes on the base branch, oldest first."""
        files = git(self.bare, "log", "--first-parent", "--reverse", "--format=%H", f"{self.base}..main").split()
        return [git(self.bare, "diff", "--name-only", f"{each}^1", each).removesuffix(".txt") for each in files]
