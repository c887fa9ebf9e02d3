"""The mirror of a repository: which are usable, and what it answers about commits."""

from __future__ import annotations

import asyncio
import gc
import shutil
import sys
import time
from itertools import pairwise
from pathlib import Path

import pytest

from fleet.errors import Misused, Refused, Unavailable
from fleet.git import merging, submodule_mirrors
from fleet.git.changes import ChangedPath, Stat
from fleet.git.command import Git, without_credentials
from fleet.git.repository import Repository
from fleet.supervise import end, own
from tests.far_end.repositories import advance, commit, git, make_bare, make_work


@pytest.fixture
def origin(tmp_path: Path) -> Path:
    return make_bare(
        tmp_path / "origin.git", {"a.txt": "one\ntwo\n", "d/b.txt": "b\n", "airboss.toml": "[gates]\n"}
    )


@pytest.fixture
def repository(origin: Path, tmp_path: Path) -> Repository:
    return Repository("p", str(origin), "main", tmp_path / "home" / "repos" / "p.git")


async def snapshot(repository: Repository, base: str, files: dict[str, str | bytes], drop: str = "") -> str:
    """A commit of ours in the mirror, whose tree another repository made."""
    work = repository.mirror.parent / "scratch"
    shutil.rmtree(work, ignore_errors=True)
    git(repository.mirror.parent, "clone", "--quiet", "--no-checkout", repository.url, str(work))
    git(work, "checkout", "--quiet", "--detach", base)
    if drop:
        (work / drop).unlink()
    made = commit(work, files)
    git(repository.mirror, "fetch", "--quiet", str(work), f"{made}:refs/test/{made}")
    return await repository.commit_tree(await repository.tree_of(made), (base,), "ours", 1_700_000_000)


async def test_fetch_follows_the_base_branch_even_when_it_was_rewritten(
    repository: Repository, origin: Path
) -> None:
    first = await repository.fetch()
    second = advance(origin, {"a.txt": "three\n"})
    assert await repository.fetch() == second
    git(origin, "update-ref", "refs/heads/main", first)
    assert await repository.fetch() == first
    work = origin.with_suffix(".work")
    git(work, "reset", "--quiet", "--hard", first)
    other = commit(work, {"x": "y"}, "another history")
    git(work, "push", "--quiet", "--force", "origin", "main")
    assert await repository.fetch() == other
    assert await repository.has(second), "what we may have judged stays"


async def test_what_cannot_be_used_says_what_to_do(tmp_path: Path, origin: Path) -> None:
    empty = tmp_path / "empty.git"
    empty.mkdir()
    git(empty, "init", "--quiet", "--bare")
    modern = tmp_path / "sha256"
    modern.mkdir()
    git(modern, "init", "--quiet", "--object-format=sha256", "--initial-branch=main")
    commit(modern, {"a": "1"})
    inside = origin.with_suffix(".work") / "d"
    for name in ("broken", "newer"):
        git(tmp_path, "clone", "--quiet", "--bare", str(origin), name)
    (tmp_path / "broken" / "packed-refs").unlink(missing_ok=True)
    (tmp_path / "broken" / "refs" / "heads" / "main").write_text("1" * 40 + "\n")
    git(tmp_path / "newer", "config", "core.repositoryformatversion", "1")
    git(tmp_path / "newer", "config", "extensions.later", "true")
    (tmp_path / "plain").mkdir()
    for name in ("renamed", "grafted"):
        git(tmp_path, "clone", "--quiet", "--bare", str(origin), name)
    (tmp_path / "grafted" / "info" / "grafts").write_text(f"{'1' * 40}\n")
    git(tmp_path / "renamed", "branch", "--move", "main", "trunk")
    git(tmp_path / "renamed", "branch", "a-feature", "trunk")
    for url, base, words in (
        (origin, "release", 'it has no branch release; it has main.*base = "main"'),
        (tmp_path / "renamed", "main", 'it has trunk, a-feature.*base = "trunk"'),
        (tmp_path / "grafted", "main", r"grafts \(info/grafts\).*replace --convert-graft-file"),
        (empty, "main", "it has no branch main.*commit something"),
        (tmp_path / "nowhere", "main", "no such directory.*check the path"),
        (tmp_path / "plain", "main", "not a git repository"),
        (inside, "main", "not a git repository"),
        (tmp_path / "broken", "main", "its branch main is broken.*git fsck"),
        (tmp_path / "newer", "main", "git cannot read .*: unknown repository extension found: later"),
        (modern, "main", "sha256 object ids.*only SHA-1"),
    ):
        with pytest.raises(Refused, match=words):
            await Repository("p", str(url), base, tmp_path / "mirrors" / f"{Path(url).name}.git").fetch()


