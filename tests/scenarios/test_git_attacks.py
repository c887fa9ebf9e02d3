"""What an agent's shell can do to git on its machine, and that none of it changes what is judged or lands."""

from __future__ import annotations

import os
import shutil
import subprocess
from collections.abc import AsyncIterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from fleet.errors import Refused
from fleet.git import merging
from fleet.git.command import Git
from fleet.git.handed_over import WorktreeGone
from fleet.git.repository import Repository
from fleet.git.workspace import Snapshot, Workspaces
from fleet.landing.base_branch import BaseBranch, Swapped
from fleet.machines.local import LocalExecutor
from fleet.ports import Ran
from tests.far_end.repositories import advance, git, make_bare

WHEN = 1_700_000_500
HONEST = "from app import add\n\ndef test_add():\n    assert add(1, 2) == 3\n"
EVIL = "def test_add():\n    assert True\n"


@dataclass(frozen=True)
class Limits:
    snapshot_bytes: int = 8 << 20
    snapshot_objects: int = 1_000
    snapshot_paths: int = 500
    unpack_seconds: int = 30


@dataclass
class World:
    """A repository, an agent at work in its worktree, and the way back."""

    origin: Path
    repository: Repository
    agent: LocalExecutor
    gate: LocalExecutor
    workspaces: Workspaces
    base: str
    path: Path

    @property
    def clone(self) -> Path:
        return Path(self.agent.root, "repos", "p.git")

    async def session(self, name: str, base: str) -> Path:
        return Path(await self.workspaces.prepare(self.agent, self.repository, base, name))

    async def snapshot(self) -> Snapshot:
        return await self.workspaces.snapshot(self.agent, self.repository, self.base, str(self.path), "m", WHEN)

    async def checkout(self, commit: str) -> Path:
        return Path(await self.workspaces.checkout(self.gate, self.repository, commit, "run"))

    async def changed(self, made: Snapshot) -> set[tuple[str, str]]:
        return {(c.status, c.path) for c in await self.repository.changed_paths(self.base, made.commit)}

    def kept(self) -> tuple[bytes, str]:
        """All that an attack must not change: every file of the mirror, every ref of the repository."""
        listing = subprocess.check_output(["find", str(self.repository.mirror), "-type", "f", "-size", "+0"])
        return listing, git(self.origin, "for-each-ref")

    def loosen(self) -> None:
        """Turns the clone's packs into loose objects that can be overwritten one by one."""
        for pack in sorted((self.clone / "objects" / "pack").glob("*.pack")):
            moved = pack.rename(self.clone / pack.name)
            pack.with_suffix(".idx").unlink()
            with moved.open("rb") as data:
                subprocess.run(["git", "unpack-objects", "-q"], cwd=self.clone, stdin=data, check=True)

    def overwrite(self, object_id: str, content: bytes) -> None:
        """Puts another blob's bytes where ``object_id`` lies."""
        other = git(self.clone, "hash-object", "-w", "--stdin", stdin=content)
        target = self.clone / "objects" / object_id[:2] / object_id[2:]
        target.parent.mkdir(exist_ok=True)
        target.unlink(missing_ok=True)
        shutil.copy(self.clone / "objects" / other[:2] / other[2:], target)


@pytest.fixture
async def world(tmp_path: Path) -> AsyncIterator[World]:
    origin = make_bare(
        tmp_path / "origin.git",
        {"app.py": "def add(a, b):\n    return a - b\n", "tests/test_app.py": HONEST, "notes.txt": "old\n"},
    )
    repository = Repository("p", str(origin), "main", tmp_path / "home" / "p.git")
    agent = LocalExecutor("near", root=str(tmp_path / "agent"))
    gate = LocalExecutor("near", root=str(tmp_path / "gate"))
    workspaces, base = Workspaces(Limits), await repository.fetch()
    path = Path(await workspaces.prepare(agent, repository, base, "t1.1"))
    yield World(origin, repository, agent, gate, workspaces, base, path)
    await agent.close()
    await gate.close()


async def test_a_rewritten_blob_reaches_no_gate(world: World) -> None:
    world.loosen()
    test_id = git(world.clone, "rev-parse", f"{world.base}:tests/test_app.py")
    world.overwrite(test_id, EVIL.encode())
    assert git(world.clone, "cat-file", "blob", test_id) == EVIL.strip(), "the clone lies"
    (world.path / "app.py").write_text("def add(a, b):\n    return 7\n")
    made = await world.snapshot()
    assert await world.changed(made) == {("M", "app.py")}
    place = await world.checkout(made.commit)
    assert (place / "tests" / "test_app.py").read_text() == HONEST


