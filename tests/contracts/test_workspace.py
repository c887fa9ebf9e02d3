"""Workspaces on a machine: prepared once, handed over as a tree, checked out for gates byte for byte."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from collections.abc import AsyncIterator, Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import pytest

from fleet.errors import Misused, Refused
from fleet.git.handed_over import TreeRefused
from fleet.git.repository import Repository
from fleet.git.taking import unreadable
from fleet.git.workspace import Workspaces
from fleet.machines.local import LocalExecutor
from fleet.machines.login import LoginExecutor
from fleet.ports import Ran
from tests.contracts.executor_logins import far_end, opened
from tests.far_end.repositories import advance, git, make_bare
from tests.far_end.sshd import Sshd

WHEN = 1_700_000_500


@dataclass(frozen=True)
class Limits:
    snapshot_bytes: int = 8 << 20
    snapshot_objects: int = 1_000
    snapshot_paths: int = 500
    unpack_seconds: int = 30


@dataclass
class World:
    origin: Path
    repository: Repository
    agent: LoginExecutor
    gate: LoginExecutor
    workspaces: Workspaces


@pytest.fixture(scope="module")
def sshd() -> Iterator[Sshd]:
    with far_end() as server:
        yield server


def make_repository(tmp_path: Path) -> tuple[Path, Repository]:
    origin = make_bare(
        tmp_path / "origin.git",
        {"app.py": "x = 1\n", "tests/test_app.py": "assert x\n", ".gitignore": "build/\n*.pyc\n", "gone": "bye\n"},
    )
    return origin, Repository("p", str(origin), "main", tmp_path / "home" / "p.git")


@pytest.fixture(params=["local", "ssh"])
async def world(request: pytest.FixtureRequest, sshd: Sshd, tmp_path: Path) -> AsyncIterator[World]:
    origin, repository = make_repository(tmp_path)
    async with opened(request.param, sshd) as agent, opened(request.param, sshd) as gate:
        yield World(origin, repository, agent.executor(), gate.executor(), Workspaces(Limits))


class Counted(LocalExecutor):
    """Counts its commands: each is a trip to a machine."""

    trips = 0

    async def run(self, argv: Sequence[str], **options: Any) -> Ran:
        self.trips += 1
        return await super().run(argv, **options)


def tree_of_directory(path: Path, scratch: Path) -> str:
    """The tree id of a directory's bytes, found by a git that knows nothing of the project."""
    git(path.parent, "init", "--quiet", "--bare", str(scratch))
    where = ("--git-dir", str(scratch), "--work-tree", str(path))
    (scratch / "info").mkdir(exist_ok=True)
    (scratch / "info" / "attributes").write_text("* -text !filter !ident !eol !working-tree-encoding\n")
    git(path, *where, "add", "--all", "--force")
    return git(path, *where, "write-tree")


async def test_a_session_starts_from_the_base_and_is_found_again(world: World) -> None:
    base = await world.repository.fetch()
    path = Path(await world.workspaces.prepare(world.agent, world.repository, base, "t1.1"))
    assert (path / "app.py").read_text() == "x = 1\n"
    assert git(path, "rev-parse", "HEAD") == base
    (path / "app.py").write_text("half done")
    shutil.rmtree(path / "tests")
    again = await Workspaces(Limits).prepare(world.agent, world.repository, base, "t1.1")
    assert again == str(path)
    assert (path / "app.py").read_text() == "half done"
    assert not (path / "tests").exists()


async def test_a_half_made_worktree_is_made_again(world: World) -> None:
    """What a machine that lost power in mid-checkout leaves: a directory that no ``prepare`` ever finished."""
    base = await world.repository.fetch()
    path = Path(await world.workspaces.prepare(world.agent, world.repository, base, "t1.1"))
    (path.parent / ".ready" / "t1.1").unlink()
    (path / "app.py").unlink()
    await world.workspaces.prepare(world.agent, world.repository, base, "t1.1")
    assert (path / "app.py").exists()


async def test_a_machine_that_has_the_base_or_the_one_before_needs_one_trip(tmp_path: Path) -> None:
    origin, repository = make_repository(tmp_path)
    machine, workspaces = Counted("near", root=str(tmp_path / "agent")), Workspaces(Limits)
    base = await repository.fetch()
    await workspaces.prepare(machine, repository, base, "t1.1")
    assert machine.trips == 2
    await workspaces.prepare(machine, repository, base, "t2.1")
    assert machine.trips == 3
    for name in ("app.py", "tests/test_app.py", ".gitignore", "gone"):
        advance(origin, {name: "new\n"})
    base = await repository.fetch()
    path = await workspaces.prepare(machine, repository, base, "t3.1")
    assert machine.trips == 4
    assert git(Path(path), "rev-list", "--count", "HEAD") == "5"
    shutil.rmtree(tmp_path / "agent/repos")
    advance(origin, dict.fromkeys(("app.py", "tests/test_app.py", ".gitignore", "gone"), "newer\n"))
    base = await repository.fetch()
    path = await workspaces.prepare(machine, repository, base, "t4.1")
    assert git(Path(path), "rev-list", "--count", "HEAD") == "6", "all of it, though no file is as it was"
    assert machine.trips == 6
    await machine.close()


