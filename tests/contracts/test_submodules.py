"""Submodules: in their places in a worktree and in a gate's checkout, from where the base says; never landed."""

from __future__ import annotations

import shutil
from collections.abc import AsyncIterator
from dataclasses import replace
from functools import partial
from pathlib import Path

import pytest

from fleet.git import merging, submodules
from fleet.git.handed_over import TreeRefused
from fleet.git.moving import Move
from fleet.git.repository import Repository
from fleet.git.shared import shared_repository
from fleet.git.submodule_changes import SubmoduleChange, SubmoduleChangeKind, changes
from fleet.git.taking import Exceptions
from fleet.git.workspace import Workspaces
from fleet.machines.runner.trees import check
from fleet.shared_commits import StoredPacks
from fleet.store.core import Store
from tests.contracts.nested import LIB, Nest, gitmodules, grounded, nest_in, record
from tests.contracts.test_taking import Ground
from tests.contracts.test_workspace import Limits
from tests.far_end.repositories import commit, git, make_bare, make_work


@pytest.fixture(name="nest")
def own_nest(tmp_path: Path) -> Nest:
    return nest_in(tmp_path / "nest")


@pytest.fixture
async def ground(nest: Nest) -> AsyncIterator[Ground]:
    async with grounded(nest) as there:
        yield there


# --- in their places ------------------------------------------------------------------------------------


async def test_a_worktree_has_its_submodules_and_git_there_calls_nothing_changed(
    ground: Ground, nest: Nest
) -> None:
    assert (ground.path / "vendor/lib/include/lib.h").read_text() == LIB["include/lib.h"]
    assert (ground.path / "vendor/lib/deep/deep.txt").read_text() == "deep\n"
    assert git(ground.path, "status", "--porcelain") == ""
    said = git(ground.path, "submodule", "status", "--recursive")
    assert [line.split()[0] for line in said.splitlines()] == [nest.lib, nest.deep], "neither - nor + before it"
    git(ground.path, "submodule", "update", "--init", "--recursive")
    assert (await ground.taken()).empty


async def test_a_gates_checkout_has_them_and_its_tree_is_the_raw_one(ground: Ground) -> None:
    ground.write({"a.txt": "2\n"})
    made = await ground.taken()
    tree = Path(await Workspaces(Limits).checkout(ground.machine, ground.repository, made.commit, "g1"))
    assert (tree / "vendor/lib/deep/deep.txt").read_text() == "deep\n" and not list(tree.rglob(".git"))
    found = await submodules.listed(ground.repository, made.commit)
    links = [(f"{tree}/{each.path}", each.commit, each.tree) for each in found]
    assert check([(str(tree), made.tree)], submodules=links) == (made.tree, "")
    assert check([(str(tree), made.tree)])[1], "what nobody named is no submodule"
    for path in ("vendor/lib/lib.c", "vendor/lib/deep/deep.txt"):
        before = (tree / path).read_bytes()
        (tree / path).write_bytes(b"evil")
        assert check([(str(tree), made.tree)], submodules=links)[1], "each byte of them counts"
        (tree / path).write_bytes(before)
    (tree / "vendor/lib/conftest.py").write_text("evil")
    assert check([(str(tree), made.tree)], submodules=links)[1]


async def test_a_kept_checkout_is_moved_with_its_submodules(ground: Ground, nest: Nest) -> None:
    """Only the file that differs is written; one that a submodule lost goes."""
    workspaces, store = Workspaces(Limits), ground.repository
    place = Path(await workspaces.kept_checkout(ground.machine, store, ground.base, "g1"))
    same = (place / "tree/vendor/lib/deep/deep.txt").stat().st_ino
    await workspaces.put_back(ground.machine, store, "g1", await store.tree_of(ground.base))
    moved = nest.advance_lib({"lib.c": "int moved;\n"})
    record(nest.bare, {}, vendor__lib=moved)
    base = await store.fetch()
    await submodules.bring(store, base)
    place = Path(await workspaces.kept_checkout(ground.machine, store, base, "g2"))
    assert (place / "tree/vendor/lib/lib.c").read_text() == "int moved;\n"
    assert (place / "tree/vendor/lib/deep/deep.txt").stat().st_ino == same, "it was not filled anew"
    found = await submodules.listed(store, base)
    links = [(f"{place}/tree/{each.path}", each.commit, each.tree) for each in found]
    tree = await store.tree_of(base)
    assert check([(f"{place}/tree", tree)], submodules=links) == (tree, "")


