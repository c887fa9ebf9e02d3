"""The helper that takes a tree out of a foreign pack: names, links, and packs made by hand."""

from __future__ import annotations

import hashlib
import json
import marshal
import os
import struct
import subprocess
import sys
import tempfile
import zlib
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fleet.config import Limits
from fleet.git import unpack
from fleet.git.command import Git
from fleet.git.handed_over import TreeRefused
from fleet.git.repository import Repository
from fleet.git.workspace import Workspaces
from tests.far_end.repositories import git, make_bare

KINDS = {"commit": 1, "tree": 2, "blob": 3}


def object_id(kind: str, data: bytes) -> str:
    return hashlib.sha1(f"{kind} {len(data)}\0".encode() + data).hexdigest()


def tree(*entries: tuple[str, bytes, str]) -> bytes:
    return b"".join(mode.encode() + b" " + name + b"\0" + bytes.fromhex(oid) for mode, name, oid in entries)


def pack(*objects: tuple[str, bytes], count: int | None = None) -> bytes:
    """A git pack of whole objects, or one whose header lies about how many there are."""
    out = b"PACK" + struct.pack(">II", 2, len(objects) if count is None else count)
    for kind, data in objects:
        size, first = len(data), KINDS[kind] << 4 | len(data) & 15
        size >>= 4
        while size:
            out += bytes([first | 0x80])
            first, size = size & 127, size >> 7
        out += bytes([first]) + zlib.compress(data)
    return out + hashlib.sha1(out).digest()


BLOB = b"hello\n"
BLOB_ID = object_id("blob", BLOB)
ROOMY = {"bytes": 1 << 20, "objects": 100, "paths": 100, "seconds": 20}


class Helper:
    """Runs the real helper over a mirror whose base tree holds ``base.txt`` alone."""

    def __init__(self, tmp_path: Path) -> None:
        self.mirror = make_bare(tmp_path / "mirror.git", {"base.txt": "base\n"})
        self.base = git(self.mirror, "rev-parse", "main^{tree}")
        self.file = tmp_path / "handed"
        self.env = Git()

    def state(self) -> list[str]:
        return sorted(str(path) for path in self.mirror.rglob("*"))

    def run(self, data: bytes, wanted: str, limits: dict[str, int] = ROOMY) -> dict[str, Any]:
        self.file.write_bytes(data)
        with tempfile.TemporaryDirectory(dir=self.mirror) as quarantine:
            asked = {
                "git": list(self.env.command), "env": dict(self.env.env), "mirror": str(self.mirror),
                "quarantine": quarantine, "pack": str(self.file), "offset": 0, "tree": wanted,
                "base_tree": self.base, "limits": limits,
            }  # fmt: skip
            ended = subprocess.run(
                [sys.executable, "-I", "-S", "-E", unpack.__file__],
                input=marshal.dumps(asked),
                capture_output=True,
                check=False,
            )
        assert ended.returncode == 0, ended.stderr.decode()
        answer: dict[str, Any] = json.loads(ended.stdout)
        return answer

    def refused(self, data: bytes, wanted: str, limits: dict[str, int] = ROOMY) -> str:
        before = self.state()
        answer = self.run(data, wanted, limits)
        assert self.state() == before, "a refused pack changed the mirror"
        return str(answer["refused"])


@pytest.fixture
def helper(tmp_path: Path) -> Helper:
    return Helper(tmp_path)


def one(mode: str, name: bytes, oid: str) -> tuple[str, bytes]:
    """The id and bytes of a tree with one entry."""
    data = tree((mode, name, oid))
    return object_id("tree", data), data


def test_a_good_tree_comes_in_and_nothing_else_does(helper: Helper) -> None:
    wanted, data = one("100644", b"a", BLOB_ID)
    stray = b"not in the tree"
    forged = f"tree {wanted}\nauthor A <a@b> 1 +0000\ncommitter A <a@b> 1 +0000\n\nx\n".encode()
    answer = helper.run(pack(("tree", data), ("blob", BLOB), ("blob", stray), ("commit", forged)), wanted)
    assert answer == {"new_objects": 2, "paths": 1}
    assert git(helper.mirror, "cat-file", "blob", f"{wanted}:a") == "hello"
    for kind, content in (("blob", stray), ("commit", forged)):
        with pytest.raises(AssertionError):
            git(helper.mirror, "cat-file", "-e", object_id(kind, content))
    assert git(helper.mirror, "fsck", "--strict", "--no-dangling") == ""


