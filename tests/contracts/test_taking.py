"""What a snapshot takes: no litter, ends of lines as ``git add`` stores them, nothing that a filter rewrites."""

from __future__ import annotations

import os
import re
import shutil
from collections.abc import AsyncIterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from fleet.errors import MachineFull, Unavailable
from fleet.exits import Exited
from fleet.git.handed_over import TreeRefused, WorktreeGone
from fleet.git.moving import Move
from fleet.git.repository import Repository
from fleet.git.taking import CONFLICT, GONE, LITTER, REPLACED, RULES_BYTES, Exceptions, read_header
from fleet.git.workspace import Snapshot, Workspaces
from fleet.machines.local import LocalExecutor
from fleet.ports import Ran
from tests.contracts.test_workspace import WHEN, Limits
from tests.far_end.repositories import git, make_bare

POINTER = "version https://git-lfs.github.com/spec/v1\noid sha256:" + "a" * 64 + "\nsize 4\n"
NAMED = ("-c", "user.name=a", "-c", "user.email=a@b")
BASE: dict[str, str | bytes] = {
    "app.py": "x = 1\n",
    "old.txt": b"a\r\nb\r\n",
    "dos.txt": "a\nb\n",
    "raw.bin": b"a\r\n",
    "tracked/__pycache__/kept.pyc": "1",
    "thing": "a file\n",
    "place/inside": "a file\n",
    "sealed.key": "sealed\n",
    ".env.test": "A=base\n",
    ".gitattributes": "*.txt text eol=crlf\n*.bin -text\n*.png filter=lfs diff=lfs merge=lfs -text\n"
    "*.key filter=git-crypt\n/*.sh filter=evil\n",
}


@dataclass
class Ground:
    repository: Repository
    machine: LocalExecutor
    path: Path
    base: str

    async def taken(self, exceptions: Exceptions | None = None) -> Snapshot:
        return await Workspaces(Limits).snapshot(
            self.machine, self.repository, self.base, str(self.path), "m", WHEN, exceptions or Exceptions()
        )

    async def now(self) -> str:
        return await Workspaces(Limits).tree_now(self.machine, self.repository, self.base, str(self.path))

    async def changes(self, made: Snapshot) -> set[tuple[str, str]]:
        return {(each.status, each.path) for each in await self.repository.changed_paths(self.base, made.commit)}

    async def bytes_of(self, made: Snapshot, path: str) -> bytes | None:
        return await self.repository.show(made.commit, path)

    def write(self, files: dict[str, str | bytes]) -> None:
        for name, data in files.items():
            (self.path / name).parent.mkdir(parents=True, exist_ok=True)
            (self.path / name).write_bytes(data.encode() if isinstance(data, str) else data)


@pytest.fixture
async def ground(tmp_path: Path) -> AsyncIterator[Ground]:
    bare = make_bare(tmp_path / "origin.git", BASE)
    work = bare.with_suffix(".work")  # a file from before there was a .gitattributes
    blob = git(work, "hash-object", "-w", "--no-filters", "old.txt")
    git(work, "update-index", "--cacheinfo", f"100644,{blob},old.txt")
    git(work, "commit", "--quiet", "--message", "old")
    git(work, "push", "--quiet", "origin", "main")
    repository = Repository("p", str(bare), "main", tmp_path / "home" / "p.git")
    machine = LocalExecutor("near", root=str(tmp_path / "agent"))
    base = await repository.fetch()
    yield Ground(
        repository, machine, Path(await Workspaces(Limits).prepare(machine, repository, base, "t1.1")), base
    )
    await machine.close()