async def test_a_worktree_filled_from_a_rewritten_clone_shows_its_difference(world: World) -> None:
    world.loosen()
    test_id = git(world.clone, "rev-parse", f"{world.base}:tests/test_app.py")
    world.overwrite(test_id, EVIL.encode())
    world.path = await world.session("t2.1", world.base)
    assert (world.path / "tests" / "test_app.py").read_text() == EVIL
    assert await world.changed(await world.snapshot()) == {("M", "tests/test_app.py")}


async def test_a_new_blob_that_was_rewritten_is_not_taken(world: World) -> None:
    """The tree names a blob whose bytes, as they arrive, are another's: then it is not there at all."""
    (world.path / "app.py").write_text("good\n")
    named = git(world.path, "hash-object", "-w", "app.py")
    world.overwrite(named, b"evil\n")
    before = world.kept()
    with pytest.raises(Refused, match=r"did not receive expected object|not complete"):
        await world.snapshot()
    assert world.kept() == before


async def test_replace_refs_and_grafts_are_not_looked_at(world: World) -> None:
    empty = git(world.clone, "mktree")
    forged = git(
        world.clone, "-c", "user.name=a", "-c", "user.email=a@b", "commit-tree", empty, "-m", "nothing was there"
    )
    app, evil = git(world.clone, "rev-parse", f"{world.base}:app.py"), b"evil\n"
    git(world.clone, "replace", app, git(world.clone, "hash-object", "-w", "--stdin", stdin=evil))
    git(world.clone, "replace", world.base, forged)
    assert git(world.clone, "ls-tree", world.base) == "", "the clone lies about its base"
    (world.path / "new.py").write_text("x")
    made = await world.snapshot()
    assert await world.changed(made) == {("A", "new.py")}
    place = await world.checkout(made.commit)
    assert (place / "app.py").read_text() == "def add(a, b):\n    return a - b\n"


async def test_a_forged_parent_does_not_revert_anothers_work(world: World) -> None:
    """Seen with the agent's own commit: parent main's tip, tree from before it; its merge undid another's file."""
    theirs = advance(world.origin, {"theirs.py": "their work\n", "notes.txt": "new\n"})
    current = await world.repository.fetch()
    assert current == theirs
    await world.session("t2.1", current)
    (world.path / "app.py").write_text("def add(a, b):\n    return a + b\n")
    git(world.path, "add", "--all")
    tree = git(world.path, "write-tree")
    forged = git(
        world.path, "-c", "user.name=a", "-c", "user.email=a@b", "commit-tree", tree, "-p", current, "-m", "mine"
    )
    git(world.path, "reset", "--quiet", "--hard", forged)
    git(world.clone, "fetch", "--quiet", str(world.path), "HEAD")
    git(world.clone, "update-ref", f"refs/airboss/base/{world.base}", forged)
    made = await world.snapshot()
    assert git(world.repository.mirror, "rev-list", "--parents", "-1", made.commit) == f"{made.commit} {world.base}"
    merged = await merging.merge(world.repository, current, made.commit)
    new = await merging.merge_commit(world.repository, merged.tree, current, made.commit, "land", WHEN)
    assert await BaseBranch(world.repository).swap(current, new) == Swapped(new)
    assert git(world.origin, "show", "main:theirs.py") == "their work"
    assert git(world.origin, "show", "main:notes.txt") == "new"
    assert git(world.origin, "show", "main:app.py").endswith("a + b")


async def test_attributes_do_not_come_between_the_tree_and_its_bytes(world: World) -> None:
    """A filter that shows the gate other bytes than it hands over, and files that an archive would leave out."""
    git(world.clone, "config", "filter.swap.clean", "sed s/evil/good/")
    git(world.clone, "config", "filter.swap.smudge", "sed s/good/evil/")
    git(world.clone, "config", "core.autocrlf", "true")
    (world.clone / "info" / "attributes").write_text("* filter=swap\n")
    (world.clone / "info" / "exclude").write_text("secret.py\n")
    (world.path / ".gitattributes").write_text(
        "[attr]sly filter=swap\n* sly ident\n*.txt text eol=crlf working-tree-encoding=UTF-16\n"
        "secret.py export-ignore\n"
    )
    contents = {
        "sly.py": b"evil = 1 # $Id$\n",
        "crlf.txt": b"one\r\ntwo\n",
        "secret.py": b"import os\n",
        "bin.dat": b"\xff\xfea\0",
    }
    for name, content in contents.items():
        (world.path / name).write_bytes(content)
    made = await world.snapshot()
    place = await world.checkout(made.commit)
    contents["crlf.txt"] = b"one\ntwo\n"  # the one conversion that there is: what `git add` would store
    for name, content in contents.items():
        assert await world.repository.show(made.commit, name) == content
        assert (place / name).read_bytes() == content
    patch = await world.repository.diff(world.base, made.commit, 1 << 20)
    assert b"+evil = 1" in patch


