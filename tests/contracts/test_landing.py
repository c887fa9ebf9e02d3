"""Landing: one contract for each kind of repository, and what only some of them can refuse."""

from __future__ import annotations

import argparse
import asyncio
from pathlib import Path

import pytest

from bot.local import hooking
from fleet.errors import Misused, Refused, RepositoryUnusable, Unavailable
from fleet.events import FencedBy
from fleet.git import merging
from fleet.git.command import Git
from fleet.git.repository import Repository
from fleet.landing.base_branch import BaseBranch, Moved, Swapped
from fleet.landing.fence_hook import FenceToken
from fleet.landing.task_branch import TaskBranch
from tests.far_end.repositories import advance, git, make_bare, make_work

_SSH = """#!/bin/sh
# The far end of an ssh connection, on this machine: runs what git asks for.
for last; do :; done
exec sh -c "$last"
"""


@pytest.fixture(params=["bare path", "file url", "ssh url", "checkout that follows", "other branch checked out"])
def repository(request: pytest.FixtureRequest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Repository:
    files: dict[str, str | bytes] = {"a.txt": "one\n", "b.txt": "two\n"}
    kind = request.param
    mirror = tmp_path / "home" / "p.git"
    if kind in {"bare path", "file url", "ssh url"}:
        bare = make_bare(tmp_path / "origin.git", files)
        if kind == "ssh url":
            fake = tmp_path / "ssh"
            fake.write_text(_SSH)
            fake.chmod(0o700)
            monkeypatch.setenv("GIT_SSH_COMMAND", str(fake))
        url = {"bare path": str(bare), "file url": f"file://{bare}", "ssh url": f"ssh://far.example{bare}"}[kind]
        return Repository("p", url, "main", mirror)
    work = make_work(tmp_path / "owner", files)
    if kind == "checkout that follows":
        git(work, "config", "receive.denyCurrentBranch", "updateInstead")
    else:
        git(work, "checkout", "--quiet", "-b", "elsewhere")
    return Repository("p", str(work), "main", mirror)


def real(repository: Repository) -> Path:
    return repository.path or Path(repository.url.removeprefix("ssh://far.example"))


async def child(repository: Repository, base: str, name: str = "new.txt") -> str:
    """A commit of ours on ``base`` that adds a file, in the mirror alone."""
    blob = git(repository.mirror, "hash-object", "-w", "--stdin", stdin=name.encode())
    listed = git(repository.mirror, "ls-tree", base)
    tree = git(repository.mirror, "mktree", stdin=f"{listed}\n100644 blob {blob}\t{name}\n".encode())
    return await repository.commit_tree(tree, (base,), f"add {name}", 1_700_000_100)


async def test_moves_the_base_branch_and_nothing_else(repository: Repository) -> None:
    landing = BaseBranch(repository)
    base = await repository.fetch()
    before = git(real(repository), "for-each-ref")
    new = await child(repository, base)
    await landing.check_landable()
    assert await landing.swap(base, new) == Swapped(new)
    assert git(real(repository), "rev-parse", "refs/heads/main") == new
    assert git(real(repository), "show", "main:new.txt") == "new.txt"
    assert git(real(repository), "for-each-ref") == before.replace(
        f"{base} commit\trefs/heads/main", f"{new} commit\trefs/heads/main"
    )
    assert git(real(repository), "fsck", "--strict") == ""
    assert await landing.current() == new == await repository.fetch()


async def test_the_owners_checkout_is_left_clean(repository: Repository) -> None:
    """Seen without this: an index that reverts the landing at the owner's next commit."""
    base = await repository.fetch()
    new = await child(repository, base)
    await BaseBranch(repository).swap(base, new)
    where = real(repository)
    if git(where, "rev-parse", "--is-bare-repository") == "true":
        return
    assert git(where, "status", "--porcelain") == ""
    assert (where / "new.txt").exists() == (git(where, "branch", "--show-current") == "main")


async def test_a_repeat_finds_that_it_was_done(repository: Repository) -> None:
    landing, base = BaseBranch(repository), await repository.fetch()
    new = await child(repository, base)
    await landing.swap(base, new)
    assert await BaseBranch(repository).swap(base, new) == Swapped(new)
    later = await child(repository, new, "later.txt")
    assert await landing.swap(new, later) == Swapped(later)
    assert await landing.swap(base, new) == Swapped(new), "it is in the branch's history"


async def test_another_commit_on_the_base_is_never_lost(repository: Repository) -> None:
    landing, base = BaseBranch(repository), await repository.fetch()
    theirs, ours = await child(repository, base, "theirs"), await child(repository, base, "ours")
    assert await landing.swap(base, theirs) == Swapped(theirs)
    assert await landing.swap(base, ours) == Moved(theirs)
    assert git(real(repository), "rev-parse", "refs/heads/main") == theirs


async def test_of_two_at_once_one_wins(repository: Repository) -> None:
    landing, base = BaseBranch(repository), await repository.fetch()
    news = [await child(repository, base, f"n{n}") for n in range(3)]
    ended = await asyncio.gather(*(landing.swap(base, new) for new in news), return_exceptions=True)
    winner = git(real(repository), "rev-parse", "refs/heads/main")
    assert winner in news
    for new, result in zip(news, ended, strict=True):
        if new == winner:
            assert result == Swapped(new)
        else:
            assert result == Moved(winner) or isinstance(result, Unavailable | Refused), result


async def test_a_push_loses_to_whoever_came_just_before(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The branch moves after we read it and before the far side tells the push where it is."""
    bare = make_bare(tmp_path / "origin.git", {"a": "1"})
    base = git(bare, "rev-parse", "main")
    theirs = advance(bare, {"theirs": "2"})
    git(bare, "update-ref", "refs/heads/main", base)
    fake = tmp_path / "ssh"
    move = f"case $last in *receive-pack*) git --git-dir='{bare}' update-ref refs/heads/main {theirs};; esac"
    fake.write_text(_SSH.replace("exec", f"{move}\nexec"))
    fake.chmod(0o700)
    monkeypatch.setenv("GIT_SSH_COMMAND", str(fake))
    repository = Repository("p", f"ssh://far.example{bare}", "main", tmp_path / "p.git")
    await repository.fetch()
    assert await BaseBranch(repository).swap(base, await child(repository, base)) == Moved(theirs)
    assert git(bare, "rev-parse", "main") == theirs


async def test_only_a_descendant_lands(repository: Repository) -> None:
    landing, base = BaseBranch(repository), await repository.fetch()
    one = await child(repository, base, "one")
    other = await child(repository, base, "other")
    await landing.swap(base, one)
    with pytest.raises(Refused, match="does not descend"):
        await landing.swap(one, other)
    assert git(real(repository), "rev-parse", "refs/heads/main") == one


@pytest.mark.parametrize(
    "step", ["pack-objects", "index-pack", "update-ref -m airboss:", "update-ref refs/airboss/base/"]
)
async def test_a_git_that_is_killed_at_any_step_leaves_a_landing_that_can_be_repeated(
    tmp_path: Path, step: str
) -> None:
    bare, program = make_bare(tmp_path / "o.git", {"a": "1"}), tmp_path / "git"
    program.write_text('#!/bin/sh\nexec git "$@"\n')
    program.chmod(0o755)
    repository = Repository("p", str(bare), "main", tmp_path / "p.git", Git(str(program)))
    base = await repository.fetch()
    new, before = await child(repository, base), sorted(path.name for path in repository.mirror.iterdir())
    program.write_text(f'#!/bin/sh\ncase " $*" in *" {step}"*) kill -9 $$;; esac\nexec git "$@"\n')
    noted = step == "update-ref refs/airboss/base/"
    if noted:
        assert await BaseBranch(repository).swap(base, new) == Swapped(new), "it has landed, noted or not"
        await repository.landed(base, new)
    else:
        with pytest.raises(Unavailable):
            await BaseBranch(repository).swap(base, new)
    assert git(bare, "rev-parse", "main") == (new if noted else base)
    program.write_text('#!/bin/sh\nexec git "$@"\n')
    assert await BaseBranch(repository).swap(base, new) == Swapped(new)
    assert await repository.fetch() == new == await repository.last_fetched()
    assert git(bare, "fsck", "--strict") == ""
    assert sorted(path.name for path in repository.mirror.iterdir()) == before


async def test_current_reads_the_ref_not_the_mirror(tmp_path: Path) -> None:
    bare = make_bare(tmp_path / "o.git", {"a": "1"})
    repository = Repository("p", str(bare), "main", tmp_path / "p.git")
    await repository.fetch()
    moved = advance(bare, {"b": "2"})
    assert await BaseBranch(repository).current() == moved


async def test_a_checked_out_base_is_refused_with_the_remedy(tmp_path: Path) -> None:
    work = make_work(tmp_path / "owner", {"a": "1"})
    repository = Repository("p", str(work), "main", tmp_path / "p.git")
    base = await repository.fetch()
    with pytest.raises(Refused, match="updateInstead") as refused:
        await BaseBranch(repository).check_landable()
    assert str(work) in str(refused.value)
    with pytest.raises(Refused, match="checked out"):
        await BaseBranch(repository).swap(base, await child(repository, base))
    git(work, "config", "receive.denyCurrentBranch", "ignore")
    with pytest.raises(Refused, match="updateInstead"):
        await BaseBranch(repository).swap(base, await child(repository, base))
    assert git(work, "rev-parse", "main") == base


async def test_uncommitted_work_of_the_owner_is_kept(tmp_path: Path) -> None:
    work = make_work(tmp_path / "owner", {"a": "1"})
    git(work, "config", "receive.denyCurrentBranch", "updateInstead")
    repository = Repository("p", str(work), "main", tmp_path / "p.git")
    base = await repository.fetch()
    new = await child(repository, base)
    (work / "a").write_text("my own, not committed")
    with pytest.raises(Refused, match="uncommitted"):
        await BaseBranch(repository).check_landable()
    with pytest.raises(Refused, match="uncommitted"):
        await BaseBranch(repository).swap(base, new)
    assert (work / "a").read_text() == "my own, not committed"
    assert git(work, "rev-parse", "main") == base
    git(work, "checkout", "--quiet", "a")
    (work / "new.txt").write_text("untracked, and in the way")
    with pytest.raises(Refused, match="uncommitted"):
        await BaseBranch(repository).swap(base, new)
    assert (work / "new.txt").read_text() == "untracked, and in the way"
    (work / "new.txt").unlink()
    (work / "new.txt").mkdir()
    (work / "new.txt" / "inside").write_text("untracked, too")
    with pytest.raises(RepositoryUnusable, match="uncommitted"):
        await BaseBranch(repository).swap(base, new)


async def test_a_worktree_of_a_bare_repository_counts_as_a_checkout(tmp_path: Path) -> None:
    bare = make_bare(tmp_path / "o.git", {"a": "1"})
    git(bare, "worktree", "add", "--quiet", str(tmp_path / "tree"), "main")
    repository = Repository("p", str(bare), "main", tmp_path / "p.git")
    base = await repository.fetch()
    with pytest.raises(Refused, match="git worktree remove"):
        await BaseBranch(repository).swap(base, await child(repository, base))
    assert git(bare, "rev-parse", "main") == base


async def test_a_merge_keeps_what_another_landed(tmp_path: Path) -> None:
    bare = make_bare(tmp_path / "o.git", {"a": "1\n", "b": "1\n"})
    repository = Repository("p", str(bare), "main", tmp_path / "p.git")
    base = await repository.fetch()
    ours = await child(repository, base, "ours")
    current = advance(bare, {"theirs": "2\n"})
    assert await repository.fetch() == current
    merged = await merging.merge(repository, current, ours)
    new = await merging.merge_commit(repository, merged.tree, current, ours, "merge", 1_700_000_200)
    assert await BaseBranch(repository).swap(current, new) == Swapped(new)
    assert git(bare, "ls-tree", "--name-only", "main").split() == ["a", "b", "ours", "theirs"]


@pytest.fixture(params=["bare path", "ssh url"])
def hooked(request: pytest.FixtureRequest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Repository:
    """A bare repository with the hook, on this machine and behind SSH."""
    bare = make_bare(tmp_path / "origin.git", {"a.txt": "one\n"})
    if request.param == "ssh url":
        fake = tmp_path / "ssh"
        fake.write_text(_SSH)
        fake.chmod(0o700)
        monkeypatch.setenv("GIT_SSH_COMMAND", str(fake))
    home = tmp_path / "home"
    home.mkdir()
    (home / "fleet.toml").write_text(f'isolation = "unsafe-same-user"\n[repos.p]\nurl = "{bare}"\n')
    _install(home, "p")
    url = str(bare) if request.param == "bare path" else f"ssh://far.example{bare}"
    return Repository("p", url, "main", home / "p.git")


def _install(home: Path, repo: str, *, reset: bool = False) -> None:
    hooking.install(argparse.Namespace(repo=repo, reset=reset), home)


async def test_a_repository_with_the_hook_refuses_a_stale_token(hooked: Repository, tmp_path: Path) -> None:
    """A controller was frozen before its push; another took over, and landed nothing yet."""
    landing, frozen, base = BaseBranch(hooked), BaseBranch(hooked), await hooked.fetch()
    first = await child(hooked, base)
    fenced = Swapped(first, FencedBy.HOOK)
    assert await landing.swap(base, first, FenceToken("store", "p", 9)) == fenced
    second = await child(hooked, first, "second.txt")
    with pytest.raises(Refused, match="token 8 is stale, 9 was seen"):
        await frozen.swap(first, second, FenceToken("store", "p", 8))
    assert await landing.current() == first
    assert await landing.swap(first, second, FenceToken("store", "p", 10)) == Swapped(second, FencedBy.HOOK)
    third = await child(hooked, second, "third.txt")
    assert isinstance(await landing.swap(second, third, FenceToken("another store", "p", 1)), Swapped)
    work = make_work(tmp_path / "person", {"a.txt": "x"})
    git(work, "fetch", "--quiet", str(real(hooked)), "main")
    git(work, "checkout", "--quiet", "-B", "main", "FETCH_HEAD")
    git(work, "commit", "--quiet", "--allow-empty", "-m", "a person's own")
    git(work, "push", "--quiet", str(real(hooked)), "main")
    _install(tmp_path / "home", "p", reset=True)
    base = await hooked.fetch()
    fourth = await child(hooked, base, "fourth.txt")
    assert await landing.swap(base, fourth, FenceToken("store", "p", 2)) == Swapped(fourth, FencedBy.HOOK)


async def test_where_no_hook_is_only_the_commit_fences(repository: Repository) -> None:
    base = await repository.fetch()
    new = await child(repository, base)
    assert await BaseBranch(repository).swap(base, new, FenceToken("store", "p", 9)) == Swapped(new)


def test_the_hook_is_written_into_a_bare_repository_alone_and_over_no_other(tmp_path: Path) -> None:
    bare, work = make_bare(tmp_path / "bare.git", {"a": "1"}), make_work(tmp_path / "work", {"a": "1"})
    (tmp_path / "fleet.toml").write_text(
        f'isolation = "unsafe-same-user"\n[repos.bare]\nurl = "{bare}"\n[repos.work]\nurl = "{work}"\n'
    )
    (bare / "hooks").mkdir(exist_ok=True)
    (bare / "hooks" / "pre-receive").write_text("#!/bin/sh\n")
    for repo, cause in (("bare", "has another hooks/pre-receive"), ("work", "not a bare"), ("x", "Known: bare")):
        with pytest.raises(Misused, match=cause):
            _install(tmp_path, repo)


async def test_a_tasks_branch_is_made_once_and_never_moved(repository: Repository) -> None:
    base, branch = await repository.fetch(), TaskBranch(repository, "t7")
    new, other = await child(repository, base), await child(repository, base, "other.txt")
    assert await branch.current() == ""
    for _ in range(2):
        assert await branch.swap(base, new, FenceToken("store", "p", 3)) == Swapped(new)
    assert await branch.current() == new
    assert await branch.swap(base, other) == Moved(new), "nobody's commit is replaced"
    where = real(repository)
    assert git(where, "rev-parse", "refs/heads/airboss/t7") == new
    assert git(where, "rev-parse", "refs/heads/main") == base
    theirs = git(
        where, "-c", "user.name=A", "-c", "user.email=a@b", "commit-tree", f"{new}^{{tree}}", "-p", new, "-m", "x"
    )
    git(where, "update-ref", "refs/heads/airboss/t7", theirs)
    assert await branch.follows(new, theirs), "people work on from it"
    assert await branch.swap(base, new) == Swapped(new)
    git(where, "update-ref", "refs/heads/airboss/t7", base)
    assert await branch.swap(base, new) == Moved(base)


async def test_of_two_that_make_one_branch_at_once_one_wins(repository: Repository) -> None:
    base = await repository.fetch()
    news = [await child(repository, base, f"n{n}") for n in range(3)]
    ended = await asyncio.gather(
        *(TaskBranch(repository, "t8").swap(base, new) for new in news), return_exceptions=True
    )
    winner = git(real(repository), "rev-parse", "refs/heads/airboss/t8")
    for new, result in zip(news, ended, strict=True):
        if new == winner:
            assert result == Swapped(new)
        else:
            assert result == Moved(winner) or isinstance(result, Unavailable | Refused), result
