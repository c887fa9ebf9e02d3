"""Git LFS: what lands is the pointer that ``git add`` would have stored, and its object reaches the repository."""

from __future__ import annotations

import hashlib
import os
import shutil
from collections.abc import AsyncIterator
from dataclasses import replace
from pathlib import Path

import pytest

from fleet.errors import Refused, Unavailable
from fleet.git import kept, lfs, merging
from fleet.git.handed_over import TreeRefused
from fleet.git.large_files import FilesPlaced
from fleet.git.lfs import Pointer
from fleet.git.moving import Move
from fleet.git.repository import Repository
from fleet.git.shared import shared_repository
from fleet.git.taking import Exceptions
from fleet.git.workspace import Workspaces
from fleet.landing.base_branch import BaseBranch, Swapped
from fleet.machines.local import LocalExecutor
from fleet.machines.runner.trees import check
from fleet.shared_commits import StoredPacks
from fleet.store.blob_tables import blob_chunks
from fleet.store.core import Store
from tests.contracts.test_taking import Ground
from tests.contracts.test_workspace import Limits
from tests.far_end.repositories import advance, git, make_bare

OLD_PICTURE = b"old picture" * 20
OLD = Pointer(hashlib.sha256(OLD_PICTURE).hexdigest(), len(OLD_PICTURE))
PICTURE = b"\x89PNG\r\n" + bytes(range(256)) * 400


def of(data: bytes) -> Pointer:
    return Pointer(hashlib.sha256(data).hexdigest(), len(data))


def place(git_dir: Path, pointer: Pointer) -> Path:
    return git_dir / "lfs" / "objects" / pointer.oid[:2] / pointer.oid[2:4] / pointer.oid


@pytest.fixture
async def ground(tmp_path: Path) -> AsyncIterator[Ground]:
    rule = "*.png filter=lfs diff=lfs merge=lfs -text\n"
    bare = make_bare(tmp_path / "origin.git", {".gitattributes": rule, "old.png": OLD.text, "a.txt": "1\n"})
    place(bare, OLD).parent.mkdir(parents=True)
    place(bare, OLD).write_bytes(OLD_PICTURE)
    repository = Repository("p", str(bare), "main", tmp_path / "home" / "p.git")
    machine = LocalExecutor("near", root=str(tmp_path / "agent"))
    base = await repository.fetch()
    work = Path(await Workspaces(Limits).prepare(machine, repository, base, "t1.1"))
    yield Ground(repository, machine, work, base)
    await machine.close()


async def test_a_large_file_lands_as_its_pointer_and_its_object_is_there_before(ground: Ground) -> None:
    ground.write({"sub/new.png": PICTURE, "old.png": b"another picture", "a.txt": "2\n"})
    (ground.path / "sub/new.png").chmod(0o755)
    made = await ground.taken()
    assert await ground.changes(made) == {("A", "sub/new.png"), ("M", "old.png"), ("M", "a.txt")}
    assert await ground.bytes_of(made, "sub/new.png") == of(PICTURE).text
    assert await ground.bytes_of(made, "old.png") == of(b"another picture").text
    listed = git(ground.repository.mirror, "ls-tree", made.commit, "sub/new.png")
    assert listed.startswith("100755 ")
    bare = Path(ground.repository.url)
    assert not place(bare, of(PICTURE)).exists(), "nothing of it is there before it lands"
    await BaseBranch(ground.repository).swap(ground.base, made.commit)
    assert place(bare, of(PICTURE)).read_bytes() == PICTURE
    assert place(bare, of(b"another picture")).read_bytes() == b"another picture"


async def test_the_worktree_is_safe_when_its_pointers_are(ground: Ground) -> None:
    ground.write({"new.png": PICTURE})
    made = await ground.taken()
    workspaces = Workspaces(Limits)
    where = (ground.machine, ground.repository, ground.base, str(ground.path))
    assert await workspaces.tree_now(*where) == made.tree
    ground.write({"new.png": PICTURE + b"more"})
    assert await workspaces.tree_now(*where) != made.tree


