"""Where a task locks: at its start, at an edit, at the snapshot, at the landing; on a real repository."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterator
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from bot.telling import locked
from fleet.agent_events import Allow, Asked, Deny
from fleet.clock import SystemClock
from fleet.config import parse_fleet
from fleet.errors import LeaseLost, StoreUnavailable
from fleet.events import LocksRefused, LocksReleased
from fleet.faults import Fault, Point, injected
from fleet.git.repository import Repository
from fleet.locks import Hold, HoldEnd, LocksWanted, Resource, Want
from fleet.model import ChatRef, Isolation, Session, Task, TaskMode, TaskState
from fleet.store import ledger, locks, sessions, tasks
from fleet.store.core import Store, Tx
from gates.locks import book
from gates.locks.guard import LockGuard
from gates.locks.keeping import LockKeeper
from gates.locks.service import LockService
from tests.far_end.repositories import commit, git, make_bare, make_work

GROUPS = """\
[gates.check]
run = ["true"]
[locks.groups]
api = ["src/api/**", "docs/api.md"]
"""
FILES: dict[str, str | bytes] = {"airboss.toml": GROUPS, "a.txt": "a\n", "b.txt": "b\n", "src/api/x.py": "1\n",
    ".gitattributes": "log.md merge=union\n", "log.md": "\n"}  # fmt: skip


@dataclass
class Place:
    """A guard over a store and a repository; ``base`` is what sessions start from."""

    store: Store
    guard: LockGuard
    service: LockService
    repository: Repository
    work: Path
    base: str
    woken: list[str] = field(default_factory=list)

    async def task(self, *wants: str, mode: TaskMode = TaskMode.CHANGE) -> tuple[Task, Session]:
        """A new task that runs, and its session."""

        def work(tx: Tx) -> tuple[Task, Session]:
            task = tasks.create_task(
                tx, repo="shop", agent="demo", machine="", prompt="x", mode=mode, requester="phone::otto",
                origin=ChatRef("phone", "c1"), locks=tuple(Want(Resource(want, "shop")) for want in wants),
            )  # fmt: skip
            session = sessions.create_session(
                tx, task=task.id, machine="evo", agent="demo", base=self.base, isolation=Isolation.SEPARATE_LOGINS
            )
            session = sessions.update(tx, session.id, workspace="/work/here")
            for state in (TaskState.PREPARING, TaskState.RUNNING):
                tasks.move(tx, task.id, state, "", "airboss")
            return tasks.task(tx, task.id), session

        return await self.store.write(work)

    async def move(self, task: Task, state: TaskState) -> None:
        await self.store.write(lambda tx: tasks.move(tx, task.id, state, "", "airboss"))

    async def edit(self, of: tuple[Task, Session], path: str) -> object:
        task, session = of
        return await self.guard.edit(session, task, Asked("1", "Edit", "{}", paths=(path,)))

    async def snapshot(self, files: dict[str, str | bytes]) -> str:
        """A commit on the base that changes these files, where the controller's mirror has it."""
        git(self.work, "checkout", "--quiet", "--detach", self.base)
        made = commit(self.work, files)
        git(
            self.work,
            "push",
            "--quiet",
            "--force",
            str(self.repository.mirror),
            f"{made}:refs/heads/try-{made[:8]}",
        )
        return made

    async def names(self, task: Task) -> list[str]:
        def read(tx: Tx) -> list[str]:
            hold = locks.of_task(tx, task.id)
            return [] if hold is None else [lock.resource.name for lock in locks.of_hold(tx, hold.id)]

        return await self.store.read(read)


@pytest.fixture
def store(tmp_path: Path) -> Iterator[Store]:
    """What is tested here is above the database; ``test_locks.py`` runs on both."""
    with Store.open(f"sqlite:///{tmp_path / 'airboss.db'}") as opened:
        yield opened


