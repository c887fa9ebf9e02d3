"""Checkouts kept between gate runs: moved by what differs, taken once, and hashed whole."""

from __future__ import annotations

import io
import os
import random
import shutil
import time
from pathlib import Path

import pytest

from fleet.git.kept_trees import take
from fleet.git.repository import Repository
from fleet.machines.runner import kept_trees
from fleet.machines.runner.trees import MANY, check
from tests.far_end.repositories import git, make_bare

NAMES = ["a", "b", "a/b", "a/c", "b/a/c", "ü/d", "a.txt", "a-b", "b/long/way/down", "x\ny", "b/a/d"]


def written(tree: Path, dice: random.Random) -> None:
    """Some files and links under names that are directories at other times."""
    for name in dice.sample(NAMES, k=6):
        path = tree / name
        if any(above.is_symlink() or above.is_file() for above in path.parents) or path.is_dir():
            continue
        path.parent.mkdir(parents=True, exist_ok=True)
        if dice.random() < 0.2:
            path.symlink_to(dice.choice(["a", "b/a/c", "nowhere"]))
            continue
        path.write_bytes(dice.randbytes(dice.choice([0, 3, 100_000])))
        path.chmod(dice.choice([0o644, 0o755]))


class Here:
    """The runner's functions, without a link."""

    async def take_tree(self, store: str, place: str, wanted: str) -> str:
        return str(kept_trees.take(store, place, wanted)["tree"])

    async def move_tree(self, place: str, change: Path) -> None:
        with change.open("rb") as file:
            assert kept_trees.move(place, kept_trees.Reader(file.fileno())) == {"ok": True}

    async def put_back_tree(self, store: str, place: str, tree: str) -> None:
        assert kept_trees.put_back(store, place, tree) == {"ok": True}


async def test_a_checkout_is_moved_from_any_tree_to_any_other(tmp_path: Path) -> None:
    """Files, links and directories take each other's places. What is there then hashes to git's own id."""
    bare, dice = make_bare(tmp_path / "origin.git", {"a": "one\n"}), random.Random(7)
    repository = Repository("p", str(bare), "main", tmp_path / "mirror.git")
    await repository.fetch()
    work, here = tmp_path / "work", Here()
    git(tmp_path, "clone", "--quiet", str(bare), str(work))
    trees = []
    for _ in range(12):
        git(work, "rm", "--quiet", "-r", "--force", "--ignore-unmatch", ".")
        work.mkdir(exist_ok=True)
        written(work, dice)
        git(work, "add", "--all")
        trees.append(git(work, "write-tree"))
    for tree in trees:
        made = git(work, "commit-tree", "-m", "x", tree)
        git(work, "push", "--quiet", str(repository.mirror), f"{made}:refs/made/{made}")
    store, place = tmp_path / "m" / "trees" / "p", tmp_path / "m" / "gates" / "run.tree"
    first = tmp_path / "m" / "gates" / "first.tree"
    (first / "tree").mkdir(parents=True)
    git(work, f"--work-tree={first / 'tree'}", "read-tree", "--reset", "-u", trees[0])
    kept_trees.put_back(str(store), str(first), trees[0])
    for tree in [*trees, *reversed(trees)]:
        assert await take(here, repository, str(store), str(place), tree)
        assert check([[str(place / "tree"), tree]]) == (tree, "")
        kept_trees.put_back(str(store), str(place), tree)
    assert len(os.listdir(store)) == 1


def kept(store: Path, holds: str, content: str = "one") -> Path:
    """A checkout in a store."""
    place = store.parent.parent / "gates" / f"{holds}.tree"
    (place / "tree").mkdir(parents=True)
    (place / "tree" / "file").write_text(content)
    kept_trees.put_back(str(store), str(place), holds)
    return store / place.name


def test_each_run_takes_another_one_and_the_wanted_one_first(tmp_path: Path) -> None:
    store = tmp_path / "trees" / "p"
    for holds in ("a" * 40, "b" * 40):
        kept(store, holds)
    places = [tmp_path / "gates" / f"run{number}.tree" for number in range(3)]
    taken = [kept_trees.take(str(store), str(place), "a" * 40)["tree"] for place in places]
    assert taken == ["a" * 40, "b" * 40, ""]
    assert [place.is_dir() for place in places] == [True, True, False]