@pytest.mark.parametrize(
    ("name", "url", "base"),
    [
        ("-p", "/x", "main"), ("..", "/x", "main"), ("a/b", "/x", "main"), ("", "/x", "main"),
        ("p.lock", "/x", "main"),
        ("p", "/x", "--upload-pack=x"), ("p", "/x", "a..b"), ("p", "/x", ""), ("p", "/x", "a b"),
        ("p", "/x", "a.lock"),
        ("p", "/x", "main:other"), ("p", "/x", "@{-1}"), ("p", "/x", "ma\nin"),
        ("p", "/x", "a/.b"), ("p", "/x", "a*"), ("p", "/x", "a\u202eb"),
        ("p", "/x", "a.lock/b"), ("p", "/x", "a/"), ("p", "/x", "x" * 201),
        ("p", "ext::sh -c x", "main"), ("p", "-oProxyCommand=x", "main"), ("p", "ssh://-oProxyCommand=x/y", "main"),
        ("p", "http://example.com/x", "main"), ("p", "git://example.com/x", "main"), ("p", "relative/path", "main"),
        ("p", "fd::17", "main"), ("p", "-host:path", "main"), ("p", "", "main"), ("p", "ssh://u@-host/x", "main"),
    ],
)  # fmt: skip
def test_names_that_git_would_read_as_something_else(tmp_path: Path, name: str, url: str, base: str) -> None:
    with pytest.raises(Misused):
        Repository(name, url, base, tmp_path / "m")


@pytest.mark.parametrize(
    "url",
    ["git@example.com:a/b.git", "ssh://git@example.com:22/a", "https://example.com/a", "file:///a%20b", "~/a"],
)
def test_ordinary_urls(tmp_path: Path, url: str) -> None:
    Repository("my.repo-1", url, "feature/x_1", tmp_path / "m")


async def test_branches_of_any_name_and_of_another_than_before(tmp_path: Path) -> None:
    bare, mirror = make_bare(tmp_path / "o.git", {"a": "1"}), tmp_path / "p.git"
    tip = git(bare, "rev-parse", "main")
    for before, base in pairwise(("main", "main/next", "größe/#12", "功能=(登录)", "100%,a'b", "main")):
        git(bare, "branch", "-m", before, base)
        assert await Repository("p", str(bare), base, mirror).fetch() == tip


async def test_an_unreachable_remote_is_unavailable_and_keeps_its_password(tmp_path: Path) -> None:
    repository = Repository("p", "https://me:hunter2@127.0.0.1:1/x", "main", tmp_path / "p.git")
    with pytest.raises(Unavailable) as raised:
        await repository.fetch()
    assert "hunter2" not in str(raised.value)
    assert raised.value.retry
    assert without_credentials("see https://a:b@h/p and ssh://k@h") == "see https://***@h/p and ssh://***@h"


async def test_show_reads_regular_files_only(repository: Repository, origin: Path) -> None:
    work = origin.with_suffix(".work")
    (work / "link").symlink_to("a.txt")
    base = advance(origin, {"[x].txt": "glob", "x.txt": "other", "-dash": "-", ":(top)": "magic"})
    await repository.fetch()
    assert await repository.show(base, "airboss.toml") == b"[gates]\n"
    assert await repository.show(base, "[x].txt") == b"glob"
    assert await repository.show(base, "-dash") == b"-"
    assert await repository.show(base, ":(top)") == b"magic"
    for absent in ("nope", "d", "link", "d/", "../a.txt", "", "a.txt/x"):
        assert await repository.show(base, absent) is None
    with pytest.raises(Refused, match="bigger than 3 bytes"):
        await repository.show(base, "a.txt", 3)