async def test_a_change_cannot_hide_itself_from_the_patch(world: World) -> None:
    (world.path / ".gitattributes").write_text("*.py -diff binary\n")
    (world.path / "app.py").write_text("evil\n")
    made = await world.snapshot()
    await world.repository.git.run(
        "update-ref", "HEAD", made.commit, attempted="let newer gits see it", git_dir=world.repository.mirror
    )
    assert b"+evil" in await world.repository.diff(world.base, made.commit, 1 << 20)


async def test_nothing_the_agent_configured_runs_for_us(world: World, tmp_path: Path) -> None:
    mark = tmp_path / "ran"
    script = tmp_path / "script"
    script.write_text(f"#!/bin/sh\necho ran >> '{mark}'\nexit 0\n")
    script.chmod(0o755)
    hooks = world.clone / "hooks"
    hooks.mkdir()
    for hook in ("post-checkout", "post-index-change", "reference-transaction", "pre-auto-gc", "post-commit"):
        shutil.copy(script, hooks / hook)
    for key, value in (
        ("core.hooksPath", str(hooks)), ("core.fsmonitor", str(script)), ("alias.add", f"!{script}"),
        ("alias.write-tree", f"!{script}"), ("core.sshCommand", str(script)), ("core.pager", str(script)),
        ("filter.x.clean", str(script)), ("uploadpack.packObjectsHook", str(script)),
    ):  # fmt: skip
        git(world.clone, "config", key, value)
    (world.path / ".gitattributes").write_text("* filter=x\n")
    (world.path / "app.py").write_text("changed\n")
    made = await world.snapshot()
    await world.checkout(made.commit)
    await world.session("t2.1", world.base)
    assert not mark.exists()


async def test_the_controllers_own_git_settings_do_not_count(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, world: World
) -> None:
    home = tmp_path / "person"
    home.mkdir()
    (home / ".gitconfig").write_text(
        '[alias]\n\tx = !true\n[url "/elsewhere"]\n\tinsteadOf = /\n[core]\n\tautocrlf = true\n'
    )
    monkeypatch.setenv("HOME", str(home))
    monkeypatch.delenv("GIT_CONFIG_GLOBAL", raising=False)
    monkeypatch.setenv("GIT_DIR", "/elsewhere")
    monkeypatch.setenv("GIT_EXTERNAL_DIFF", "/bin/false")
    own = Git()
    listed = await own.run("config", "--list", "--show-origin", attempted="list settings", cwd=tmp_path)
    assert b".gitconfig" not in listed.out
    fresh = Repository("p", str(world.origin), "main", tmp_path / "fresh.git", own)
    assert await fresh.fetch() == world.base


class LyingMachine(LocalExecutor):
    """Answers that it holds commits it does not hold."""

    claims: Sequence[str] = ()
    receives = 0

    async def run(self, argv: Sequence[str], **options: Any) -> Ran:
        self.receives += "receive" in argv
        ran = await super().run(argv, **options)
        if ran.out.startswith(b"missing"):
            claimed = "".join(f"{claim}\n" for claim in self.claims)
            return Ran(ran.exit, ran.out + claimed.encode(), ran.err)
        return ran


@pytest.mark.parametrize("extra", [[], ["0" * 40, "--upload-pack=x", "HEAD", "f" * 40, "\u2028"]])
async def test_a_machine_that_lies_about_what_it_has_is_sent_all(
    world: World, tmp_path: Path, extra: list[str]
) -> None:
    newer = advance(world.origin, {"app.py": "def add(a, b):\n    return a - b  # later\n"})
    assert await world.repository.fetch() == newer
    liar = LyingMachine("far", root=str(tmp_path / "liar"))
    liar.claims = [*extra, world.base]
    try:
        path = Path(await world.workspaces.prepare(liar, world.repository, newer, "t9.1"))
        assert (path / "app.py").read_text().endswith("# later\n")
        assert (path / "tests" / "test_app.py").read_text() == HONEST
        assert git(path, "fsck", "--strict", "--no-dangling") == ""
        assert liar.receives == 2
    finally:
        await liar.close()


