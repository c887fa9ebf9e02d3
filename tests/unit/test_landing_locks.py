"""A landing whose locks are taken away in the last moment writes no intent."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from fleet.events import FencedBy, LandingDoneV2
from fleet.landing import fence_hook
from fleet.locks import HoldEnd
from fleet.model import Task, TaskState
from fleet.ports import Candidate, Locks
from fleet.store import landings, leases, ledger, locks, tasks
from fleet.store.core import Precondition, Tx
from fleet.store.landings import IntentOutcome
from fleet.verdict import Outcome, Verdict
from gates.locks import book
from gates.locks.guard import LockGuard
from gates.locks.service import LockService
from tests.far_end.repositories import advance, git, make_bare
from tests.flying import PERSON, World, world


@dataclass
class Unlocking(LockGuard):
    """A person takes the locks away between their check and the intent, the first time."""

    there: World
    landed: int = 0

    def __post_init__(self) -> None:
        super().__init__(
            self.there.store, LockService(self.there.store, self.there.clock), lambda _: self.there.repository
        )

    async def landing(self, task: Task, base: str, commit: str) -> Sequence[Precondition]:
        under = await super().landing(task, base, commit)
        self.landed += 1
        if self.landed == 1:
            await self.there.store.write(lambda tx: _unlock(tx, task))
        return under


def _unlock(tx: Tx, task: Task) -> None:
    hold = locks.of_task(tx, task.id)
    assert hold is not None
    book.release(tx, hold, HoldEnd.BROKEN, actor=PERSON, reason="stuck")


async def released(there: World, text: bytes) -> tuple[Task, str]:
    """A held task that changed ``a.txt`` and that a person has just released, with the change's commit."""
    base = await there.repository.fetch()
    blob = git(there.repository.mirror, "hash-object", "-w", "--stdin", stdin=text)
    tree = git(there.repository.mirror, "mktree", stdin=f"100644 blob {blob}\ta.txt\n".encode())
    return await there.released(tree, base)


async def test_locks_that_a_wait_cost_are_taken_anew_and_a_changed_path_is_merged_and_judged_again(
    tmp_path: Path,
) -> None:
    bare = make_bare(tmp_path / "shop.git", {"a.txt": "1\n2\n3\n4\n5\n"})
    there = world(tmp_path, str(bare))
    with there.store:
        task, commit = await released(there, b"mine\n2\n3\n4\n5\n")
        base = await there.repository.fetch()
        assert isinstance(there.services.locks, LockGuard)
        await there.services.locks.landing(task, base, commit)

        def waited(tx: Tx) -> None:
            hold = locks.of_task(tx, task.id)
            assert hold is not None
            book.release(tx, hold, HoldEnd.WAITED)

        await there.store.write(waited)
        theirs = advance(bare, {"a.txt": "1\n2\n3\n4\ntheirs\n"})
        judged: list[Candidate] = []

        async def passes(candidate: Candidate) -> Verdict:
            judged.append(candidate)
            session = await there.session(task)
            return Verdict(
                candidate.commit, candidate.tree, candidate.base, Outcome.PASSED, (), (), session.isolation, 0
            )

        there.judge.judging = passes
        await there.fly(task)
        assert (await there.now(task)).state is TaskState.LANDED
        assert [candidate.base for candidate in judged] == [theirs]
        assert git(bare, "show", "main:a.txt") == "mine\n2\n3\n4\ntheirs"
        kinds = [
            kind for kind in await there.kinds() if kind in ("locks.granted", "locks.released", "landing.done")
        ]
        assert kinds == ["locks.granted", "locks.released", "locks.granted", "landing.done", "locks.released"]


async def test_an_unlock_between_the_check_and_the_intent_stops_that_attempt(tmp_path: Path) -> None:
    bare = make_bare(tmp_path / "shop.git", {"a.txt": "one\n"})
    fence_hook.write(bare)
    git(bare, "config", "receive.advertisePushOptions", "true")
    there = world(tmp_path, str(bare))
    with there.store:
        guard = Unlocking(there)
        port: Locks = guard
        there.services = replace(there.services, locks=port)
        task, _ = await released(there, b"two\n")
        await there.fly(task)
        assert (await there.now(task)).state is TaskState.LANDED
        assert guard.landed == 2, "the first attempt wrote no intent"
        assert len(await there.store.read(lambda tx: landings.of_task(tx, task.id))) == 1
        (done,) = await there.store.read(lambda tx: ledger.read(tx, kinds=(LandingDoneV2.KIND,)))
        assert isinstance(done.event, LandingDoneV2)
        assert done.event.fenced_by == FencedBy.HOOK


async def test_a_landing_that_may_be_on_its_way_is_completed_though_a_person_stops_it(
    tmp_path: Path,
) -> None:
    """A push that a killed controller began can arrive at any time: the task must not end as stopped before it."""
    bare = make_bare(tmp_path / "shop.git", {"a.txt": "one\n"})
    there = world(tmp_path, str(bare))
    with there.store:
        task, commit = await released(there, b"two\n")
        base = await there.repository.fetch()
        tree = await there.repository.tree_of(commit)

        def intended(tx: Tx) -> None:
            tasks.move(tx, task.id, TaskState.LANDING, "", "airboss")
            lease = leases.acquire(tx, "landing:shop", "an earlier controller", 1)
            assert lease is not None
            landings.intend(
                tx, lease.fence, repo="shop", ref="refs/heads/main", old=base, new=commit, tree=tree, task=task.id
            )
            tasks.request_stop(tx, task.id, PERSON)

        await there.store.write(intended)
        await there.fly(await there.now(task))
        assert (await there.now(task)).state is TaskState.LANDED
        assert git(bare, "rev-parse", "main") == commit
        assert "landing.missed" not in await there.kinds()
        outcomes = [intent.outcome for intent in await there.store.read(lambda tx: landings.of_task(tx, task.id))]
        assert outcomes == [IntentOutcome.DONE]
