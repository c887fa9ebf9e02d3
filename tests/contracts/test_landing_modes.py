"""What a landing writes into a repository can be read by whoever could read that before."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

import pytest

from fleet.git.repository import Repository
from fleet.landing.base_branch import BaseBranch, Swapped
from fleet.landing.task_branch import TaskBranch
from tests.contracts.test_landing import child
from tests.far_end.repositories import make_bare


@pytest.fixture
def as_a_service() -> Iterator[None]:
    """As the service file starts the controller: what it writes for itself is its own."""
    before = os.umask(0o077)
    yield
    os.umask(before)


def _closed_to(bare: Path, bits: int) -> list[str]:
    return [str(each.relative_to(bare)) for each in bare.rglob("*") if not each.stat().st_mode & bits]


@pytest.mark.parametrize("hooked", [False, True])
async def test_its_readers_can_read_what_landed(tmp_path: Path, as_a_service: None, hooked: bool) -> None:
    bare = make_bare(tmp_path / "shop.git", {"a": "1"})
    if hooked:
        (bare / "hooks").mkdir(exist_ok=True)
        (bare / "hooks/post-receive").write_text("#!/bin/sh\n")
    for each in (bare, *bare.rglob("*")):
        each.chmod(0o2750 if each.is_dir() else 0o640)
    if hooked:
        (bare / "hooks/post-receive").chmod(0o750)
    repository = Repository("p", str(bare), "main", tmp_path / "p.git")
    base = await repository.fetch()
    new = await child(repository, base)
    assert await BaseBranch(repository).swap(base, new) == Swapped(new)
    assert await TaskBranch(repository, "t7").swap(base, await child(repository, base, "x")) is not None
    assert _closed_to(bare, 0o040) == []
    assert len(_closed_to(bare, 0o007)) == len(list(bare.rglob("*"))), "and by nobody else"