@pytest.fixture
async def place(store: Store, tmp_path: Path) -> AsyncIterator[Place]:
    work = make_work(tmp_path / "work", FILES)
    bare = make_bare(tmp_path / "shop.git", FILES)
    git(work, "push", "--quiet", "--force", str(bare), "HEAD:refs/heads/main")
    repository = Repository("shop", str(bare), "main", tmp_path / "mirror.git")
    service = LockService(store, SystemClock())
    guard = LockGuard(store, service, lambda _: repository)
    made = Place(store, guard, service, repository, work, await repository.fetch())
    guard.wakes(made.woken.append)
    yield made
    await service.close()


async def test_the_second_to_edit_a_file_is_told_who_holds_it(place: Place) -> None:
    first, second = await place.task(), await place.task()
    assert await place.edit(first, "/work/here/a.txt") == Allow()
    assert await place.edit(first, "a.txt") == Allow()
    refused = await place.edit(second, "a.txt")
    assert isinstance(refused, Deny)
    assert "a.txt is locked by t1" in refused.reason
    assert await place.edit(second, "b.txt") == Allow()
    refusals = await place.store.read(lambda tx: ledger.read(tx, kinds=(LocksRefused.KIND,), task="t2"))
    assert [item.event.by for item in refusals if isinstance(item.event, LocksRefused)] == ["t1"]


async def test_without_the_store_a_task_edits_what_it_holds_and_nothing_is_granted_or_lands(place: Place) -> None:
    first, second = await place.task(), await place.task()
    made = await place.snapshot({"a.txt": "mine\n"})
    for path in ("a.txt", "docs/one.md", "a.txt"):
        assert await place.edit(first, path) == Allow()
    with injected(Fault(Point.STORE_READ, times=100)), injected(Fault(Point.STORE_COMMIT, times=100)):
        with pytest.raises(StoreUnavailable):
            await place.guard.landing(first[0], place.base, made)
        for of, path in ((first, "b.txt"), (second, "b.txt"), (second, "a.txt")):
            with pytest.raises(StoreUnavailable):
                await place.edit(of, path)
        place.repository.mirror.rename(place.work.parent / "away")
        assert await place.edit(first, "a.txt") == Allow(), "neither the store nor git was asked"
        assert await place.edit(first, "/work/here/docs/one.md") == Allow()
        await expired(place, first[0])
        with pytest.raises(StoreUnavailable):
            await place.edit(first, "a.txt")


async def expired(place: Place, task: Task) -> None:
    """What is remembered of a task's hold is over."""
    hold = Hold("1", task.id, task.id, "", 0, 0)
    place.service.remembered.keep(hold, (), until_us=0, ends=place.service.remembered.ends)


async def test_what_is_remembered_ends_in_the_commit_that_ends_the_lock(place: Place) -> None:
    first = await place.task()
    remembered, want = place.service.remembered, Want(Resource("a.txt", "shop"))
    for _ in range(2):
        assert await place.edit(first, "a.txt") == Allow()
    assert remembered.covers(first[0].id, [want])
    ends, hold = remembered.ends, await place.store.read(lambda tx: locks.of_task(tx, first[0].id))
    assert hold is not None
    seen: list[bool] = []

    def broken(tx: Tx) -> None:
        book.release(tx, hold, HoldEnd.BROKEN, actor="phone::ada", reason="stuck")
        tx.after_commit(lambda: seen.append(remembered.covers(first[0].id, [want])))

    await place.store.write(broken)
    assert seen == [False]
    remembered.keep(hold, [], until_us=1 << 60, ends=ends)
    assert not remembered.knows(first[0].id), "a read that the end overtook is not kept"
    newer = await place.task()
    assert await place.edit(newer, "a.txt") == Allow()
    assert isinstance(await place.edit(first, "a.txt"), Deny)