async def test_a_repository_here_gives_what_it_has_checked_out(nest: Nest) -> None:
    """As ``git submodule update`` left it: nobody has to be reached."""
    clone = nest.folder / "clone"
    allowed = {"GIT_CONFIG_KEY_0": "protocol.file.allow", "GIT_CONFIG_VALUE_0": "always"}
    git(nest.folder, "clone", "--quiet", "--recurse-submodules", str(nest.bare), str(clone), env=allowed)
    (nest.folder / "lib.git").rename(nest.folder / "gone.git")
    repository = Repository("p", str(clone), "main", nest.folder / "other" / "p.git")
    assert [*await submodules.bring(repository, await repository.fetch())] == ["vendor/lib", "vendor/lib/deep"]


async def test_another_controller_brings_them_for_itself(store: Store, ground: Ground, nest: Nest) -> None:
    other = shared_repository("p", str(nest.bare), "main", nest.folder / "other" / "p.git", StoredPacks(store))
    work = Path(await Workspaces(Limits).prepare(ground.machine, other, await other.fetch(), "t2.1"))
    assert (work / "vendor/lib/deep/deep.txt").exists()


async def test_nothing_is_put_behind_a_link_nor_over_what_the_agent_has_there(ground: Ground, nest: Nest) -> None:
    outside = nest.folder / "outside"
    (outside / "lib").mkdir(parents=True)
    shutil.rmtree(ground.path / "vendor")
    (ground.path / "vendor").symlink_to(outside)
    prepare = partial(Workspaces(Limits).prepare, ground.machine, ground.repository, ground.base, "t1.1")
    await prepare()
    assert list((outside / "lib").iterdir()) == []
    (ground.path / "vendor").unlink()
    inside = ground.path / "vendor/lib"
    inside.mkdir(parents=True)
    (inside / "mine.txt").write_text("mine\n")
    await prepare()
    assert [each.name for each in inside.iterdir()] == ["mine.txt"]


async def test_one_that_was_being_filled_when_its_machine_died_is_filled_anew(ground: Ground) -> None:
    inside = ground.path / "vendor/lib"
    (inside / ".git/airboss-filled").rename(inside / ".git/airboss-filling")
    (inside / "lib.c").unlink()
    await Workspaces(Limits).prepare(ground.machine, ground.repository, ground.base, "t1.1")
    assert (inside / "lib.c").read_text() == LIB["lib.c"] and (inside / ".git/airboss-filled").exists()


# --- what an agent does ---------------------------------------------------------------------------------


async def test_what_was_changed_inside_is_said_and_not_taken(ground: Ground) -> None:
    ground.write(
        {"a.txt": "2\n", "vendor/lib/lib.c": "int mine;\n", "vendor/lib/new.c": "1", "vendor/lib/x.o": "1"}
    )
    made = await ground.taken()
    assert await ground.changes(made) == {("M", "a.txt")}
    assert made.left_out == ("what was changed inside the submodule 'vendor/lib' (files: 2)",)
    assert made.told == ("what was changed inside the submodule 'vendor/lib' (files: 2): it is not taken",)
    (ground.path / "a.txt").write_text("1\n")
    made = await ground.taken()
    assert made.empty and made.told
    where = (ground.machine, ground.repository, ground.base, str(ground.path))
    assert await Workspaces(Limits).tree_now(*where) == "", "a worktree with it is never reclaimed"
    git(ground.path / "vendor/lib", "checkout", "--quiet", "--force", ".")
    (ground.path / "vendor/lib/new.c").unlink()
    assert await Workspaces(Limits).tree_now(*where) == await ground.repository.tree_of(ground.base)


