"""Base repositories as people have them, and a mirror that an earlier failure left half filled."""

from __future__ import annotations

import os
import shutil
from pathlib import Path

import pytest

from fleet.errors import Refused, Unavailable
from fleet.git.repository import Repository
from tests.far_end.repositories import advance, commit, git, make_bare


@pytest.fixture
def origin(tmp_path: Path) -> Path:
    return make_bare(tmp_path / "origin.git", {"a.txt": "one\n"})


@pytest.fixture
def far(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Lets git reach paths of this machine as a remote: ``ssh://far.example/PATH``."""
    fake = tmp_path / "ssh"
    fake.write_text('#!/bin/sh\nfor last; do :; done\nexec sh -c "$last"\n')
    fake.chmod(0o700)
    monkeypatch.setenv("GIT_SSH_COMMAND", str(fake))
    return fake


@pytest.mark.parametrize("where", ["path", "url"])
async def test_a_shallow_base_is_refused_in_words_and_works_once_it_is_completed(
    origin: Path, tmp_path: Path, far: Path, where: str
) -> None:
    advance(origin, {"a.txt": "later\n"})
    shallow = tmp_path / "shallow.git"
    git(tmp_path, "clone", "--quiet", "--bare", "--depth", "1", f"file://{origin}", str(shallow))
    url = str(shallow) if where == "path" else f"ssh://far.example{shallow}"
    mirror = tmp_path / "mirrors" / "p.git"
    with pytest.raises(Refused, match=r"shallow clone: its older commits are missing.*fetch --unshallow"):
        await Repository("p", url, "main", mirror).fetch()
    git(shallow, "fetch", "--quiet", "--unshallow")
    repository = Repository("p", url, "main", mirror)
    tip = await repository.fetch()
    await repository.pack(tmp_path / "whole.pack", tip)


@pytest.mark.parametrize("where", ["path", "url"])
async def test_a_partial_clone_is_refused_in_words(origin: Path, tmp_path: Path, far: Path, where: str) -> None:
    git(origin, "config", "uploadpack.allowFilter", "true")
    partial = tmp_path / "partial.git"
    git(tmp_path, "clone", "--quiet", "--bare", "--filter=blob:none", f"file://{origin}", str(partial))
    url = str(partial) if where == "path" else f"ssh://far.example{partial}"
    with pytest.raises(Refused, match="partial clone: some of its files are missing"):
        await Repository("p", url, "main", tmp_path / "mirrors" / "p.git").fetch()


async def test_a_mirror_in_which_a_fetch_was_killed_is_filled_again(origin: Path, tmp_path: Path) -> None:
    """The newest commit is there, what it reaches is not."""
    repository = Repository("p", str(origin), "main", tmp_path / "mirrors" / "p.git")
    await repository.fetch()
    tip = advance(origin, {"new/file.txt": "new\n"})
    words = git(origin, "cat-file", "commit", tip) + "\n"
    half = git(repository.mirror, "hash-object", "-w", "-t", "commit", "--stdin", stdin=words.encode())
    assert half == tip
    assert await repository.has(tip)
    assert await repository.fetch() == tip
    assert await repository.show(tip, "new/file.txt") == b"new\n"


async def test_a_mirror_that_lost_objects_is_filled_again(origin: Path, tmp_path: Path) -> None:
    repository = Repository("p", str(origin), "main", tmp_path / "mirrors" / "p.git")
    await repository.fetch()
    shutil.rmtree(repository.mirror / "objects" / "pack")
    (repository.mirror / "objects" / "pack").mkdir()
    tip = advance(origin, {"new/file.txt": "new\n"})
    assert await repository.fetch() == tip
    await repository.pack(tmp_path / "whole.pack", tip)


async def test_submodules_are_found(origin: Path, tmp_path: Path) -> None:
    repository = Repository("p", str(origin), "main", tmp_path / "mirrors" / "p.git")
    work = origin.with_suffix(".work")
    tip = git(work, "rev-parse", "HEAD")
    git(work, "update-index", "--add", "--cacheinfo", f"160000,{tip},vendor/lib")
    git(work, "commit", "--quiet", "--message", "a submodule")
    git(work, "push", "--quiet", "origin", "main")
    assert await repository.submodules(await repository.fetch()) == {"vendor/lib": tip}


async def test_what_git_said_of_a_repository_counts_until_something_that_it_depends_on_changes(
    origin: Path, tmp_path: Path
) -> None:
    repository = Repository("p", str(origin), "main", tmp_path / "mirrors" / "p.git")

    async def says() -> str | None:
        return (await repository.opened()).settings.get("test.says")

    def add(name: str, words: str) -> None:
        with (origin / name).open("a") as file:  # in place, as an editor may do it
            file.write(f"{words}\n")

    assert await says() is None
    add("config", "[test]\n\tsays = one")
    assert await says() == "one"
    git(origin, "config", "extensions.worktreeConfig", "true")
    add("config.worktree", "[test]\n\tsays = two")
    assert await says() == "two"
    add("config.worktree", "\tsays = three")
    assert await says() == "three"
    add("others", "[test]\n\tsays = four")
    add("config.worktree", "[include]\n\tpath = others")
    assert await says() == "four"
    add("others", "\tsays = five")
    assert await says() == "five"


async def test_a_repository_that_was_given_to_another_login_is_not_opened_from_memory(
    origin: Path, tmp_path: Path
) -> None:
    repository = Repository("p", str(origin), "main", tmp_path / "mirrors" / "p.git")
    await repository.opened()
    os.chown(origin, 65_534, -1)
    with pytest.raises(Refused, match="owned by another login"):
        await repository.opened()


async def test_a_base_whose_commit_is_in_a_store_that_was_added_since_is_found(
    origin: Path, tmp_path: Path
) -> None:
    """A process that was started before does not look there."""
    repository = Repository("p", str(origin), "main", tmp_path / "mirrors" / "p.git")
    await repository.tip()
    other = tmp_path / "other"
    git(tmp_path, "clone", "--quiet", str(origin), str(other))
    new = commit(other, {"a.txt": "later\n"})
    (origin / "objects/info").mkdir(exist_ok=True)
    (origin / "objects/info/alternates").write_text(f"{other}/.git/objects\n")
    git(origin, "update-ref", "refs/heads/main", new)
    assert await repository.tip() == new


async def test_the_lock_of_a_git_that_died_is_taken_away(tmp_path: Path, origin: Path) -> None:
    repository = Repository("shop", str(origin), "main", tmp_path / "mirror.git")
    await repository.fetch()
    new = advance(origin, {"a.txt": "two\n"})
    (lock := repository.mirror / "refs/airboss/base/main.lock").touch()
    with pytest.raises(Unavailable, match="File exists"):
        await repository.fetch()  # a git that lives may hold it
    os.utime(lock, (1, 1))
    assert await repository.fetch() == new