def test_one_that_was_half_moved_is_never_taken(tmp_path: Path) -> None:
    """The runner was killed in the middle, and somebody put the directory back as it was."""
    store, place = tmp_path / "trees" / "p", tmp_path / "gates" / "run.tree"
    kept(store, "a" * 40)
    kept_trees.take(str(store), str(place), "")
    half = io.BytesIO(b"33188 3 100\nnewshort")
    with pytest.raises(OSError, match="cut short"):
        kept_trees.move(str(place), half.read)
    place.rename(store / "half.tree")
    assert kept_trees.take(str(store), str(tmp_path / "gates" / "next.tree"), "a" * 40) == {"tree": ""}
    assert not os.listdir(store)


def test_nothing_is_written_or_removed_outside(tmp_path: Path) -> None:
    place = tmp_path / "gates" / "run.tree"
    (place / "tree").mkdir(parents=True)
    (tmp_path / "precious").write_text("precious")
    (place / "tree" / "out").symlink_to(tmp_path)
    for said in (
        b"33188 17 1\n../../../precious!",
        b"0 17 0\n../../../precious",
        b"33188 12 1\nout/precious!",
        b"0 12 0\nout/precious",
        b"33188 11 1\n.GIT/config!",
    ):
        with pytest.raises(OSError, match=r"cannot be a path|behind a link"):
            kept_trees.move(str(place), io.BytesIO(said + b"\n").read)
    assert (tmp_path / "precious").read_text() == "precious"


def test_what_a_run_could_have_changed_is_not_kept(tmp_path: Path) -> None:
    store, place = tmp_path / "trees" / "p", tmp_path / "gates" / "run.tree"
    for spoil in ("spoiled", "no tree"):
        kept(store, "a" * 40)
        kept_trees.take(str(store), str(place), "")
        if spoil == "spoiled":
            (place / kept_trees.SPOILED).touch()
        kept_trees.put_back(str(store), str(place), "" if spoil == "no tree" else "a" * 40)
        assert not os.listdir(store)
    kept(store, "a" * 40)
    kept_trees.take(str(store), str(place), "")
    (place / kept_trees.UPPER / "locked").mkdir(parents=True)
    (place / kept_trees.UPPER / "locked").chmod(0)
    kept_trees.put_back(str(store), str(place), "a" * 40)
    assert sorted(os.listdir(store / "run.tree")) == ["holds", "tree"], "the run's own layer is gone"


def test_only_the_newest_are_kept_and_none_for_long(tmp_path: Path) -> None:
    store, old = tmp_path / "trees" / "p", tmp_path / "trees" / "old"
    long_ago = time.time() - 86400 * (kept_trees.UNUSED_DAYS + 1)
    os.utime(kept(old, "f" * 40) / kept_trees.HOLDS, (long_ago, long_ago))
    for number in range(kept_trees.MOST + 2):
        os.utime(kept(store, f"{number}" * 40) / kept_trees.HOLDS, (number + time.time() - 1000,) * 2)
    kept(store, "9" * 40)
    numbers = range(3, kept_trees.MOST + 2)
    assert sorted(os.listdir(store)) == [*(f"{number}" * 40 + ".tree" for number in numbers), "9" * 40 + ".tree"]
    assert not os.listdir(old)


def test_a_large_tree_is_hashed_as_git_does_and_looks_as_just_written(tmp_path: Path) -> None:
    """By several processes. A file that cannot be read is an error, never another tree."""
    for number in range(MANY + 7):
        path = tmp_path / f"d{number % 9}" / f"{number}.txt"
        path.parent.mkdir(exist_ok=True)
        path.write_text(f"{number}\n")
    (tmp_path / "large").write_bytes(bytes(3_000_000))
    (tmp_path / "run.sh").write_text("#!/bin/sh\n")
    (tmp_path / "run.sh").chmod(0o755)
    (tmp_path / "link").symlink_to("d1")
    (tmp_path / "empty" / "below").mkdir(parents=True)
    git(tmp_path, "init", "--quiet")
    git(tmp_path, "add", "--all")
    tree = git(tmp_path, "write-tree")
    os.utime(tmp_path / "d1" / "1.txt", (1, 1))
    before = time.time()
    assert check([[str(tmp_path), tree]], kept="elsewhere") == (tree, "")
    assert (tmp_path / "d1" / "1.txt").stat().st_mtime == 1
    assert check([[str(tmp_path), tree]], kept=str(tmp_path)) == (tree, "")
    assert (tmp_path / "d1" / "1.txt").stat().st_mtime > before - 1
    (tmp_path / "d8" / "8.txt").write_text("9\n")
    assert "not" in check([[str(tmp_path), tree]])[1]
    shutil.rmtree(tmp_path / "d8")
    (tmp_path / "d8").mkdir()
    os.mkfifo(tmp_path / "d8" / "8.txt")
    assert "not" in check([[str(tmp_path), tree]])[1]