async def test_a_moved_file_is_seen_at_both_ends(repository: Repository) -> None:
    base = await repository.fetch()
    ours = await snapshot(repository, base, {"moved.txt": "one\ntwo\n", "d/b.txt": "b2\n"}, drop="a.txt")
    assert await repository.changed_paths(base, ours) == [
        ChangedPath("D", "a.txt"), ChangedPath("M", "d/b.txt"), ChangedPath("A", "moved.txt"),
    ]  # fmt: skip
    assert ChangedPath("R", "moved.txt", "a.txt") in await repository.changed_paths(base, ours, renames=True)
    assert await repository.shortstat(base, ours) == Stat(3, 3, 3)
    assert len(await repository.diff(base, ours, 40)) == 40


async def test_a_commit_of_ours_is_the_same_each_time(repository: Repository) -> None:
    base = await repository.fetch()
    tree = await repository.tree_of(base)
    made = await repository.commit_tree(tree, (base,), "-F /etc/passwd\n\n'quoted' ü \0", 1_700_000_000)
    assert made == await repository.commit_tree(tree, (base,), "-F /etc/passwd\n\n'quoted' ü \0", 1_700_000_000)
    assert git(repository.mirror, "log", "-1", "--format=%an <%ae> %ct %B", made).startswith(
        "Airboss <airboss@localhost> 1700000000 -F /etc/passwd\n\n'quoted' ü"
    )
    assert await repository.is_ancestor(base, made)
    assert not await repository.is_ancestor(made, base)


async def test_merges_and_conflicts(repository: Repository, origin: Path) -> None:
    base = await repository.fetch()
    clean = await snapshot(repository, base, {"new\nline.txt": "x"})
    clash = await snapshot(repository, base, {"a.txt": "mine\ntwo\n", "d/b.txt": "mine\n"})
    current = advance(origin, {"a.txt": "theirs\ntwo\n", "d/b.txt": "theirs\n"})
    await repository.fetch()
    merged = await merging.merge(repository, current, clean)
    assert merged.conflicts == ()
    assert await repository.show(merged.tree, "a.txt") == b"theirs\ntwo\n"
    assert await repository.show(merged.tree, "new\nline.txt") == b"x"
    made = await merging.merge_commit(repository, merged.tree, current, clean, "merge", 1_700_000_000)
    assert git(repository.mirror, "log", "-1", "--format=%P", made).split() == [current, clean]
    conflict = await merging.merge(repository, current, clash)
    assert (conflict.tree, conflict.conflicts) == ("", ("a.txt", "d/b.txt"))
    assert "CONFLICT" in conflict.notes


async def test_a_change_made_on_the_current_base_lands_as_it_was_judged(repository: Repository) -> None:
    base = await repository.fetch()
    ours = await snapshot(repository, base, {"new": "x"})
    merged = await merging.merge(repository, base, ours)
    assert await merging.merge_commit(repository, merged.tree, base, ours, "merge", 1) == ours


async def test_a_commit_is_named_by_its_full_id_only(repository: Repository) -> None:
    await repository.fetch()
    for name in ("main", "HEAD", "--all", "", "0" * 39, "refs/heads/main", "A" * 40):
        with pytest.raises(Misused):
            await repository.tree_of(name)


async def test_a_checkout_with_another_branch_is_a_repository_too(tmp_path: Path) -> None:
    work = make_work(tmp_path / "owner", {"a": "1"})
    git(work, "checkout", "--quiet", "-b", "mine")
    commit(work, {"b": "2"})
    base = await Repository("p", str(work), "main", tmp_path / "p.git").fetch()
    assert base == git(work, "rev-parse", "main")


async def test_many_packs_are_joined_and_nothing_is_lost(repository: Repository, origin: Path) -> None:
    tips = [await repository.fetch()]
    packs = repository.mirror / "objects" / "pack"
    for n in range(52):
        blob = git(repository.mirror, "hash-object", "-w", "--stdin", stdin=f"loose {n}".encode())
        git(
            repository.mirror,
            "pack-objects",
            "-q",
            "--incremental",
            str(packs / "pack"),
            stdin=f"{blob}\n".encode(),
        )
        tips.append(blob)
    tips.append(advance(origin, {"z": "z"}))
    await repository.fetch()
    assert len(list(packs.glob("*.pack"))) < 10
    for tip in tips:
        git(repository.mirror, "cat-file", "-e", tip)