@pytest.mark.needs_root
async def test_agents_and_gates_of_other_logins(sshd: Sshd, tmp_path: Path) -> None:
    """The recommended way: the controller cannot read the agent's files, nor the agent the gate's."""
    _, repository = make_repository(tmp_path)
    workspaces, base = Workspaces(Limits), await repository.fetch()
    async with opened("other-login", sshd) as agent, opened("ssh", sshd) as gate:
        machine, judge = agent.executor(), gate.executor()
        path = await workspaces.prepare(machine, repository, base, "t1.1")
        await machine.run(["sh", "-c", "echo changed > app.py"], cwd=path)
        made = await workspaces.snapshot(machine, repository, base, path, "m", WHEN)
        place = await workspaces.checkout(judge, repository, made.commit, "run")
        assert await judge.read_file(f"{place}/app.py", 100) == b"changed\n"
        await workspaces.discard(machine, path)


async def test_a_later_base_is_sent_as_a_difference(world: World) -> None:
    big = os.urandom(200_000)
    advance(world.origin, {"big.bin": big})
    first = await world.repository.fetch()
    await world.workspaces.prepare(world.agent, world.repository, first, "t1.1")
    advance(world.origin, {"more": "little"})
    second = await world.repository.fetch()
    path = Path(await world.workspaces.prepare(world.agent, world.repository, second, "t2.1"))
    assert (path / "more").read_text() == "little"
    packs = sorted(
        pack.stat().st_size for pack in Path(world.agent.root, "repos/p.git/objects/pack").glob("*.pack")
    )
    assert packs[0] < 10_000 < 200_000 < packs[-1]


async def test_two_sessions_do_not_see_each_other(world: World) -> None:
    base = await world.repository.fetch()
    first = Path(await world.workspaces.prepare(world.agent, world.repository, base, "t1.1"))
    two = Path(await world.workspaces.prepare(world.agent, world.repository, base, "t2.1"))
    (first / "app.py").write_text("one")
    assert (two / "app.py").read_text() == "x = 1\n"


async def test_everything_but_ignored_files_is_taken(world: World) -> None:
    base = await world.repository.fetch()
    path = Path(await world.workspaces.prepare(world.agent, world.repository, base, "t1.1"))
    (path / "committed.py").write_text("c")
    git(path, "add", "committed.py")
    git(path, "-c", "user.name=a", "-c", "user.email=a@b", "commit", "--quiet", "-m", "mine")
    (path / "staged.py").write_text("s")
    git(path, "add", "staged.py")
    (path / "app.py").write_text("x = 2\n")
    (path / "gone").unlink()
    (path / "run.sh").write_text("#!/bin/sh\n")
    (path / "run.sh").chmod(0o755)
    (path / "link").symlink_to("tests/test_app.py")
    (path / "build").mkdir()
    (path / "build" / "out").write_text("ignored")
    (path / "junk.pyc").write_text("ignored")
    for name in ("forced.pyc", "forced and gone.pyc"):
        (path / name).write_text("ignored, and added all the same")
        git(path, "add", "--force", name)
    (path / "forced and gone.pyc").unlink()
    made = await world.workspaces.snapshot(world.agent, world.repository, base, str(path), "why\n", WHEN)
    changes = {(c.status, c.path) for c in await world.repository.changed_paths(base, made.commit)}
    assert changes == {
        ("A", "committed.py"), ("A", "staged.py"), ("M", "app.py"),
        ("D", "gone"), ("A", "run.sh"), ("A", "link"), ("A", "forced.pyc"),
    }  # fmt: skip
    listed = git(world.repository.mirror, "ls-tree", made.commit)
    assert "100755 blob" in next(line for line in listed.splitlines() if line.endswith("run.sh"))
    assert "120000 blob" in next(line for line in listed.splitlines() if line.endswith("link"))
    assert (made.files, made.deletions, made.empty) == (7, 2, False)
    words = git(world.repository.mirror, "cat-file", "commit", made.commit)
    assert words == (
        f"tree {made.tree}\nparent {base}\nauthor Airboss <airboss@localhost> {WHEN} +0000\n"
        f"committer Airboss <airboss@localhost> {WHEN} +0000\n\nwhy"
    )