async def test_a_helper_that_was_killed_leaves_nothing(tmp_path: Path) -> None:
    program = tmp_path / "git"
    program.write_text('#!/bin/sh\ncase " $* " in *" index-pack "*) kill -9 $PPID;; esac\nexec git "$@"\n')
    program.chmod(0o755)
    mirror, handed = make_bare(tmp_path / "mirror.git", {"base.txt": "base\n"}), tmp_path / "handed"
    repository = Repository("p", str(mirror), "main", mirror, Git(str(program)))
    base = git(mirror, "rev-parse", "main")
    wanted, data = one("100644", b"a", BLOB_ID)
    handed.write_bytes(pack(("tree", data), ("blob", BLOB)))
    with pytest.raises(TreeRefused, match="at a limit"):
        await Workspaces(Limits).accept(repository, handed, wanted, base, "here")
    assert not list(mirror.glob("quarantine-*"))


def test_objects_the_mirror_has_need_not_be_sent(helper: Helper) -> None:
    base_blob = git(helper.mirror, "rev-parse", "main:base.txt")
    wanted, data = one("100644", b"moved.txt", base_blob)
    assert helper.run(pack(("tree", data)), wanted)["paths"] == 1


@pytest.mark.parametrize(
    ("data", "words"),
    [
        (b"", "not a pack"),
        (b"hello, I am no pack at all", "not a pack"),
        (pack(("blob", BLOB))[:-9], ""),
        (pack(("blob", BLOB), count=7), ""),
        (pack(("blob", BLOB), count=101), "101 objects; only 100 are allowed"),
        (pack(("blob", BLOB), count=2**32 - 1), "are allowed"),
        (pack(("blob", BLOB))[:30] + b"\xff" * 40, ""),
    ],
)
def test_broken_packs(helper: Helper, data: bytes, words: str) -> None:
    assert words in helper.refused(data, one("100644", b"a", BLOB_ID)[0])


def test_an_incomplete_tree(helper: Helper) -> None:
    wanted, data = one("100644", b"a", object_id("blob", b"never sent"))
    assert helper.refused(pack(("tree", data)), wanted)
    assert "not complete" in helper.refused(pack(("blob", BLOB)), wanted)
    assert "not complete" in helper.refused(pack(), wanted)


def test_an_object_of_another_kind(helper: Helper) -> None:
    wanted, data = one("40000", b"dir", BLOB_ID)
    assert helper.refused(pack(("tree", data), ("blob", BLOB)), wanted)
    assert "not a tree" in helper.refused(pack(("blob", BLOB)), BLOB_ID)
    sub_id, sub = one("100644", b"a", BLOB_ID)
    wanted, data = one("100644", b"file", sub_id)
    assert helper.refused(pack(("tree", data), ("tree", sub), ("blob", BLOB)), wanted)


ODD = [
    b".git", b".GIT", b".Git", b"git~1", b"GIT~1", b".git ", b".git.", b".git...", b".git::$INDEX_ALLOCATION",
    ".g\u200cit".encode(), ".git\ufeff".encode(), b".", b"..", b"x\\.git", b"..\\up",
]  # fmt: skip


@pytest.mark.parametrize("name", ODD)
def test_names_that_some_file_system_reads_otherwise(helper: Helper, name: bytes) -> None:
    assert unpack.name_problem(name)
    inner_id, inner = one("100644", b"config", BLOB_ID)
    as_file = ("100644", BLOB_ID, [("blob", BLOB)])
    as_directory = ("40000", inner_id, [("tree", inner), ("blob", BLOB)])
    for mode, oid, objects in (as_file, as_directory):
        wanted, data = one(mode, name, oid)
        assert helper.refused(pack(("tree", data), *objects), wanted)
        nested, outer = one("40000", b"deep", wanted)
        assert helper.refused(pack(("tree", outer), ("tree", data), *objects), nested)


@pytest.mark.parametrize(
    "name",
    [b"-rf", b"--help", b'quo"te\'s', b"new\nline", b"tab\t", b"\xff\xfe", b"\x1b[31m", b".gitignore", b".github",
     b"git", b"...", b"a..b", b":colon", b"$(id)", "ü".encode(), b"con", b" "],
)  # fmt: skip
def test_ugly_names_are_names(helper: Helper, name: bytes) -> None:
    assert unpack.name_problem(name) == ""
    wanted, data = one("100644", name, BLOB_ID)
    assert helper.run(pack(("tree", data), ("blob", BLOB)), wanted)["paths"] == 1


def test_two_files_of_one_name(helper: Helper) -> None:
    other = b"other\n"
    data = tree(("100644", b"a", BLOB_ID), ("100644", b"a", object_id("blob", other)))
    assert helper.refused(pack(("tree", data), ("blob", BLOB), ("blob", other)), object_id("tree", data))