async def test_a_git_that_is_missing_or_slow(tmp_path: Path) -> None:
    with pytest.raises(Unavailable, match="install git"):
        await Git(str(tmp_path / "nowhere")).run("version", attempted="ask git")
    slow = tmp_path / "git"
    slow.write_text("#!/bin/sh\nsleep 1000 & wait\n")
    slow.chmod(0o700)
    with pytest.raises(Unavailable, match="more than"):
        await Git(str(slow)).run("version", attempted="ask git", timeout=0.3)


async def test_a_mirror_whose_making_was_cut_short_is_made(tmp_path: Path, origin: Path) -> None:
    repository, inner = Repository("shop", str(origin), "main", tmp_path / "mirror.git"), tmp_path / "inner.git"
    for place in (repository.mirror, inner):
        place.mkdir()
        (place / "config.lock").touch()
    await submodule_mirrors._mirrored(repository, inner)
    assert await repository.fetch() == git(origin, "rev-parse", "main")


async def test_endless_output_is_cut(tmp_path: Path) -> None:
    endless = tmp_path / "git"
    endless.write_text("#!/bin/sh\nexec yes\n")
    endless.chmod(0o700)
    ended = await Git(str(endless)).run("log", attempted="read", limit=100)
    assert ended.cut
    assert len(ended.out) == 100


async def test_output_that_is_cut_leaves_no_pipe_open(tmp_path: Path) -> None:
    """asyncio stops reading when much waits, and closes a pipe only at its end."""
    endless = tmp_path / "git"
    larger_pipe = "import fcntl, sys\nif sys.platform == 'linux': fcntl.fcntl(1, 1031, 1 << 20)\n"
    endless.write_text(f"#!{sys.executable}\n{larger_pipe}while True: sys.stdout.write('y' * (1 << 20))\n")
    endless.chmod(0o700)
    before = len(list(Path("/dev/fd").iterdir()))
    gc.disable()  # it would close what was forgotten
    try:
        for _ in range(3):
            assert (await Git(str(endless)).run("log", attempted="read", limit=100)).cut
        assert len(list(Path("/dev/fd").iterdir())) == before
    finally:
        gc.enable()


async def test_a_command_that_is_cancelled_may_take_its_locks_away(tmp_path: Path) -> None:
    """A lock file that stays would block every later fetch."""
    program, lock, ready = tmp_path / "git", tmp_path / "lock", tmp_path / "ready"
    program.write_text(
        f"#!/bin/sh\ntrap 'rm {lock}; exit 1' TERM\ntouch {lock} {ready}\nwhile :; do sleep 0.02; done\n"
    )
    program.chmod(0o700)
    running = own(Git(str(program)).run("fetch", attempted="fetch"), "fetch")
    while not ready.exists():
        await asyncio.sleep(0.01)
    await end(running)
    assert running.cancelled()
    while lock.exists():  # it may take longer than whoever cancelled waits for
        await asyncio.sleep(0.01)


@pytest.mark.parametrize("turns", range(8))
async def test_a_command_that_is_cancelled_while_it_starts_takes_its_locks_away(tmp_path: Path, turns: int) -> None:
    """It runs before asyncio hands it out: the cancel falls into each turn of the loop until then."""
    program, lock, ready = tmp_path / "git", tmp_path / "lock", tmp_path / "ready"
    program.write_text(
        f"#!/bin/sh\ntrap 'rm {lock}; exit 1' TERM\ntouch {lock} {ready}\nwhile :; do sleep 0.02; done\n"
    )
    program.chmod(0o700)
    running = own(Git(str(program)).run("fetch", attempted="fetch"), "fetch")
    for _ in range(turns):
        await asyncio.sleep(0)
    for _ in range(50):
        if ready.exists():
            break
        time.sleep(0.01)
    await end(running)
    assert running.cancelled()
    while lock.exists():
        await asyncio.sleep(0.01)