async def test_what_git_lfs_leaves_as_it_is_stays_so(ground: Ground) -> None:
    """The file that a pointer stands for is no change; an empty file and a link are stored as they are; a pointer
    that was moved is the same pointer."""
    ground.write({"old.png": OLD_PICTURE})
    assert (await ground.taken()).empty
    (ground.path / "old.png").write_bytes(OLD.text)
    (ground.path / "old.png").rename(ground.path / "moved.png")
    ground.write({"empty.png": b""})
    (ground.path / "link.png").symlink_to("moved.png")
    made = await ground.taken()
    assert await ground.bytes_of(made, "moved.png") == OLD.text
    assert await ground.bytes_of(made, "empty.png") == b""
    assert git(ground.repository.mirror, "cat-file", "blob", f"{made.commit}:link.png") == "moved.png"


async def test_a_rule_of_the_change_itself_hides_nothing(ground: Ground) -> None:
    """The gates read the tree: where the change could choose what is a pointer, they would read pointers."""
    ground.write({"evil/.gitattributes": "*.py filter=lfs\n", "evil/x.py": "import os; os._exit(0)\n"})
    with pytest.raises(TreeRefused, match=r"'evil/x.py' belongs into Git LFS by a rule .* that this change adds"):
        await ground.taken()
    ground.write({".gitattributes": "", "evil/.gitattributes": "", "new.png": PICTURE})
    made = await ground.taken()
    assert await ground.bytes_of(made, "new.png") == PICTURE, "the change takes the rule back, for all to see"


async def test_a_pointer_to_nothing_goes_back(ground: Ground) -> None:
    ground.write({"new.png": of(b"nobody has this").text})
    with pytest.raises(TreeRefused, match=r"'new.png' is a pointer of Git LFS to a file that nobody has"):
        await ground.taken()
    assert await ground.bytes_of(await ground.taken(Exceptions(raw_filters=("lfs",))), "new.png") is not None


async def test_a_worktree_has_the_files_and_what_is_unchanged_is_not_sent(ground: Ground) -> None:
    """Its own git does not call them changed; a deletion, another mode and other bytes are changes."""
    assert (ground.path / "old.png").read_bytes() == OLD_PICTURE
    assert git(ground.path, "status", "--porcelain") == ""
    workspaces = Workspaces(lambda: Limits(snapshot_bytes=100))
    where = (ground.machine, ground.repository, ground.base, str(ground.path))
    assert (await workspaces.snapshot(*where, "m", 0)).empty, "what is unchanged is not too large"
    (ground.path / "old.png").chmod(0o755)
    made = await ground.taken()
    assert await ground.changes(made) == {("M", "old.png")}
    assert await ground.bytes_of(made, "old.png") == OLD.text
    (ground.path / "old.png").unlink()
    assert await ground.changes(await ground.taken()) == {("D", "old.png")}


async def test_a_gates_checkout_has_the_files_and_its_tree_is_the_raw_one(ground: Ground) -> None:
    ground.write({"it's new.png": PICTURE, "old.png": b"another picture"})
    made = await ground.taken()
    workspaces = Workspaces(Limits)
    tree = await workspaces.checkout(ground.machine, ground.repository, made.commit, "t1")
    placed = await workspaces.put_large(ground.machine, ground.repository, tree, made.commit, ground.base)
    assert placed == FilesPlaced(("it's new.png", "old.png"))
    assert Path(tree, "it's new.png").read_bytes() == PICTURE
    assert Path(tree, "old.png").read_bytes() == b"another picture"
    large = [f"{tree}/{path}" for path in placed.paths]
    assert check([(tree, made.tree)], (), large) == (made.tree, "")
    Path(tree, "old.png").write_bytes(b"another pictur3")
    assert check([(tree, made.tree)], (), large)[1], "the supervisor sees that it is not the object"


