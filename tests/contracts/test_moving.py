"""A worktree is moved onto a newer base in place: the merge is written, all else of the agent stays as it is."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from fleet.git import merging
from fleet.git.merging import MergeResult
from fleet.git.moving import Move
from fleet.git.repository import Repository
from fleet.git.taking import Exceptions
from fleet.git.workspace import Workspaces
from fleet.machines.login import LoginExecutor
from tests.contracts.executor_logins import far_end, opened
from tests.contracts.test_workspace import WHEN, Limits
from tests.far_end.repositories import advance, git, make_bare
from tests.far_end.sshd import Sshd

FILES: dict[str, str | bytes] = {
    "both.txt": "1\n2\n3\n",
    "theirs.txt": "old\n",
    "gone.txt": "bye\n",
    "picture.bin": b"\0one",
    "dropped.txt": "a\nb\nc\n",
    "dir/inside": "x\n",
    ".env.test": "base\n",
    ".gitignore": "build/\n*.log\n",
}
THEIRS: dict[str, str | bytes] = {
    "both.txt": "1\ntheirs\n3\n",
    "theirs.txt": "new\n",
    "picture.bin": b"\0theirs",
    "dropped.txt": "a\ntheirs\nc\n",
    "new/deep/file.txt": "new\n",
    ".env.test": "base too\n",
}
KEPT = Exceptions(kept_out=(".env.test",))


@pytest.fixture(scope="module")
def sshd() -> Iterator[Sshd]:
    with far_end() as server:
        yield server


@dataclass
class Ground:
    """An agent's worktree, and a base that somebody moved."""

    bare: Path
    repository: Repository
    machine: LoginExecutor
    workspaces: Workspaces
    path: Path
    base: str
    merged: MergeResult | None = None

    async def taken(self, base: str) -> str:
        made = await self.workspaces.snapshot(self.machine, self.repository, base, str(self.path), "m", WHEN, KEPT)
        return made.commit

    async def change(self) -> Move:
        """Their files land; the agent's work is merged with them."""
        yours = await self.taken(self.base)
        work = self.bare.with_suffix(".work")
        (work / "gone.txt").unlink()
        git(work, "rm", "-r", "-q", "dir")
        advance(self.bare, {**THEIRS, "dir": "a file now\n"})
        current = await self.repository.fetch()
        self.merged = await merging.merge(self.repository, current, yours)
        tree = self.merged.tree or self.merged.marked
        commit = await self.repository.commit_tree(tree, (current,), "merged\n", WHEN)
        return Move(yours, commit, current, KEPT.kept_out)

    async def move(self, move: Move) -> None:
        await self.workspaces.move(self.machine, self.repository, str(self.path), move)


@pytest.fixture(params=["local", "ssh"])
async def ground(request: pytest.FixtureRequest, sshd: Sshd, tmp_path: Path) -> AsyncIterator[Ground]:
    bare = make_bare(tmp_path / "origin.git", FILES)
    repository = Repository("p", str(bare), "main", tmp_path / "home" / "p.git")
    async with opened(request.param, sshd) as agent:
        workspaces, machine, base = Workspaces(Limits), agent.executor(), await repository.fetch()
        path = Path(await workspaces.prepare(machine, repository, base, "t1.1"))
        yield Ground(bare, repository, machine, workspaces, path, base)


def _work(path: Path) -> None:
    (path / "both.txt").write_text("1\nmine\n3\n")
    (path / "picture.bin").write_bytes(b"\0mine")
    (path / "dropped.txt").unlink()
    (path / "untracked.txt").write_text("mine\n")
    (path / "build").mkdir()
    (path / "build/cache").write_text("warm")
    (path / "forced.log").write_text("wanted\n")
    git(path, "add", "--force", "forced.log")
    (path / ".env.test").write_text("the operator's\n")


async def test_the_merge_is_in_the_worktree_and_the_agents_difference_is_its_own(ground: Ground) -> None:
    _work(ground.path)
    move = await ground.change()
    assert ground.merged is not None and set(ground.merged.conflicts) == {
        *("both.txt", "picture.bin", "dropped.txt"),
    }
    for _ in range(2):  # again, as after a crash
        await ground.move(move)
        text = (ground.path / "both.txt").read_text()
        assert f"<<<<<<< {move.base}\ntheirs\n=======\nmine\n>>>>>>> {move.yours}" in text
        assert (ground.path / "theirs.txt").read_text() == "new\n"
        assert (ground.path / "new/deep/file.txt").read_text() == "new\n"
        assert (ground.path / "dir").read_text() == "a file now\n", "a directory became a file"
        assert not (ground.path / "gone.txt").exists()
        assert (ground.path / "untracked.txt").read_text() == "mine\n"
        assert (ground.path / "build/cache").read_text() == "warm", "what git ignores stays"
        assert (ground.path / ".env.test").read_text() == "the operator's\n"
    assert git(ground.path, "rev-parse", "HEAD") == move.base
    assert git(ground.path, "show", "airboss/yours:both.txt") == "1\nmine\n3"
    (ground.path / "both.txt").write_text("1\ntheirs and mine\n3\n")
    (ground.path / "dropped.txt").unlink()
    (ground.path / "picture.bin").write_bytes(b"\0mine")
    made = await ground.taken(move.base)
    changed = {(each.status, each.path) for each in await ground.repository.changed_paths(move.base, made)}
    assert changed == {
        *(("M", "both.txt"), ("M", "picture.bin"), ("D", "dropped.txt"), ("A", "untracked.txt")),
        ("A", "forced.log"),
    }


@pytest.mark.parametrize(
    "broken",
    [
        "rm -rf .git",
        "rm -rf .git && echo no > .git",
        "touch .git/index.lock",
        "git checkout -q -b mine && git -c user.name=A -c user.email=a@b commit -qam mine",
        "echo > .git/HEAD",
    ],
)
async def test_an_agents_own_repository_is_in_nobodys_way(ground: Ground, broken: str) -> None:
    (ground.path / "both.txt").write_text("1\nmine\n3\n")
    assert await ground.machine.run(["sh", "-c", f"cd {ground.path} && {broken}"])
    move = await ground.change()
    await ground.move(move)
    assert "theirs\n=======\nmine" in (ground.path / "both.txt").read_text()
    made = await ground.taken(move.base)
    changed = await ground.repository.changed_paths(move.base, made)
    assert [each.path for each in changed] == ["both.txt"]
    head = git(ground.path, "rev-parse", "HEAD") if "lock" in broken or "checkout" in broken else move.base
    assert head == move.base


async def test_a_machine_that_lost_its_objects_gets_them_all_again(ground: Ground) -> None:
    (ground.path / "both.txt").write_text("1\nmine\n3\n")
    move = await ground.change()
    store = f"{ground.path.parents[1]}/repos/p.git"
    await ground.machine.run(["sh", "-c", f"rm -rf {store}/objects/pack/* {store}/objects/??"])
    await ground.move(move)
    assert "theirs\n=======\nmine" in (ground.path / "both.txt").read_text()