def test_a_submodule(helper: Helper) -> None:
    wanted, data = one("160000", b"vendor", "1" * 40)
    assert "git repository inside the workspace" in helper.refused(pack(("tree", data)), wanted)
    data = tree(("100644", b".gitmodules", BLOB_ID), ("160000", b"vendor", "1" * 40))
    taken = helper.run(pack(("tree", data), ("blob", BLOB)), object_id("tree", data))
    assert taken["paths"] == 2, "its commit is no object of this repository"


@pytest.mark.parametrize("target", [b"/etc/passwd", b"..", b"../x", b"a/../../x", b"a/../b", b"./../x", b"//x"])
def test_links_out_of_the_tree(helper: Helper, target: bytes) -> None:
    wanted, data = one("120000", b"link", object_id("blob", target))
    assert "points out" in helper.refused(pack(("tree", data), ("blob", target)), wanted)


@pytest.mark.parametrize("target", [b"a", b"a/b", b"../a", b"./x", b".."])
def test_links_inside_the_tree(helper: Helper, target: bytes) -> None:
    sub_id, sub = one("120000", b"link", object_id("blob", target))
    wanted, data = one("40000", b"dir", sub_id)
    assert helper.run(pack(("tree", data), ("tree", sub), ("blob", target)), wanted)["paths"] == 2


def test_one_tree_many_times_over(helper: Helper) -> None:
    """Ten levels of ten times the same: eleven objects that would fill any disk."""
    objects, below, mode = [("blob", BLOB)], BLOB_ID, "100644"
    for _ in range(10):
        data = tree(*((mode, f"d{n}".encode(), below) for n in range(10)))
        objects.append(("tree", data))
        below, mode = object_id("tree", data), "40000"
    assert "more than 100 changed paths" in helper.refused(pack(*objects), below)


def test_a_very_deep_tree(helper: Helper) -> None:
    objects, below, mode = [("blob", BLOB)], BLOB_ID, "100644"
    for _ in range(2_500):
        below, data = one(mode, b"d", below)
        objects.append(("tree", data))
        mode = "40000"
    limits = ROOMY | {"objects": 10_000, "paths": 10_000}
    assert "longer than 4096" in helper.refused(pack(*objects), below, limits)


def test_one_big_file_under_many_names_counts_each_time(helper: Helper) -> None:
    big = bytes(400_000)
    data = tree(*(("100644", name, object_id("blob", big)) for name in (b"a", b"b", b"c")))
    assert "bytes of changed files" in helper.refused(pack(("tree", data), ("blob", big)), object_id("tree", data))


def test_a_pack_above_its_bytes(helper: Helper) -> None:
    big = os.urandom(1_100_000)
    wanted, data = one("100644", b"a", object_id("blob", big))
    assert "exceeds maximum" in helper.refused(pack(("tree", data), ("blob", big)), wanted)


def test_a_base_with_odd_names_of_its_own_may_keep_them(tmp_path: Path) -> None:
    """Only what a change brings is judged: a submodule and an outward link of the base stay as they are."""
    helper = Helper(tmp_path)
    link = git(helper.mirror, "hash-object", "-w", "--stdin", stdin=b"/etc/hosts")
    listed = f"120000 blob {link}\tlink\n160000 commit {'1' * 40}\tvendor\n"
    helper.base = git(helper.mirror, "mktree", "--missing", stdin=listed.encode())
    data = tree(("100644", b"a", BLOB_ID), ("120000", b"link", link), ("160000", b"vendor", "1" * 40))
    assert helper.run(pack(("tree", data), ("blob", BLOB)), object_id("tree", data))["paths"] == 1


@given(st.binary(max_size=60), st.integers(0, 5))
def test_a_link_that_is_let_through_stays_inside(target: bytes, depth: int) -> None:
    here = ["root", *(f"d{n}" for n in range(depth))]
    if unpack.leaves_tree(target, depth) or b"\0" in target:
        return
    for part in target.split(b"/"):
        if part == b"..":
            here.pop()
        elif part not in (b"", b"."):
            here.append("x")
        assert here[:1] == ["root"]


@given(st.binary(max_size=80))
def test_a_tree_of_any_bytes_is_read_or_refused(data: bytes) -> None:
    try:
        for mode, name, oid in unpack.entries(data):
            assert b"\0" not in name
            assert len(oid) == 40
            assert b" " not in mode
    except unpack.PackRefused:
        pass