async def test_a_clone_that_lost_its_objects_is_filled_again(world: World) -> None:
    newer = advance(world.origin, {"more.py": "x\n"})
    assert await world.repository.fetch() == newer
    shutil.rmtree(world.clone / "objects" / "pack")
    path = await world.session("t2.1", newer)
    assert (path / "more.py").exists()


async def test_symbolic_links_lead_nowhere(world: World, tmp_path: Path) -> None:
    outside = tmp_path / "outside"
    outside.mkdir()
    (outside / "test_app.py").write_text("theirs")
    shutil.rmtree(world.path / "tests")
    (world.path / "tests").symlink_to(outside)
    before = world.kept()
    with pytest.raises(Refused, match=r"'tests' points out of the repository"):
        await world.snapshot()
    assert world.kept() == before
    (world.path / "tests").unlink()
    (world.path / "inside").mkdir()
    (world.path / "tests").symlink_to("inside")
    made = await world.snapshot()
    assert await world.changed(made) == {("A", "tests"), ("D", "tests/test_app.py")}
    place = await world.checkout(made.commit)
    assert os.readlink(place / "tests") == "inside"


async def test_a_workspace_that_became_a_link_is_not_followed(world: World, tmp_path: Path) -> None:
    outside = tmp_path / "outside"
    outside.mkdir()
    (outside / "found").write_text("what the agent's login may read")
    shutil.rmtree(world.path)
    world.path.symlink_to(outside)
    before = world.kept()
    with pytest.raises(WorktreeGone, match="a link is in its place"):
        await world.snapshot()
    assert world.kept() == before
    await world.workspaces.discard(world.agent, str(world.path))
    assert (outside / "found").exists()


async def test_a_repository_inside_the_workspace_is_named(world: World) -> None:
    nested = make_bare(world.path.parent / "x.git", {"y": "1"}).with_suffix(".work")
    nested.rename(world.path / "vendored")
    before = world.kept()
    with pytest.raises(Refused, match=r"'vendored' is a git repository inside"):
        await world.snapshot()
    shutil.rmtree(world.path / "vendored")
    (world.path / "vendored").mkdir()
    git(world.path / "vendored", "init", "--quiet")
    (world.path / "vendored" / "z").write_text("1")
    with pytest.raises(Refused, match="git repository inside"):
        await world.snapshot()
    assert world.kept() == before


async def test_names_nobody_should_give_a_file_survive_the_trip(world: World) -> None:
    names = [b"-rf", b"--force", b"quo'te\"s", b"new\nline", b"\xff\xfe invalid", b"$(touch x)", b":(glob)**"]
    names += [b"tab\t", b"\x1b[31mred", b" ", b"back\\slash", b"*"]
    for name in names:
        with open(os.path.join(os.fsencode(world.path), name), "wb") as file:
            file.write(name)
    made = await world.snapshot()
    changed = await world.repository.changed_paths(world.base, made.commit)
    assert sorted(os.fsencode(c.path) for c in changed) == sorted(names)
    place = await world.checkout(made.commit)
    for name in names:
        with open(os.path.join(os.fsencode(place), name), "rb") as file:
            assert file.read() == name
        assert await world.repository.show(made.commit, os.fsdecode(name)) == name


class ForgingMachine(LocalExecutor):
    """Hands over bytes of its own instead of a snapshot."""

    forged = b""

    async def run(self, argv: Sequence[str], **options: Any) -> Ran:
        ran = await super().run(argv, **options)
        if "snapshot" in argv[:4]:
            options["stdout"].write_bytes(self.forged)
        return ran


@pytest.mark.parametrize(
    "forged",
    [
        b"",
        b"airboss-tree",
        b"airboss-tree " + b"0" * 40 + b" 00000000\n",
        b"airboss-tree " + b"1" * 40 + b" 99999999\nPACK",
        b"airboss-tree ../../../../../../../../etc/passwd00000000 00000000\nPACK",
        b"airboss-tree " + b"1" * 40 + b" 00000000\nPACK\0\0\0\x02\0\0\0\0" + b"\0" * 20,
        b"airboss-tree -" + b"1" * 39 + b" 00000000\nPACK",
    ],
)
async def test_a_forged_answer_is_refused(world: World, tmp_path: Path, forged: bytes) -> None:
    machine = ForgingMachine("near", root=world.agent.root)
    machine.forged = forged
    before = world.kept()
    try:
        with pytest.raises(Refused, match="take a snapshot"):
            await world.workspaces.snapshot(machine, world.repository, world.base, str(world.path), "m", WHEN)
    finally:
        await machine.close()
    assert world.kept() == before
