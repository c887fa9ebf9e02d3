"""Commits that controllers share through their store; on both databases."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from pathlib import Path

import pytest
from sqlalchemy import func, select, update

from fleet.errors import Unavailable
from fleet.git.shared import SharedRepository, shared_repository
from fleet.git.tree_walk import listing
from fleet.shared_commits import StoredPacks
from fleet.store.blob_tables import blob_chunks, blob_names
from fleet.store.core import Store, Tx
from tests.far_end.repositories import advance, git, make_bare


def names(tx: Tx) -> int:
    """How many files the store has."""
    return tx.connection.execute(select(func.count()).select_from(blob_names)).scalar_one()


@pytest.fixture
def origin(tmp_path: Path) -> Path:
    return make_bare(tmp_path / "origin.git", {"a.txt": "one\n", "d/b.txt": "b\n"})


def of_home(store: Store, origin: Path, home: str) -> SharedRepository:
    mirror = origin.parent / home / "repos" / "p.git"
    return shared_repository("p", str(origin), "main", mirror, StoredPacks(store))


async def change(repository: SharedRepository, base: str, text: str) -> str:
    """A commit of ours on ``base``."""
    blob = await repository.git.run(
        "hash-object", "-w", "--stdin", attempted="x", git_dir=repository.mirror, stdin=text.encode()
    )
    tree = await repository.git.run(
        "mktree", attempted="x", git_dir=repository.mirror, stdin=f"100644 blob {blob.line}\tnew.txt\n".encode()
    )
    return await repository.commit_tree(tree.line, (base,), text, 1_700_000_000)


async def test_a_controller_with_an_empty_home_gets_commits_of_another(store: Store, origin: Path) -> None:
    one, other = of_home(store, origin, "one"), of_home(store, origin, "other")
    base = await one.fetch()
    made = await change(one, base, "ours")
    later = await change(one, made, "ours, later")
    await one.share(made, "t1")
    await one.share(later, "t1")
    assert await other.show(later, "new.txt") == b"ours, later"
    assert await other.parents(later) == [made]
    assert await other.tree_of(made) == await one.tree_of(made)
    assert await other.is_ancestor(base, later)
    git(other.mirror, "fsck", "--strict", "--no-dangling")
    boundary = await StoredPacks(store).boundary("p", later)
    assert boundary == (base,), "what the repository has is not put"


async def test_the_first_question_may_be_any(store: Store, origin: Path, tmp_path: Path) -> None:
    one = of_home(store, origin, "one")
    base = await one.fetch()
    made = await change(one, base, "ours")
    await one.share(made, "t1")
    asked: list[Callable[[SharedRepository], Awaitable[object]]] = [
        lambda each: each.has(made),
        lambda each: each.tree_of(made),
        lambda each: each.parents(made),
        lambda each: each.diff(base, made, 1000),
        lambda each: each.changed_paths(base, made),
        lambda each: each.is_ancestor(base, made),
        lambda each: each.show(made, "new.txt"),
        lambda each: listing(each.objects, made),
    ]
    for number, question in enumerate(asked):
        assert await question(of_home(store, origin, f"home{number}")), number
    packing = of_home(store, origin, "packing")
    await packing.fetch()
    await packing.pack(tmp_path / "pack", made, [base])
    assert (tmp_path / "pack").stat().st_size > 32


async def test_a_base_that_moved_meanwhile_is_fetched(store: Store, origin: Path) -> None:
    one, other = of_home(store, origin, "one"), of_home(store, origin, "other")
    await other.fetch()
    tip = advance(origin, {"a.txt": "two\n"})
    assert await other.tree_of(tip), "nobody shared it: the repository has it"
    newer = advance(origin, {"a.txt": "three\n"})
    assert await one.fetch() == newer
    made = await change(one, newer, "on the newer one")
    await one.share(made, "t1")
    assert await other.parents(made) == [newer]


async def test_nothing_is_shared_of_what_the_repository_has(store: Store, origin: Path) -> None:
    one = of_home(store, origin, "one")
    await one.share(await one.fetch(), "t1")
    assert await store.read(names) == 0


async def test_a_damaged_pack_is_said_and_leaves_no_commit(store: Store, origin: Path) -> None:
    one, other = of_home(store, origin, "one"), of_home(store, origin, "other")
    made = await change(one, await one.fetch(), "ours")
    await one.share(made, "t1")
    await store.write(lambda tx: tx.connection.execute(update(blob_chunks).values(data=b"PACK")))
    with pytest.raises(Unavailable, match="damaged"):
        await other.has(made)
    assert git(other.mirror, "cat-file", "--batch-all-objects", "--batch-check").count(made) == 0


async def test_a_commit_whose_base_is_gone_is_not_taken_in(store: Store, origin: Path) -> None:
    """The branch was rewritten, and the old commits are gone: a commit without its history is worse than none."""
    one, other = of_home(store, origin, "one"), of_home(store, origin, "other")
    first = await one.fetch()
    tip = advance(origin, {"a.txt": "two\n"})
    await one.fetch()
    made = await change(one, tip, "ours")
    await one.share(made, "t1")
    git(origin, "update-ref", "refs/heads/main", first)
    git(origin.with_suffix(".work"), "reset", "--quiet", "--hard", first)
    advance(origin, {"a.txt": "another two\n"})
    git(origin, "reflog", "expire", "--expire=now", "--all")
    git(origin, "gc", "--quiet", "--prune=now")
    with pytest.raises(Unavailable, match=f"{tip}, which it was made on, is no longer in the repository"):
        await other.has(made)
    again = await change(one, tip, "made after the branch was rewritten")
    await one.fetch()
    await one.share(again, "t1")
    assert await other.has(again), "such a one brings its own history"
    git(other.mirror, "fsck", "--strict", "--no-dangling")
