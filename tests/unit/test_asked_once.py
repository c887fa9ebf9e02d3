"""What a mirror asks git only once, and what it asks again because it may have changed."""

from __future__ import annotations

from pathlib import Path

import pytest

from fleet.errors import Refused
from fleet.git.command import Git
from fleet.git.repository import Repository
from tests.far_end.repositories import advance, git, make_bare
from tests.unit.test_repository import snapshot


@pytest.fixture
def origin(tmp_path: Path) -> Path:
    return make_bare(tmp_path / "origin.git", {"a.txt": "one\ntwo\n"})


class CountedGit:
    """A git that writes down each of its starts."""

    def __init__(self, directory: Path) -> None:
        self.log, program = directory / "starts", directory / "counted-git"
        self.log.touch()
        program.write_text(f'#!/bin/sh\necho "$@" >> {self.log}\nexec git "$@"\n')
        program.chmod(0o700)
        self.git = Git(str(program))

    def starts(self) -> int:
        return len(self.log.read_text().splitlines())


async def test_what_is_there_already_costs_no_process(origin: Path, tmp_path: Path) -> None:
    counted = CountedGit(tmp_path)
    repository = Repository("p", str(origin), "main", tmp_path / "p.git", counted.git)
    first = await repository.fetch()
    await repository.show(first, "a.txt")
    before = counted.starts()
    assert await repository.fetch() == first
    assert await repository.show(first, "a.txt") == b"one\ntwo\n"
    assert await repository.changed_paths(first, first) == []
    assert counted.starts() == before
    snap = await snapshot(repository, first, {"a.txt": "ours\n"})
    await repository.additions(first, snap, 1 << 20)
    before = counted.starts()
    assert b"+ours" in (await repository.additions(first, snap, 1 << 21)).out
    assert counted.starts() == before
    assert (await repository.additions(first, snap, 5)).cut, "a smaller limit is another question"


async def test_a_landing_of_ours_need_not_be_fetched_and_notes_nothing_that_it_did_not_find(
    origin: Path, tmp_path: Path
) -> None:
    counted = CountedGit(tmp_path)
    repository = Repository("p", str(origin), "main", tmp_path / "p.git", counted.git)
    first = await repository.fetch()
    ours = await snapshot(repository, first, {"a.txt": "ours\n"})
    await repository.landed(ours, first)
    assert await repository.last_fetched() == first, "it was not where it is said to have been"
    git(origin, "fetch", "--quiet", str(repository.mirror), ours)
    git(origin, "update-ref", "refs/heads/main", ours)
    await repository.landed(first, ours)
    before = counted.starts()
    assert await repository.fetch() == ours == await repository.last_fetched()
    assert counted.starts() == before


async def test_a_repository_that_changes_is_looked_at_again(origin: Path, tmp_path: Path) -> None:
    repository = Repository("p", str(origin), "main", tmp_path / "p.git")
    first = await repository.fetch()
    assert (await repository.opened()).bare
    git(origin, "config", "core.bare", "false")
    assert not (await repository.opened()).bare
    included = origin / "more"
    included.write_text("[core]\n\tbare = true\n")
    git(origin, "config", "include.path", str(included))
    assert (await repository.opened()).bare
    included.write_text("[core]\n\tbare = false\n")
    assert not (await repository.opened()).bare, "settings that are included may change unseen"
    git(origin, "config", "--unset", "include.path")
    git(origin, "config", "remote.origin.promisor", "true")
    second = advance(origin, {"a.txt": "more\n"})
    with pytest.raises(Refused, match="partial clone"):
        await repository.fetch()
    git(origin, "config", "--unset", "remote.origin.promisor")
    assert await repository.fetch() == second != first
    origin.rename(origin.with_suffix(".old"))
    with pytest.raises(Refused, match="no such directory"):
        await repository.fetch()
    origin.mkdir()
    with pytest.raises(Refused, match="not a git repository"):
        await repository.fetch()