@pytest.mark.parametrize(
    ("attributes", "path"),
    [
        ({".gitattributes": "*.md merge=union\n"}, "d/notes.md"),
        ({"d/.gitattributes": "notes.md merge=union\n"}, "d/notes.md"),
        ({".gitattributes": "[attr]log merge=union\n/d/** log\n"}, "d/notes.md"),
    ],
)
async def test_the_bases_merge_rules_count_as_in_a_plain_merge(
    repository: Repository, origin: Path, attributes: dict[str, str | bytes], path: str
) -> None:
    base = advance(origin, {**attributes, path: "# Notes\n"})
    await repository.fetch()
    ours = await snapshot(repository, base, {path: "# Notes\n- ours\n"})
    current = advance(origin, {path: "# Notes\n- theirs\n"})
    await repository.fetch()
    merged = await merging.merge(repository, current, ours)
    assert await repository.show(merged.tree, path) == b"# Notes\n- theirs\n- ours\n"
    rules = await merging.attributes(repository, current)
    assert await merging.unions(repository, rules, [path, "a.txt", "x\ny.md"]) >= {path}
    assert not list(repository.mirror.glob("merge-*"))


async def test_a_file_that_the_base_says_not_to_merge_is_a_conflict(repository: Repository, origin: Path) -> None:
    text = "".join(f"{n}\n" for n in range(20))
    base = advance(origin, {".gitattributes": "*.lock -merge\n", "uv.lock": text})
    await repository.fetch()
    ours = await snapshot(repository, base, {"uv.lock": text.replace("19", "ours")})
    current = advance(origin, {"uv.lock": text.replace("0\n1\n", "theirs\n1\n")})
    await repository.fetch()
    assert (await merging.merge(repository, current, ours)).conflicts == ("uv.lock",)


async def test_the_changes_own_merge_rules_do_not_count(repository: Repository, origin: Path) -> None:
    base = await repository.fetch()
    ours = await snapshot(repository, base, {".gitattributes": "* merge=union\n", "a.txt": "ours\n"})
    current = advance(origin, {"a.txt": "theirs\n"})
    await repository.fetch()
    assert (await merging.merge(repository, current, ours)).conflicts == ("a.txt",)


async def test_no_rule_of_the_base_runs_a_program_or_changes_bytes(
    repository: Repository, origin: Path, tmp_path: Path
) -> None:
    rules = f"* filter=x merge=x text eol=crlf ident\n[attr]x filter=touch\n# merge {tmp_path}\n"
    base = advance(origin, {".gitattributes": rules})
    await repository.fetch()
    ours = await snapshot(repository, base, {"new.txt": "$Id$\n"})
    current = advance(origin, {"a.txt": "theirs\n"})
    await repository.fetch()
    merged = await merging.merge(repository, current, ours)
    assert await repository.show(merged.tree, "new.txt") == b"$Id$\n"
    assert await repository.show(merged.tree, "a.txt") == b"theirs\n"


async def test_a_change_is_carried_onto_a_base_that_shares_no_history(repository: Repository, origin: Path) -> None:
    """What was purged from the base does not come back with a change that started from it."""
    base = advance(origin, {"leak.txt": "KEY=1234\n"})
    await repository.fetch()
    ours = await snapshot(repository, base, {"new.txt": "ours\n"})
    work = origin.with_suffix(".work")
    git(work, "checkout", "--quiet", "--orphan", "fresh")
    git(work, "rm", "--quiet", "--cached", "leak.txt")
    (work / "leak.txt").unlink()
    current = commit(work, {"a.txt": "one\ntwo\nthree\n"}, "history begins anew")
    git(work, "push", "--quiet", "--force", "origin", "HEAD:main")
    await repository.fetch()
    carried = await merging.carry(repository, base, current, ours)
    paths = {change.path for change in await repository.changed_paths(current, carried.tree)}
    assert paths == {"new.txt"}
    gone = await merging.gone(repository, base, current)
    assert gone.count == 2
    assert gone.newest[0].endswith(" another's work")
    clash = await snapshot(repository, base, {"leak.txt": "KEY=5678\n"})
    assert (await merging.carry(repository, base, current, clash)).conflicts == ("leak.txt",)