async def test_what_is_deep_inside_is_said_too_and_size_is_no_matter(ground: Ground) -> None:
    ground.write({"vendor/lib/deep/deep.txt": "other\n", "vendor/lib/deep/large.bin": bytes(5_000_000)})
    made = await Workspaces(lambda: Limits(snapshot_bytes=100_000)).snapshot(
        ground.machine, ground.repository, ground.base, str(ground.path), "m", 0
    )
    assert made.empty and made.left_out == ("what was changed inside the submodule 'vendor/lib/deep' (files: 2)",)


async def test_what_is_behind_a_link_is_nothing_of_the_submodule(ground: Ground) -> None:
    kept = Exceptions(kept_out=("vendor/lib",))
    ground.write({"other/lib/x.c": "1"})
    shutil.rmtree(ground.path / "vendor/lib")
    (ground.path / "vendor/lib").symlink_to("../other/lib")
    assert (await ground.taken(kept)).told == ()
    (ground.path / "vendor/lib").unlink()
    (ground.path / "vendor").rmdir()
    (ground.path / "vendor").symlink_to("other")
    assert (await ground.taken(kept)).told == ()


async def test_a_commit_that_only_the_worktree_has_goes_back(ground: Ground) -> None:
    inside = ground.path / "vendor/lib"
    (inside / "lib.c").write_text("int mine;\n")
    made = commit(inside, {})
    with pytest.raises(TreeRefused, match=rf"'vendor/lib' is recorded at {made}, which .*lib.git does not have"):
        await ground.taken()


async def test_a_commit_that_its_repository_has_is_taken_and_in_its_place(ground: Ground, nest: Nest) -> None:
    moved = nest.advance_lib({"lib.c": "int moved;\n"})
    inside = ground.path / "vendor/lib"
    git(inside, "fetch", "--quiet", str(nest.folder / "lib.git"), "main")
    git(inside, "checkout", "--quiet", "--detach", moved)
    made = await ground.taken()
    assert await changes(ground.repository, ground.base, made.commit) == (
        SubmoduleChange("vendor/lib", SubmoduleChangeKind.MOVED, nest.lib, moved),
    )
    assert made.told == (f"'vendor/lib' is a submodule that the change moves from {nest.lib[:12]} to {moved[:12]}",)
    tree = Path(await Workspaces(Limits).checkout(ground.machine, ground.repository, made.commit, "g1"))
    assert (tree / "vendor/lib/lib.c").read_text() == "int moved;\n"


async def test_one_that_is_removed_is_said(ground: Ground, nest: Nest) -> None:
    shutil.rmtree(ground.path / "vendor")
    made = await ground.taken()
    assert made.told == (f"'vendor/lib' is a submodule that the change removes; it was at {nest.lib[:12]}",)


async def test_a_clone_that_was_left_there_goes_back(ground: Ground) -> None:
    make_work(ground.path / "tools", {"x": "1"})
    for named in (gitmodules(vendor__lib="../lib.git"), "[submodule\n"):  # a broken one is its agent's to mend, too
        ground.write({".gitmodules": named})
        with pytest.raises(TreeRefused, match="'tools' is a git repository inside the workspace"):
            await ground.taken()


async def test_one_that_is_added_has_no_address_that_counts(ground: Ground, nest: Nest) -> None:
    """It is held, and nothing is fetched: a change could name any repository that the controller can read."""
    private = make_bare(nest.folder / "private.git", {"secret": "1"})
    git(ground.path, "clone", "--quiet", str(private), "extra")
    ground.write({".gitmodules": gitmodules(vendor__lib="../lib.git", extra="../private.git")})
    made = await ground.taken()
    at = git(private, "rev-parse", "main")
    assert await changes(ground.repository, ground.base, made.commit) == (
        SubmoduleChange("extra", SubmoduleChangeKind.ADDED, "", at),
        SubmoduleChange(".gitmodules", SubmoduleChangeKind.ADDRESSES),
    )
    tree = Path(await Workspaces(Limits).checkout(ground.machine, ground.repository, made.commit, "g1"))
    assert list((tree / "extra").iterdir()) == []
    found = await submodules.listed(ground.repository, made.commit)
    assert [each.path for each in found if not each.tree] == ["extra"]
    links = [(f"{tree}/{each.path}", each.commit, each.tree) for each in found]
    assert check([(str(tree), made.tree)], submodules=links) == (made.tree, "")