async def test_the_same_work_gives_the_same_commit(world: World) -> None:
    base = await world.repository.fetch()
    path = await world.workspaces.prepare(world.agent, world.repository, base, "t1.1")
    Path(path, "app.py").write_text("x = 2\n")
    first = await world.workspaces.snapshot(world.agent, world.repository, base, path, "m", WHEN)
    assert await world.workspaces.snapshot(world.agent, world.repository, base, path, "m", WHEN) == first


async def test_nothing_done_is_an_empty_snapshot(world: World) -> None:
    base = await world.repository.fetch()
    path = await world.workspaces.prepare(world.agent, world.repository, base, "t1.1")
    made = await world.workspaces.snapshot(world.agent, world.repository, base, path, "m", WHEN)
    assert made.empty
    assert made.commit == base


async def test_an_agent_that_remakes_git_hands_over_its_files_all_the_same(world: World) -> None:
    base = await world.repository.fetch()
    path = Path(await world.workspaces.prepare(world.agent, world.repository, base, "t1.1"))
    shutil.rmtree(path / ".git")
    git(path, "init", "--quiet")
    (path / "app.py").write_text("x = 3\n")
    await world.workspaces.prepare(world.agent, world.repository, base, "t1.1")
    made = await world.workspaces.snapshot(world.agent, world.repository, base, str(path), "m", WHEN)
    assert [c.path for c in await world.repository.changed_paths(base, made.commit)] == ["app.py"]


async def test_a_gate_gets_the_trees_bytes_and_no_git(world: World, tmp_path: Path) -> None:
    base = await world.repository.fetch()
    path = Path(await world.workspaces.prepare(world.agent, world.repository, base, "t1.1"))
    (path / "crlf.txt").write_bytes(b"a\r\nb\n$Id$ $Format:%H$\n")
    (path / "lf.bat").write_bytes(b"a\nb\n")
    (path / ".gitattributes").write_text("* ident export-subst\nsecret export-ignore\n*.bat eol=crlf\n")
    (path / "secret").write_text("s")
    (path / "run.sh").write_text("#!/bin/sh\n")
    (path / "run.sh").chmod(0o755)
    (path / "link").symlink_to("secret")
    made = await world.workspaces.snapshot(world.agent, world.repository, base, str(path), "m", WHEN)
    place = Path(await world.workspaces.checkout(world.gate, world.repository, made.commit, "t1.1.1-tests"))
    assert (place / "crlf.txt").read_bytes() == b"a\r\nb\n$Id$ $Format:%H$\n"
    assert (place / "lf.bat").read_bytes() == b"a\nb\n"
    assert (place / "secret").exists()
    assert not (place / ".git").exists()
    assert tree_of_directory(place, tmp_path / "scratch") == made.tree
    assert os.listdir(place.parent) == ["tree"]


async def test_a_repeated_checkout_starts_anew(world: World) -> None:
    base = await world.repository.fetch()
    place = Path(await world.workspaces.checkout(world.gate, world.repository, base, "run"))
    (place / "app.py").write_text("a gate wrote here")
    (place / "left.over").write_text("x")
    assert await world.workspaces.checkout(world.gate, world.repository, base, "run") == str(place)
    assert (place / "app.py").read_text() == "x = 1\n"
    assert not (place / "left.over").exists()


async def test_discard_removes_only_ours(world: World) -> None:
    base = await world.repository.fetch()
    path = await world.workspaces.prepare(world.agent, world.repository, base, "t1.1")
    place = await world.workspaces.checkout(world.gate, world.repository, base, "run")
    await world.workspaces.discard(world.agent, path)
    await world.workspaces.discard(world.agent, path)
    await world.workspaces.discard(world.gate, place)
    assert not Path(path).exists()
    assert not Path(place).parent.exists()
    for foreign in ("/", world.agent.root, f"{world.agent.root}/work", f"{path}/../../repos", f"{path}/.."):
        with pytest.raises(Misused):
            await world.workspaces.discard(world.agent, foreign)
    again = await world.workspaces.prepare(world.agent, world.repository, base, "t1.1")
    assert Path(again, "app.py").exists()


async def test_a_name_is_never_a_path(world: World) -> None:
    base = await world.repository.fetch()
    for name in ("", "-rf", "../x", "a/b", "a\nb", ".hidden", "x" * 200):
        with pytest.raises(Misused):
            await world.workspaces.prepare(world.agent, world.repository, base, name)
        with pytest.raises(Misused):
            await world.workspaces.checkout(world.gate, world.repository, base, name)