async def test_litter_is_left_out_and_named(ground: Ground) -> None:
    ground.write(
        {
            "app.py": "x = 2\n",
            "tests/__pycache__/test_app.pyc": "1",
            "src/__pycache__/app.pyc": "1",
            ".pytest_cache/v/cache": "1",
            "web/node_modules/left-pad/index.js": "1",
            ".DS_Store": "1",
            "shop.egg-info/PKG-INFO": "1",
            "tracked/__pycache__/kept.pyc": "2",
        }
    )
    git(ground.path, "add", "--all")
    made = await ground.taken()
    assert await ground.changes(made) == {("M", "app.py"), ("M", "tracked/__pycache__/kept.pyc")}
    assert set(made.left_out) == {
        "__pycache__ (2)", ".pytest_cache", "node_modules", ".DS_Store", "*.egg-info"
    }  # fmt: skip


async def test_what_a_setup_made_is_not_named_as_litter(ground: Ground) -> None:
    ground.write({".venv/lib/x/__pycache__/x.pyc": "1", "a/__pycache__/a.pyc": "1", ".venv-old/__pycache__/x": "1"})
    made = await ground.taken(Exceptions(made=(".venv", "web/node_modules")))
    assert made.left_out == ("__pycache__ (2)",)
    assert await ground.changes(made) == set()


async def test_litter_that_the_agent_forces_or_the_repository_wants_is_taken(ground: Ground) -> None:
    ground.write({"a/__pycache__/forced.pyc": "1", "b/__pycache__/other.pyc": "1", ".coverage": "1"})
    git(ground.path, "add", "--force", "a/__pycache__/forced.pyc")
    git(ground.path, "-c", "user.name=a", "-c", "user.email=a@b", "commit", "--quiet", "-m", "mine")
    ground.write({".gitignore": "!.coverage\n"})
    made = await ground.taken()
    assert await ground.changes(made) == {
        ("A", "a/__pycache__/forced.pyc"),
        ("A", ".gitignore"),
        ("A", ".coverage"),
    }
    assert made.left_out == ("__pycache__",)


async def test_what_a_sparse_checkout_of_the_agent_hides_is_not_deleted(ground: Ground) -> None:
    git(ground.path, "sparse-checkout", "set", "--no-cone", "/app.py", "/thing")
    hidden = ground.path / "tracked" / "__pycache__" / "kept.pyc"
    assert not hidden.exists()
    (ground.path / "thing").unlink()
    ground.write({"app.py": "x = 2\n"})
    assert await ground.changes(await ground.taken()) == {("M", "app.py"), ("D", "thing")}
    ground.write({"tracked/__pycache__/kept.pyc": "written all the same"})
    assert ("M", "tracked/__pycache__/kept.pyc") in await ground.changes(await ground.taken())
    hidden.unlink()
    git(ground.path, "rm", "--cached", "--quiet", "--sparse", "tracked/__pycache__/kept.pyc")
    assert ("D", "tracked/__pycache__/kept.pyc") in await ground.changes(await ground.taken())


@pytest.mark.parametrize("name", [".gitignore", "sub/.gitattributes", ".git/config"])
async def test_git_is_not_left_waiting_for_a_pipe_in_place_of_its_rules(ground: Ground, name: str) -> None:
    ground.write({"app.py": "x = 2\n", "sub/kept": "1"})
    place = ground.path / name
    place.unlink(missing_ok=True)
    os.mkfifo(place)
    with pytest.raises(TreeRefused, match="named pipe"):
        await ground.taken()
    with pytest.raises(TreeRefused, match="named pipe"):
        await ground.now()


async def test_a_link_in_place_of_the_worktree_is_not_followed(ground: Ground, tmp_path: Path) -> None:
    away = tmp_path / "away"
    ground.path.rename(away)
    for linked in (False, True):
        if linked:
            ground.path.symlink_to(away)
        with pytest.raises(WorktreeGone):
            await ground.taken()
        with pytest.raises(WorktreeGone):
            await ground.now()
    with pytest.raises(Unavailable, match=GONE):
        await Workspaces(Limits).move(
            ground.machine, ground.repository, str(ground.path), Move(ground.base, ground.base, ground.base)
        )
    await Workspaces(Limits).discard(ground.machine, str(ground.path))
    assert not ground.path.is_symlink()
    ground.path.symlink_to(away)
    again = await Workspaces(Limits).prepare(ground.machine, ground.repository, ground.base, "t1.1")
    assert not Path(again).is_symlink(), "nor does a session start in it"
    assert (away / "app.py").exists()