async def test_a_renewal_lengthens_what_is_remembered(place: Place) -> None:
    first = await place.task()
    for _ in range(2):
        await place.edit(first, "a.txt")
    hold = await place.store.read(lambda tx: locks.of_task(tx, first[0].id))
    assert hold is not None
    remembered = place.service.remembered
    remembered.keep(hold, (), until_us=0, ends=remembered.ends)
    assert not remembered.knows(first[0].id)
    await LockKeeper(place.store, place.service, lambda: parse_fleet("", "fleet.toml"), SystemClock()).look()
    assert remembered.knows(first[0].id)


async def test_an_end_frees_the_files_and_a_later_task_may_edit_them(place: Place) -> None:
    first, older = await place.task(), await place.task()
    await place.edit(first, "a.txt")
    await place.move(first[0], TaskState.FAILED)
    newer = await place.task()
    assert await place.edit(newer, "a.txt") == Allow()
    assert isinstance(await place.edit(older, "b.txt"), Allow)
    ends = await place.store.read(lambda tx: ledger.read(tx, kinds=(LocksReleased.KIND,)))
    assert [item.event.end for item in ends if isinstance(item.event, LocksReleased)] == ["done"]


async def test_what_another_changed_since_this_session_started_is_refused(place: Place) -> None:
    first, second = await place.task(), await place.task()
    await place.edit(first, "a.txt")
    await place.move(first[0], TaskState.FAILED)
    refused = await place.edit(second, "a.txt")
    assert isinstance(refused, Deny)
    assert "a.txt was changed by t1 after this task started" in refused.reason
    refusal = await place.guard.changed(second[1], second[0], await place.snapshot({"a.txt": "mine\n"}))
    assert refusal is not None and refusal.over and "t1" in refusal.why
    moved = await place.store.write(lambda tx: sessions.rebase(tx, second[1].id, place.base, tx.now_us()))
    assert await place.edit((second[0], moved), "a.txt") == Allow(), "its newer base has that change"


async def test_a_file_of_which_git_keeps_both_sides_needs_no_lock(place: Place) -> None:
    """``merge=union`` in the base's attributes. The other paths of the change are locked all the same."""
    first, second = await place.task(), await place.task()
    for of in (first, second):
        assert await place.edit(of, "log.md") == Allow()
    for number, (task, session) in enumerate((first, second)):
        made = await place.snapshot({"log.md": f"{number}\n", f"{number}.txt": ""})
        assert await place.guard.changed(session, task, made) is None
        assert await place.guard.landing(task, place.base, made)
    assert isinstance(await place.edit(second, "0.txt"), Deny)
    alone = await place.snapshot({"log.md": "3\n"})
    assert await place.guard.changed(second[1], second[0], alone) is None
    assert await place.guard.landing(second[0], place.base, alone) == ()


async def test_one_path_of_a_group_locks_all_of_it(place: Place) -> None:
    first, second = await place.task(), await place.task()
    assert await place.edit(first, "src/api/x.py") == Allow()
    assert sorted(await place.names(first[0])) == ["docs/api.md", "src/api/**", "src/api/x.py"]
    assert isinstance(await place.edit(second, "docs/api.md"), Deny)
    other = await place.edit(second, "src/API/Y.py")
    assert isinstance(other, Deny) and other.reason.startswith("src/API/Y.py is locked by t1"), "as it is written"


async def test_the_snapshot_takes_what_a_shell_changed_all_or_nothing(place: Place) -> None:
    first, second = await place.task(), await place.task()
    await place.edit(first, "a.txt")
    both = await place.snapshot({"a.txt": "mine\n", "b.txt": "mine\n"})
    refusal = await place.guard.changed(second[1], second[0], both)
    assert refusal is not None and not refusal.over and "a.txt is locked by t1" in refusal.why
    assert await place.names(second[0]) == []
    assert await place.guard.changed(second[1], second[0], await place.snapshot({"b.txt": "mine\n"})) is None
    assert await place.names(second[0]) == ["b.txt"]