async def test_each_limit_is_named_and_nothing_is_taken(world: World) -> None:
    """The limits are those in force, however long ago the workspaces were made."""
    base = await world.repository.fetch()
    path = Path(await world.workspaces.prepare(world.agent, world.repository, base, "t1.1"))
    for n in range(60):
        (path / f"f{n}").write_bytes(os.urandom(3_000))
    before = subprocess.check_output(["find", str(world.repository.mirror)])
    roomy = Limits()
    in_force = [roomy]
    workspaces = Workspaces(lambda: in_force[0])
    for limits, words in (
        (replace(roomy, snapshot_objects=40), "objects; only 40 are allowed"),
        (replace(roomy, snapshot_paths=40), "more than 40 changed paths"),
        (replace(roomy, snapshot_bytes=100_000), "more than 100000 bytes"),
    ):
        in_force[0] = limits
        with pytest.raises(Refused, match=words):
            await workspaces.snapshot(world.agent, world.repository, base, str(path), "m", WHEN)
        assert subprocess.check_output(["find", str(world.repository.mirror)]) == before
    made = await world.workspaces.snapshot(world.agent, world.repository, base, str(path), "m", WHEN)
    assert made.files == 60


async def test_what_compresses_well_counts_as_what_it_becomes(world: World) -> None:
    base = await world.repository.fetch()
    path = Path(await world.workspaces.prepare(world.agent, world.repository, base, "t1.1"))
    for n in range(5):
        (path / f"zeros{n}").write_bytes(bytes(700 << 10))
    tight = Workspaces(lambda: Limits(snapshot_bytes=1 << 20))
    with pytest.raises(Refused, match="bytes of changed files"):
        await tight.snapshot(world.agent, world.repository, base, str(path), "m", WHEN)
    for n in range(4):
        (path / f"again{n}").write_bytes(bytes(3 << 20))
    with pytest.raises(Refused, match="bytes of changed files"):
        await world.workspaces.snapshot(world.agent, world.repository, base, str(path), "m", WHEN)


_DEEPER_THAN_A_PATH = """
import os
for _ in range(50):
    os.mkdir("d" * 97)
    os.chdir("d" * 97)
open("f", "w").close()
"""


IN_THE_WAY = {
    "ln -s /usr/bin/python3 python": "the symbolic link 'python' points out of the repository",
    "git init -q vendor": "'vendor/' is a git repository inside the workspace",
    "git init -q v && cd v && git -c user.name=x -c user.email=x@x commit -q --allow-empty -m x": (
        "'v' is a git repository inside the workspace"
    ),
    "f=$(git ls-files | grep -v '^[.]' | head -n 1); rm -- $f; mkfifo -- $f": "can only add regular files",
    f"{sys.executable} -c '{_DEEPER_THAN_A_PATH}'": "could not open directory 'dddddddd",
}


async def test_a_tree_that_cannot_be_taken_says_what_is_in_the_way(world: World) -> None:
    base = await world.repository.fetch()
    for number, (make, words) in enumerate(IN_THE_WAY.items()):
        path = await world.workspaces.prepare(world.agent, world.repository, base, f"t{number}.1")
        subprocess.run(["sh", "-c", make], cwd=path, check=True)
        with pytest.raises(TreeRefused, match=words):
            await world.workspaces.snapshot(world.agent, world.repository, base, path, "m", WHEN)


@pytest.mark.parametrize(
    "words",
    [
        b'error: open("a"): Permission denied\nfatal: adding files failed',
        b"warning: could not open directory 'secret/': Permission denied",
        b"warning: could not open directory '" + b"d" * 4_000,
        b"error: unable to index file 'a'",
        b"warning: could not open directory 'mounted/': Transport endpoint is not connected",
        b"fatal: unable to stat 'a': Permission denied",
    ],
)
def test_what_git_cannot_read_is_named(words: bytes) -> None:
    """As root every file can be read, so these are git's own words from another login."""
    assert unreadable(words)


@pytest.mark.parametrize("what", [b"could not open directory 'a/'", b"unable to stat 'a'"])
def test_what_went_away_meanwhile_is_not_in_the_way(what: bytes) -> None:
    assert not unreadable(b"warning: " + what + b": No such file or directory\n")


async def test_a_worktree_that_is_gone_says_so(world: World) -> None:
    base = await world.repository.fetch()
    path = await world.workspaces.prepare(world.agent, world.repository, base, "t1.1")
    shutil.rmtree(path)
    with pytest.raises(Refused, match=r"t1\.1"):
        await world.workspaces.snapshot(world.agent, world.repository, base, path, "m", WHEN)


async def test_nothing_is_left_behind(world: World) -> None:
    base = await world.repository.fetch()
    path = await world.workspaces.prepare(world.agent, world.repository, base, "t1.1")
    Path(path, "app.py").write_text("x = 2\n")
    await world.workspaces.snapshot(world.agent, world.repository, base, path, "m", WHEN)
    await world.workspaces.checkout(world.gate, world.repository, base, "run")
    assert os.listdir(Path(world.agent.root, "tmp")) == []
    assert not [n for n in os.listdir(world.repository.mirror) if n.startswith(("quarantine", "transfer"))]
