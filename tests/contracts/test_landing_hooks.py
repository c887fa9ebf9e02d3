"""Landing where the repository's owner has hooks, or changes something while a change lands."""

from __future__ import annotations

from pathlib import Path

import pytest

from fleet.errors import Refused, RepositoryUnusable
from fleet.git.repository import Repository
from fleet.landing.base_branch import BaseBranch, Moved, Swapped
from fleet.landing.task_branch import TaskBranch
from tests.contracts.test_landing import child
from tests.far_end.repositories import git, make_bare, make_work


def _hook(git_dir: Path, name: str, script: str, hooks: str = "hooks") -> None:
    place = git_dir / hooks / name
    place.parent.mkdir(exist_ok=True)
    place.write_text(f"#!/bin/sh\n{script}\n")
    place.chmod(0o700)


@pytest.mark.parametrize("hook", ["pre-receive", "update"])
@pytest.mark.parametrize("kind", ["checkout", "bare", "bare, hooks elsewhere"])
async def test_the_owners_hook_has_the_last_word(kind: str, hook: str, tmp_path: Path) -> None:
    if kind == "checkout":
        owner = make_work(tmp_path / "owner", {"a": "1"})
        git(owner, "checkout", "--quiet", "-b", "elsewhere")
        _hook(owner / ".git", hook, "echo frozen for the release >&2; exit 1")
    else:
        owner = make_bare(tmp_path / "owner.git", {"a": "1"})
        _hook(owner, hook, "echo frozen for the release >&2; exit 1", "hooks" if kind == "bare" else "ours")
        if kind != "bare":
            git(owner, "config", "core.hooksPath", "ours")
    repository = Repository("p", str(owner), "main", tmp_path / "p.git")
    base = await repository.fetch()
    with pytest.raises(Refused, match=r"frozen for the release|hook declined"):
        await BaseBranch(repository).swap(base, await child(repository, base))
    assert await repository.tip() == base


async def test_the_owners_hook_hears_of_a_landing(tmp_path: Path) -> None:
    bare = make_bare(tmp_path / "owner.git", {"a": "1"})
    _hook(bare, "post-receive", f"cat > {tmp_path / 'heard'}")
    repository = Repository("p", str(bare), "main", tmp_path / "p.git")
    base = await repository.fetch()
    new = await child(repository, base)
    assert await BaseBranch(repository).swap(base, new) == Swapped(new)
    assert (tmp_path / "heard").read_text() == f"{base} {new} refs/heads/main\n"


async def test_what_its_owner_must_correct_is_said_and_is_no_refusal_of_the_change(tmp_path: Path) -> None:
    bare = make_bare(tmp_path / "owner.git", {"a": "1"})
    _hook(bare, "post-receive", "exit 0")
    repository = Repository("p", str(bare), "main", tmp_path / "p.git")
    base = await repository.fetch()
    new, lock = await child(repository, base), bare / "refs/heads/main.lock"
    lock.touch()
    with pytest.raises(RepositoryUnusable, match=r"main\.lock is there: .* remove that file"):
        await BaseBranch(repository).swap(base, new)
    lock.unlink()
    assert await BaseBranch(repository).swap(base, new) == Swapped(new)


async def test_a_hook_that_aborts_the_update_itself_is_a_refusal_in_its_own_words(tmp_path: Path) -> None:
    bare = make_bare(tmp_path / "owner.git", {"a": "1"})
    _hook(bare, "reference-transaction", "[ $1 != prepared ] || { echo nobody lands today >&2; exit 1; }")
    repository = Repository("p", str(bare), "main", tmp_path / "p.git")
    base = await repository.fetch()
    new = await child(repository, base)
    for branch in (BaseBranch(repository), TaskBranch(repository, "t7")):
        with pytest.raises(Refused, match="nobody lands today; ref updates aborted by hook") as refused:
            await branch.swap(base, new)
        assert not isinstance(refused.value, RepositoryUnusable)


async def test_a_branch_that_is_deleted_under_a_landing_has_not_taken_it(tmp_path: Path) -> None:
    """Where that stayed in doubt, its task could never be stopped."""
    bare = make_bare(tmp_path / "owner.git", {"a": "1"})
    _hook(bare, "pre-receive", "env -u GIT_QUARANTINE_PATH git update-ref -d refs/heads/main")
    repository = Repository("p", str(bare), "main", tmp_path / "p.git")
    base = await repository.fetch()
    new, branch = await child(repository, base), BaseBranch(repository)
    assert await branch.swap(base, new) == Moved("")
    assert await branch.swap(base, new) == Moved(""), "after a restart, too"
    assert not await branch.follows(new, await branch.current())


async def test_a_hook_may_say_as_much_as_it_likes(tmp_path: Path) -> None:
    bare = make_bare(tmp_path / "owner.git", {"a": "1"})
    _hook(bare, "pre-receive", "yes scanning, please wait | head -c 1300000 >&2; echo no room for this >&2; exit 1")
    repository = Repository("p", str(bare), "main", tmp_path / "p.git")
    base = await repository.fetch()
    with pytest.raises(Refused, match=r"no room for this.*then /judge the task"):
        await BaseBranch(repository).swap(base, await child(repository, base))