async def test_strange_names_are_locked_by_their_letters(place: Place) -> None:
    strange = {"app/[id]/*.tsx": "x", "caf\u00e9.txt": "x", "new\nline": "x", "wei\\rd": "x"}
    first, second = await place.task(), await place.task()
    made = await place.snapshot({**strange})
    assert await place.guard.changed(first[1], first[0], made) is None
    assert await place.guard.changed(second[1], second[0], made) is not None
    assert await place.guard.changed(second[1], second[0], await place.snapshot({"app/i/x.tsx": "x"})) is None


async def test_declared_locks_are_waited_for_in_line(place: Place) -> None:
    first, second = await place.task("src/**"), await place.task("src/api/x.py")
    third, other = await place.task("src/**"), await place.task("docs/**")
    assert await place.guard.claim(first[0]) == ""
    assert "src/api/x.py is locked by t1" in await place.guard.claim(second[0])
    assert "t1" in await place.guard.claim(third[0])
    assert await place.guard.claim(other[0]) == ""
    await place.move(first[0], TaskState.FAILED)
    assert place.woken[-1] == "t2"
    assert await place.guard.claim(second[0]) == ""
    assert "locked by t2" in await place.guard.claim(third[0])
    await place.move(second[0], TaskState.STOPPED)
    assert await place.guard.claim(third[0]) == ""


async def test_a_task_that_ends_in_line_leaves_it(place: Place) -> None:
    first, second, third = await place.task("x"), await place.task("x"), await place.task("x")
    for task, _ in (first, second, third):
        await place.guard.claim(task)
    await place.move(second[0], TaskState.STOPPED)
    await place.move(first[0], TaskState.STOPPED)
    assert await place.guard.claim(third[0]) == ""


async def test_a_task_that_is_to_run_anyway_leaves_the_line(place: Place) -> None:
    first, second = await place.task("x"), await place.task("x", "y")
    await place.guard.claim(first[0])
    assert "x is locked by t1" in await place.guard.claim(second[0])

    def less(tx: Tx) -> Task:
        tasks.declare(tx, second[0].id, second[0].locks[1:])
        return tasks.task(tx, second[0].id)

    now = await place.store.write(less)
    assert await place.guard.claim(now) == ""
    assert (await place.names(now), place.service.line) == (["y"], ())


async def test_declared_mode_stops_every_other_path(place: Place) -> None:
    declared = GROUPS.replace("[locks.groups]", '[locks]\nmode = "declared"\n[locks.groups]')
    place.base = await place.snapshot({"airboss.toml": declared})
    task, session = await place.task("a.txt")
    assert await place.guard.claim(task) == ""
    assert await place.edit((task, session), "a.txt") == Allow()
    refused = await place.edit((task, session), "b.txt")
    assert isinstance(refused, Deny) and "only a.txt" in refused.reason
    refusal = await place.guard.changed(session, task, await place.snapshot({"b.txt": "x"}))
    assert refusal is not None and not refusal.over and "b.txt was not declared" in refusal.why
    assert "t1 may change only a.txt" in refusal.why
    elsewhere, there = await place.task()
    others = (Want(Resource("c.txt", "other")),)
    await place.store.write(lambda tx: tasks.declare(tx, elsewhere.id, others))
    now = await place.store.read(lambda tx: tasks.task(tx, elsewhere.id))
    assert isinstance(await place.edit((now, there), "c.txt"), Deny), "it is another repository's"
    another, its = await place.task()
    bare = await place.guard.changed(its, another, await place.snapshot({"b.txt": "x"}))
    assert bare is not None and "t3 may change nothing" in bare.why


async def test_in_declared_mode_the_edit_says_what_the_snapshot_would(place: Place) -> None:
    """Also of what a group locked with the declared path, and of a file of which git keeps both sides."""
    declared = GROUPS.replace("[locks.groups]", '[locks]\nmode = "declared"\n[locks.groups]')
    place.base = await place.snapshot({"airboss.toml": declared})
    mine = await place.task("src/api/**")
    assert await place.guard.claim(mine[0]) == ""
    for _ in range(2):
        assert await place.edit(mine, "src/api/x.py") == Allow()
    assert "docs/api.md" in await place.names(mine[0])
    for path in ("docs/api.md", "log.md"):
        assert isinstance(await place.edit(mine, path), Deny)
        stopped = await place.guard.changed(mine[1], mine[0], await place.snapshot({path: "x\n"}))
        assert stopped is not None and f"{path} was not declared" in stopped.why