async def test_an_object_that_was_changed_on_the_machine_is_sent_again(ground: Ground) -> None:
    workspaces = Workspaces(Limits)
    (kept,) = Path(ground.machine.root, "lfs").iterdir()
    kept.write_bytes(b"evil object")
    tree = await workspaces.checkout(ground.machine, ground.repository, ground.base, "t1")
    await workspaces.put_large(ground.machine, ground.repository, tree, ground.base, ground.base)
    assert Path(tree, "old.png").read_bytes() == OLD_PICTURE == kept.read_bytes()


async def test_a_pointer_whose_object_is_gone_stays_and_is_named(ground: Ground) -> None:
    place(Path(ground.repository.url), OLD).unlink()
    shutil.rmtree(Path(ground.machine.root, "lfs"))
    workspaces = Workspaces(Limits)
    tree = await workspaces.checkout(ground.machine, ground.repository, ground.base, "t1")
    placed = await workspaces.put_large(ground.machine, ground.repository, tree, ground.base, ground.base)
    assert placed == FilesPlaced((), ("old.png",))
    assert Path(tree, "old.png").read_bytes() == OLD.text


async def test_a_rule_of_the_change_puts_no_object_in_place(ground: Ground) -> None:
    """Code in an object would run in the gate, and no layer would have read it."""
    ground.write({"new.png": b"import os; os._exit(0)"})
    await ground.taken()
    (ground.path / "new.png").unlink()
    ground.write({".gitattributes": "*.p* filter=lfs\n", "conftest.py": of(b"import os; os._exit(0)").text})
    made = await ground.taken()
    workspaces = Workspaces(Limits)
    tree = await workspaces.checkout(ground.machine, ground.repository, made.commit, "t1")
    placed = await workspaces.put_large(ground.machine, ground.repository, tree, made.commit, ground.base)
    assert placed.paths == ("old.png",)
    assert Path(tree, "conftest.py").read_bytes() == of(b"import os; os._exit(0)").text


async def test_a_move_onto_a_new_base_brings_its_large_files(ground: Ground) -> None:
    ground.write({"mine.png": PICTURE})
    made = await ground.taken()
    bare = Path(ground.repository.url)
    newer = of(b"newer picture")
    place(bare, newer).parent.mkdir(parents=True, exist_ok=True)
    place(bare, newer).write_bytes(b"newer picture")
    advance(bare, {"old.png": newer.text})
    base = await ground.repository.fetch()
    merged = await merging.merge(ground.repository, base, made.commit)
    move = Move(made.commit, await ground.repository.commit_tree(merged.tree, (base,), "merged\n", 0), base)
    await Workspaces(Limits).move(ground.machine, ground.repository, str(ground.path), move)
    assert (ground.path / "old.png").read_bytes() == b"newer picture"
    assert (ground.path / "mine.png").read_bytes() == PICTURE
    assert git(ground.path, "status", "--porcelain") == "A  mine.png"


FAKE = """#!/bin/sh
# git-lfs, as far as Airboss needs it.
if [ "$1 $2" = "fetch ssh://there/x.git" ]; then cp -R "THERE/." "$GIT_DIR/lfs/objects/"; exit 0; fi
[ "$1 $2" = "push --object-id" ] || exit 9
remote=$3; shift 3
case $remote in *broken*) echo "batch response: no access" >&2; exit 2;; esac
for oid; do cat "$GIT_DIR"/lfs/objects/*/*/"$oid" > "${remote#file://}/$oid"; done
"""