async def test_rules_that_git_would_read_for_minutes_go_back_unless_the_base_has_them(ground: Ground) -> None:
    ground.write({"sub/.gitignore": "x\n" * (RULES_BYTES // 2 + 1)})
    with pytest.raises(TreeRefused, match=r"sub/\.gitignore.*bytes of rules"):
        await ground.taken()
    ground.write({"sub/.gitignore": "x\n" * (RULES_BYTES // 2)})
    made = await ground.taken()
    assert await ground.changes(made) == {("A", "sub/.gitignore")}


async def test_a_merge_that_its_agent_did_not_finish_goes_back(ground: Ground) -> None:
    """What the agent edited or added is as it wants it, markers or not."""
    ground.write({"app.py": "x = 2\n"})
    git(ground.path, *NAMED, "stash", "--quiet")
    ground.write({"app.py": "x = 3\n"})
    git(ground.path, *NAMED, "commit", "--quiet", "--all", "-m", "mine")
    with pytest.raises(AssertionError, match="git"):
        git(ground.path, *NAMED, "stash", "pop", "--quiet")
    with pytest.raises(TreeRefused, match=r"app\.py.*" + CONFLICT):
        await ground.taken()
    git(ground.path, "add", "app.py")
    assert b"<<<<<<<" in (await ground.bytes_of(await ground.taken(), "app.py") or b"")
    git(ground.path, "reset", "--quiet")
    ground.write({"app.py": "x = 4\n"})
    assert await ground.bytes_of(await ground.taken(), "app.py") == b"x = 4\n"


async def test_work_that_the_worktree_does_not_show_is_named(ground: Ground) -> None:
    assert (await ground.taken()).elsewhere == ()
    ground.write({"app.py": "x = 2\n"})
    git(ground.path, *NAMED, "stash", "--quiet")
    made = await ground.taken()
    assert (made.empty, made.elsewhere) == (True, ("the stash",))
    assert await ground.now() == ""  # it is not safe to remove
    git(ground.path, *NAMED, "stash", "pop", "--quiet")
    assert (await ground.taken()).elsewhere == ()
    git(ground.path, *NAMED, "commit", "--quiet", "--all", "-m", "mine")
    mine = git(ground.path, "rev-parse", "HEAD").strip()
    git(ground.path, "checkout", "--quiet", "--detach", "HEAD~1")
    assert (await ground.taken()).elsewhere == (f"commit {mine[:12]}",)
    git(ground.path, "branch", "feature", mine)
    assert (await ground.taken()).elsewhere == ("branch 'feature'",)


async def test_litter_alone_is_no_change_and_what_the_repository_ignores_is_not_named(ground: Ground) -> None:
    ground.write({"a/__pycache__/a.pyc": "1"})
    made = await ground.taken()
    assert made.empty
    assert made.left_out == ("__pycache__",)
    ground.write({".gitignore": "__pycache__/\nbuild/\n", "build/b": "1"})
    assert (await ground.taken()).left_out == ()


async def test_ends_of_lines_are_stored_as_git_add_stores_them(ground: Ground) -> None:
    """What the agent did not touch stays as it is, however it is stored."""
    (ground.path / "thing").unlink()
    (ground.path / "place" / "inside").unlink()
    (ground.path / "place").rmdir()
    ground.write({"thing/inside": "1", "place": "1"})
    ground.write({"dos.txt": "a\r\nB\r\n", "new.txt": "n\r\n", "raw.bin": b"b\r\n", "other": "o\r\n"})
    ground.write({"sub/.gitattributes": "* text=auto\n", "sub/x": "x\r\n", "sub/y": b"\0\r\n"})
    made = await ground.taken()
    assert ("M", "old.txt") not in await ground.changes(made)
    assert await ground.bytes_of(made, "old.txt") == BASE["old.txt"]
    stored = {
        path: await ground.bytes_of(made, path) for path in ("dos.txt", "new.txt", "raw.bin", "other", "sub/x")
    }
    assert stored == {
        "dos.txt": b"a\nB\n", "new.txt": b"n\n", "raw.bin": b"b\r\n", "other": b"o\r\n", "sub/x": b"x\n"
    }  # fmt: skip
    assert await ground.bytes_of(made, "sub/y") == b"\0\r\n"
    assert {("D", "thing"), ("A", "thing/inside"), ("D", "place/inside"), ("A", "place")} <= await ground.changes(
        made
    )


FILTERED: list[tuple[str, bytes, str]] = [
    ("sealed.key", b"plain\n", "'sealed.key' goes through the filter 'git-crypt'"),
    ("new/logo.gif", b"GIF", "'new/logo.gif' belongs into Git LFS"),
    ("run.sh", b"x\n", "'run.sh' goes through the filter 'evil'"),
    ("new/x.sh", b"x\n", ""),
    ("logo.png", POINTER.encode(), "'logo.png' is a pointer of Git LFS to a file that nobody has"),
]


async def test_what_a_filter_would_store_otherwise_goes_back_and_no_filter_runs(
    ground: Ground, tmp_path: Path
) -> None:
    ground.write({"new/.gitattributes": "*.sh filter=other\n*.gif filter=lfs\n"})
    git(ground.path, "config", "filter.evil.clean", f"touch {tmp_path / 'ran'}; cat")
    for path, data, words in FILTERED:
        ground.write({path: data})
        if words:
            with pytest.raises(TreeRefused, match=re.escape(words)):
                await ground.taken()
        made = await ground.taken(Exceptions(raw_filters=("lfs", "git-crypt", "evil") if words else ()))
        assert await ground.bytes_of(made, path) == data
        git(ground.path, "clean", "--quiet", "-f", "--", path)
        git(ground.path, "checkout", "--quiet", "--force", "HEAD")
    assert not (tmp_path / "ran").exists()


ODD: list[tuple[str, bytes, str]] = [
    ("wide.txt", "é\n".encode("utf-16"), "'wide.txt' is stored as UTF-8 here"),
    ("wide.txt", "e\n".encode("utf-16-le"), "'wide.txt' is stored as UTF-8 here"),
    ("wide.txt", "é\n".encode(), ""),
    (".GIT/x", b"1", "invalid path '.GIT/x'"),
    ("huge.bin", bytes(Limits.snapshot_bytes + 2), "unable to index file './huge.bin': it is too large"),
]


@pytest.mark.parametrize(("path", "data", "words"), ODD)
async def test_what_git_could_not_store_goes_back(ground: Ground, path: str, data: bytes, words: str) -> None:
    ground.write({".gitattributes": "wide.txt working-tree-encoding=UTF-16\n", path: data})
    if words:
        with pytest.raises(TreeRefused, match=re.escape(words)):
            await ground.taken()
    else:
        assert await ground.bytes_of(await ground.taken(), path) == data


async def test_a_huge_file_that_is_not_taken_is_in_nobodys_way(ground: Ground) -> None:
    """What the repository ignores, what tools leave behind, and what a setup made."""
    huge = ("data/core.dump", "web/node_modules/x", "made here/lib/torch.so", "[odd].dump")
    ground.write({".gitignore": "*.dump\n", "app.py": "x = 2\n", **dict.fromkeys(huge, "")})
    for path in huge:
        os.truncate(ground.path / path, Limits.snapshot_bytes + 2)
    made = await ground.taken(Exceptions(made=("made here",)))
    assert await ground.changes(made) == {("A", ".gitignore"), ("M", "app.py")}


async def test_what_nobody_can_store_is_left_out_and_odd_names_are_kept(ground: Ground) -> None:
    os.mkfifo(ground.path / "pipe")
    (ground.path / "loop").symlink_to("loop")
    ground.write(
        {".gitattributes": "*.c ident\n*.txt text\n", "i.c": "/* $Id: 1 $ */\n", "README": "1", "readme": "2"}
    )
    ground.write({"new\nline.txt": b"x\r\n", 'd\nd/tab\t"q".c': "$Id: 2 $"})
    made = await ground.taken()
    added = {path for status, path in await ground.changes(made) if status == "A"}
    assert added == {"loop", "i.c", "README", "readme", "new\nline.txt", 'd\nd/tab\t"q".c'}
    stored = [await ground.bytes_of(made, path) for path in ("i.c", "new\nline.txt", 'd\nd/tab\t"q".c')]
    assert stored == [b"/* $Id$ */\n", b"x\n", b"$Id$"]


async def test_the_operators_files_never_enter(ground: Ground) -> None:
    ground.write({".env.test": "A=secret\n", "web/.env.local": "B=secret\n", "app.py": "x = 2\n"})
    git(ground.path, "add", "--force", ".env.test", "web/.env.local")
    made = await ground.taken(Exceptions(kept_out=(".env.test", "web/.env.local")))
    assert await ground.changes(made) == {("M", "app.py")}


class Deaf(LocalExecutor):
    """A machine that takes everything, whatever it is asked to leave."""

    async def run(self, argv: Sequence[str], **options: Any) -> Ran:
        return await super().run([*argv[:9], "0"] if "snapshot" in argv else argv, **options)


async def test_the_operators_files_are_refused_from_a_machine_that_sends_them(ground: Ground) -> None:
    ground.write({".env.test": "A=secret\n"})
    ground.machine = Deaf("near", root=ground.machine.root)
    with pytest.raises(TreeRefused, match=r"'\.env\.test' is the operator's file"):
        await ground.taken(Exceptions(kept_out=(".env.test",)))
    await ground.machine.close()


def test_a_header_is_read_whatever_the_machine_sends() -> None:
    header = b"airboss-tree " + b"a" * 40 + b" 00000021\n"
    good = b"/x/info/exclude\x001\0.DS_Store\0evil\n/.DS_Store\0"
    taken = read_header(header.replace(b"00000021", b"%08d" % len(good)) + good + b"PACK")
    assert taken is not None
    assert (taken.left_out, taken.offset) == ((".DS_Store",), 63 + len(good))
    assert read_header(header.replace(b"00000021", b"99999999")) is None
    assert read_header(header[:-1]) is None
    odd = read_header(header + b"\0\0\xff\0\0\0a\0\xfe\0\0\0\0\0\0\0\0\0\0")
    assert odd is not None
    assert odd.left_out == ()
    assert all(pattern == pattern.strip() for pattern in LITTER)


async def test_another_directory_in_the_worktrees_place_is_taken_and_told(ground: Ground) -> None:
    ground.write({"app.py": "x = 2\n"})
    assert (await ground.taken()).left_out == ()
    first = ground.path.rename(ground.path.with_name("first"))
    shutil.copytree(first, ground.path, symlinks=True)
    made = await ground.taken()
    assert made.left_out == (REPLACED,)
    assert await ground.changes(made) == {("M", "app.py")}


class Full(LocalExecutor):
    """A machine without any room."""

    async def run(self, argv: Sequence[str], **options: Any) -> Ran:
        return Ran(Exited(128), b"", b"fatal: unable to write loose object file: No space left on device\n")


async def test_work_that_its_full_disk_cannot_take_is_no_fault_of_the_agents(ground: Ground) -> None:
    ground.write({"app.py": "x = 2\n"})
    ground.machine = Full("near", root=ground.machine.root)
    with pytest.raises(MachineFull, match=r"the disk of near is full\. Free some space on near"):
        await ground.taken()
    await ground.machine.close()