async def test_a_refusal_names_what_is_held_however_much_was_changed(place: Place) -> None:
    """*Queue behind* locks what the refusal names, and must wait for its holder."""
    first, (task, session) = await place.task("z.txt"), await place.task()
    assert await place.guard.claim(first[0]) == ""
    changed = await place.snapshot({f"{letter}.txt": "x" for letter in "abcdefz"})
    assert await place.guard.changed(session, task, changed) is not None
    assert await place.store.read(lambda tx: locked.refused_wants(tx, task.id)) == (
        Want(Resource("z.txt", "shop")),
    )


async def test_two_that_want_what_the_other_holds_are_both_told_and_none_waits(place: Place) -> None:
    """A deadlock by edits cannot be: who asks for more is refused at once, with the reason."""
    first, second = await place.task(), await place.task()
    assert await place.edit(first, "a.txt") == Allow() == await place.edit(second, "b.txt")
    for of, path, holder in ((first, "b.txt", "t2"), (second, "a.txt", "t1")):
        refused = await place.edit(of, path)
        assert isinstance(refused, Deny) and f"{path} is locked by {holder}" in refused.reason
    assert place.service.line == ()
    for of, path in ((second, "b.txt"), (first, "a.txt")):
        made = await place.snapshot({path: "mine\n"})
        assert await place.guard.changed(of[1], of[0], made) is None
        assert await place.guard.landing(of[0], place.base, made)


async def test_a_landing_is_written_under_its_locks_and_a_broken_one_stops_it(place: Place) -> None:
    task, session = await place.task()
    made = await place.snapshot({"a.txt": "mine\n"})
    assert await place.guard.changed(session, task, made) is None
    under = await place.guard.landing(task, place.base, made)
    await place.store.write(lambda tx: None, under=under)

    def broken(tx: Tx) -> None:
        hold = locks.of_task(tx, task.id)
        assert hold is not None
        book.release(tx, hold, HoldEnd.BROKEN, actor="phone::ada", reason="stuck")

    await place.store.write(broken)
    with pytest.raises(LeaseLost):
        await place.store.write(lambda tx: None, under=under)
    other = await place.task()
    assert await place.edit(other, "a.txt") == Allow()
    with pytest.raises(LocksWanted, match="locked by t2"):
        await place.guard.landing(task, place.base, made)
    await place.move(other[0], TaskState.FAILED)
    await place.store.write(lambda tx: None, under=await place.guard.landing(task, place.base, made))


async def test_the_keeper_renews_while_a_task_lives_and_lets_go_of_one_that_waits_too_long(place: Place) -> None:
    running, held = await place.task(), await place.task()
    await place.edit(running, "a.txt")
    await place.edit(held, "b.txt")
    for state in (TaskState.JUDGING, TaskState.HELD):
        await place.move(held[0], state)
    config = parse_fleet("[limits]\nkeep_locks_hours = 1\n", "fleet.toml")
    await LockKeeper(place.store, place.service, lambda: config, SystemClock()).look()
    assert await place.names(held[0]) == ["b.txt"]
    config = parse_fleet("[limits]\nkeep_locks_hours = 0\n", "fleet.toml")
    await LockKeeper(place.store, place.service, lambda: config, SystemClock()).look()
    assert (await place.names(running[0]), await place.names(held[0])) == (["a.txt"], [])


async def test_a_question_locks_nothing(place: Place) -> None:
    task, session = await place.task(mode=TaskMode.ASK)
    assert await place.edit((task, session), "a.txt") == Allow()
    assert await place.names(task) == []