async def test_objects_go_to_a_remote_by_git_lfs(
    ground: Ground, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    programs, there = tmp_path / "bin", tmp_path / "there"
    programs.mkdir()
    there.mkdir()
    for name in ("git", "sh", "cat"):
        (programs / name).symlink_to(
            next(Path(d) / name for d in ("/usr/bin", "/bin") if (Path(d) / name).exists())
        )
    monkeypatch.setenv("PATH", str(programs))
    repository = Repository("p", ground.repository.url, "main", ground.repository.mirror)
    ground.write({"new.png": PICTURE})
    await ground.taken()
    with pytest.raises(Refused, match="git-lfs is not installed on the controller"):
        await lfs.push(repository, f"file://{there}", [of(PICTURE)])
    (programs / "git-lfs").write_text(FAKE)
    (programs / "git-lfs").chmod(0o755)
    await lfs.push(repository, f"file://{there}", [of(PICTURE)])
    assert (there / of(PICTURE).oid).read_bytes() == PICTURE
    with pytest.raises(Unavailable, match="no access"):
        await lfs.push(repository, "ssh://broken/x.git", [of(PICTURE)])


async def test_objects_come_from_a_remote_by_git_lfs(
    ground: Ground, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Where the program is missing the files stay pointers; the work goes on."""
    programs = tmp_path / "bin"
    programs.mkdir()
    for name in ("git", "sh", "cp"):
        (programs / name).symlink_to(str(shutil.which(name)))
    monkeypatch.setenv("PATH", str(programs))
    repository = Repository("p", "ssh://there/x.git", "main", ground.repository.mirror)
    assert await lfs.bring(repository, ground.base, [OLD]) == {}
    (programs / "git-lfs").write_text(FAKE.replace("THERE", f"{ground.repository.url}/lfs/objects"))
    (programs / "git-lfs").chmod(0o755)
    (repository.mirror / "lfs" / "objects").mkdir(parents=True)
    (here,) = (await lfs.bring(repository, ground.base, [OLD, of(b"nobody has this")])).items()
    assert (here[0], here[1].read_bytes()) == (OLD, OLD_PICTURE)


def test_a_pointer_is_read_as_it_is_written_and_nothing_else_is_one() -> None:
    pointer = of(b"x")
    assert lfs.read_pointer(pointer.text) == pointer
    for other in (
        b"",
        pointer.text + b"more\n",
        pointer.text.replace(b"sha256", b"md5"),
        pointer.text.replace(b"oid", b"ext-0-fold sha256:aa\noid"),
        pointer.text.upper(),
        os.urandom(200),
    ):
        assert lfs.read_pointer(other) is None


async def test_objects_of_a_change_that_another_controller_took_are_delivered(
    store: Store, ground: Ground, tmp_path: Path
) -> None:
    bare = Path(ground.repository.url)
    one, other = (
        shared_repository("p", str(bare), "main", tmp_path / name / "p.git", StoredPacks(store))
        for name in ("one", "other")
    )
    ground.write({"new.png": PICTURE})
    made = await replace(ground, repository=one).taken()
    await kept.keep(one, "t1.1", made.commit, "t1")
    assert await other.has(made.commit)
    swapped = await BaseBranch(other).swap(ground.base, made.commit)
    assert swapped == Swapped(made.commit)
    assert place(bare, of(PICTURE)).read_bytes() == PICTURE, "it was in the home of the other alone"


async def test_a_damaged_object_lands_nothing(store: Store, ground: Ground, tmp_path: Path) -> None:
    bare = Path(ground.repository.url)
    one, other = (
        shared_repository("p", str(bare), "main", tmp_path / name / "p.git", StoredPacks(store))
        for name in ("one", "other")
    )
    ground.write({"new.png": PICTURE})
    made = await replace(ground, repository=one).taken()
    await kept.keep(one, "t1.1", made.commit, "t1")
    assert await other.has(made.commit)
    await store.write(lambda tx: tx.connection.execute(blob_chunks.update().values(data=b"other")))
    with pytest.raises(Unavailable, match="damaged"):
        await BaseBranch(other).swap(ground.base, made.commit)
    assert git(bare, "rev-parse", "main") == ground.base
