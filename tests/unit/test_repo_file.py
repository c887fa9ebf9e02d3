"""``airboss.toml`` that is something else than a file: it says what it is, instead of counting as missing."""

from __future__ import annotations

from pathlib import Path

import pytest

from fleet.config import GateTightening, RepoConfig
from fleet.errors import RepositoryUnusable
from fleet.git.repository import Repository
from fleet.setup import definitions as setups
from gates.locks.rules import BaseRules
from gates.runs import definitions as gates
from tests.far_end.repositories import git, make_bare

OPERATORS = RepoConfig(url="/none", gates={"mine": GateTightening(run=["true"])})


async def _based_on(directory: Path, mode: str) -> tuple[Repository, str]:
    bare = make_bare(directory / "shop.git", {"gates.toml": "[gates.tests]\nrun = ['true']\n"})
    old = git(bare, "rev-parse", "main")
    found = {
        "120000": git(bare, "hash-object", "-w", "--stdin", stdin=b"gates.toml"),
        "040000": git(bare, "rev-parse", "main^{tree}"),
        "160000": old,
    }
    kind = {"120000": "blob", "040000": "tree", "160000": "commit"}[mode]
    tree = git(bare, "mktree", "--missing", stdin=f"{mode} {kind} {found[mode]}\tairboss.toml\n".encode())
    made = git(bare, "-c", "user.name=a", "-c", "user.email=a@b", "commit-tree", "-p", old, "-m", "change", tree)
    git(bare, "update-ref", "refs/heads/main", made)
    repository = Repository("shop", str(bare), "main", directory / "repos" / "shop.git")
    return repository, await repository.fetch()


@pytest.mark.parametrize(
    ("mode", "words"),
    [("120000", "it is a symbolic link"), ("040000", "it is a directory"), ("160000", "it is a submodule")],
)
async def test_what_is_no_file_is_called_what_it_is_and_never_passed_over(
    tmp_path: Path, mode: str, words: str
) -> None:
    repository, base = await _based_on(tmp_path, mode)
    with pytest.raises(RepositoryUnusable, match=words):  # also where the operator has gates of their own
        await gates.load(repository, base, OPERATORS)
    with pytest.raises(RepositoryUnusable, match=words):
        await setups.load(repository, base, OPERATORS)
    with pytest.raises(RepositoryUnusable, match=words):
        await BaseRules(lambda _: repository).of("shop", base)


async def test_one_that_is_missing_leaves_the_operators_gates(tmp_path: Path) -> None:
    bare = make_bare(tmp_path / "shop.git", {"a.txt": "one\n"})
    repository = Repository("shop", str(bare), "main", tmp_path / "repos" / "shop.git")
    base = await repository.fetch()
    assert [gate.name for gate in await gates.load(repository, base, OPERATORS)] == ["mine"]
    with pytest.raises(RepositoryUnusable, match="the file does not exist"):
        await gates.load(repository, base, RepoConfig(url="/none"))