async def test_a_name_that_some_file_systems_take_for_gitmodules_is_said_too(nest: Nest) -> None:
    repository = Repository("p", str(nest.bare), "main", nest.folder / "home" / "p.git")
    base = await repository.fetch()
    blob = git(repository.mirror, "hash-object", "-w", "--stdin", stdin=b"")
    rows = f"{git(repository.mirror, 'ls-tree', base)}\n100644 blob {blob}\t.GITMODULES\n"
    tree = git(repository.mirror, "mktree", stdin=rows.encode())
    assert await changes(repository, base, tree) == (SubmoduleChange(".gitmodules", SubmoduleChangeKind.ADDRESSES),)


async def test_an_address_of_the_change_is_not_asked(ground: Ground, nest: Nest) -> None:
    """It records a commit that only its own address has."""
    evil = make_bare(nest.folder / "evil.git", {"conftest.py": "import os; os._exit(0)\n"})
    inside = ground.path / "vendor/lib"
    git(inside, "fetch", "--quiet", str(evil), "main")
    git(inside, "checkout", "--quiet", "--detach", "FETCH_HEAD")
    ground.write({".gitmodules": gitmodules(vendor__lib="../evil.git")})
    with pytest.raises(TreeRefused, match=r"which .*/lib\.git does not have"):
        await ground.taken()


async def test_a_move_onto_a_new_base_moves_submodules_too(ground: Ground, nest: Nest) -> None:
    """What was changed inside is moved aside, not lost. No git runs by settings that an agent wrote."""
    ran = nest.folder / "ran"
    git(ground.path / "vendor/lib", "config", "core.fsmonitor", f"touch {ran}; false")
    ground.write({"a.txt": "2\n", "vendor/lib/lib.c": "int mine;\n"})
    made = await ground.taken()
    moved = nest.advance_lib({"lib.c": "int moved;\n"})
    named = gitmodules(vendor__lib="../lib.git", extra="../deep.git")
    record(nest.bare, {"b.txt": "b\n", ".gitmodules": named}, vendor__lib=moved, extra=nest.deep)
    base = await ground.repository.fetch()
    await submodules.bring(ground.repository, base)
    merged = await merging.merge(ground.repository, base, made.commit)
    move = Move(made.commit, await ground.repository.commit_tree(merged.tree, (base,), "merged\n", 0), base)
    for _ in range(2):
        await Workspaces(Limits).move(ground.machine, ground.repository, str(ground.path), move)
        assert (ground.path / "vendor/lib/lib.c").read_text() == "int moved;\n"
        assert (ground.path / "vendor/lib/deep/deep.txt").exists() and (ground.path / "extra/deep.txt").exists()
        aside = ground.path / ".git/airboss-replaced/vendor/lib/lib.c"
        assert aside.read_text() == "int mine;\n"
    assert not ran.exists()
    after = await replace(ground, base=base).taken()
    assert (after.told, after.tree) == ((), merged.tree)


async def test_a_move_onto_a_base_without_it_removes_it(ground: Ground, nest: Nest) -> None:
    ground.write({"a.txt": "2\n"})
    made = await ground.taken()
    record(nest.bare, {".gitmodules": "", "vendor/lib.c": "int in_tree;\n"}, vendor__lib="")
    base = await ground.repository.fetch()
    merged = await merging.merge(ground.repository, base, made.commit)
    move = Move(made.commit, await ground.repository.commit_tree(merged.tree, (base,), "merged\n", 0), base)
    for _ in range(2):
        await Workspaces(Limits).move(ground.machine, ground.repository, str(ground.path), move)
    assert not (ground.path / "vendor/lib").exists()
    assert (await replace(ground, base=base).taken()).tree == merged.tree
