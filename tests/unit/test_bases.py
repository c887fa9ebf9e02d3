"""Base repositories as people have them, and a mirror that an earlier failure left half filled."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

from fleet.errors import Refused
from fleet.git.repository import Repository
from tests.far_end.repositories import advance, git, make_bare


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
    assert await repository.submodules(await repository.fetch()) == ("vendor/lib",)
