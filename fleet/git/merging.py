"""Merges commits in the mirror, without a working tree of the project.

The base branch's own ``.gitattributes`` say how files are merged (``merge=union``, ``-merge``), as with a plain
``git merge`` there. Nothing else of them counts, and none of the change's.
"""

from __future__ import annotations

import os
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from fleet import files
from fleet.git.command import GitEnded
from fleet.git.repository import Repository
from fleet.git.tree_walk import survey

_ATTRIBUTE_FILES, _ATTRIBUTE_BYTES = 1_000, 1 << 20
_SUBJECTS = 3


@dataclass(frozen=True, slots=True)
class MergeResult:
    """A merged ``tree``, or the paths in conflict (then ``tree`` is empty). ``notes`` are git's words.

    ``marked`` is the tree to resolve a conflict in: both sides between markers that name the two commits.
    """

    tree: str
    conflicts: tuple[str, ...] = ()
    notes: str = ""
    marked: str = ""


@dataclass(frozen=True, slots=True)
class Gone:
    """The commits that a rewritten branch no longer has: how many, and the newest as ``id subject``."""

    count: int
    newest: tuple[str, ...]


async def merge(repository: Repository, current: str, snapshot: str) -> MergeResult:
    """Merges two commits. A conflict is a result, not an error."""
    with _attributes_only(repository, await attributes(repository, current)) as (env, cwd):
        ended = await _run(
            repository, "merge-tree", "--write-tree", "-z", "--name-only", "--messages", current, snapshot,
            what="merge onto the base", on=snapshot, expect=(0, 1), env=env, cwd=cwd,
        )  # fmt: skip
    names, _, rest = ended.out.decode("utf-8", "surrogateescape").partition("\0\0")
    tree, *conflicts = names.rstrip("\0").split("\0")
    if ended.code == 0:
        return MergeResult(tree.strip())
    notes = " ".join(part for part in rest.split("\0") if part.endswith("\n")).strip()
    return MergeResult("", tuple(dict.fromkeys(conflicts)), notes, tree.strip())


async def sides(  # noqa: PLR0917 - three commits, and how much of their differences
    repository: Repository, base: str, current: str, snapshot: str, paths: Sequence[str], limit: int
) -> tuple[bytes, bytes]:
    """What each of the two commits changed in these paths since ``base``, as patches of at most ``limit`` bytes."""
    found = []
    for commit in (current, snapshot):
        ended = await _run(
            repository, "diff-tree", "-p", "--no-color", "--no-ext-diff", "--no-textconv", "--no-commit-id",
            base, commit, "--", *paths, what="show both sides", on=commit, limit=limit,
        )  # fmt: skip
        found.append(ended.out)
    return found[0], found[1]


async def subjects(repository: Repository, base: str, current: str, limit: int) -> tuple[str, ...]:
    """The newest commits that ``current`` has and ``base`` does not, as ``id subject``."""
    listed = await _run(
        repository, "log", f"--max-count={limit}", "--no-show-signature", "--no-merges", "--format=%h %s",
        f"{base}..{current}", "--", what="list commits", on=current,
    )  # fmt: skip
    return tuple(listed.out.decode("utf-8", "replace").splitlines())


async def unions(repository: Repository, rules: Mapping[str, bytes], paths: Sequence[str]) -> frozenset[str]:
    """Those of ``paths`` that ``rules`` say are merged by union: all lines of both sides, so never in conflict."""
    if not rules:
        return frozenset()
    with _attributes_only(repository, rules) as (env, cwd):
        ended = await _run(
            repository, "check-attr", "--stdin", "-z", "merge",
            what="read the merge rules", on=repository.base, env=env, cwd=cwd,
            stdin=b"".join(os.fsencode(path) + b"\0" for path in paths),
        )  # fmt: skip
    words = iter(ended.out.decode("utf-8", "surrogateescape").split("\0"))
    return frozenset(path for path, _, value in zip(words, words, words, strict=False) if value == "union")


async def carry(repository: Repository, base: str, current: str, snapshot: str) -> MergeResult:
    """The difference from ``base`` to ``snapshot``, merged into ``current``, whatever their histories.

    Three commits without any of the real history stand in for them: git merges by ancestors.
    """
    trees = [await repository.tree_of(commit) for commit in (base, current, snapshot)]
    root = await repository.commit_tree(trees[0], (), "base\n", 0)
    ours, theirs = [await repository.commit_tree(tree, (root,), "side\n", 0) for tree in trees[1:]]
    return await merge(repository, ours, theirs)


async def merge_commit(  # noqa: PLR0917 - what to commit on what, and the words and date of the commit
    repository: Repository, tree: str, current: str, snapshot: str, message: str, when: int
) -> str:
    """The commit that lands ``tree``: the snapshot itself if it was made on ``current``, otherwise a merge."""
    if await parent(repository, snapshot) == current and await repository.tree_of(snapshot) == tree:
        return snapshot
    return await repository.commit_tree(tree, (current, snapshot), message, when)


async def parent(repository: Repository, commit: str) -> str:
    """The first parent of a commit; empty when it has none."""
    return next(iter(await repository.parents(commit)), "")


async def message_of(repository: Repository, commit: str) -> str:
    """A commit's message."""
    ended = await _run(repository, "log", "--max-count=1", "--format=%B", commit, "--", what="read", on=commit)
    return ended.out.decode("utf-8", "replace").rstrip("\n") + "\n"


async def forked_from(repository: Repository, base: str, commit: str) -> str:
    """The newest commit that both reach; empty where they share none."""
    found = await _run(repository, "merge-base", base, commit, what="find the fork", on=commit, expect=(0, 1))
    return found.line


async def trailers(repository: Repository, commit: str, key: str, limit: int) -> list[tuple[str, str]]:
    """The newest commits up to ``commit`` whose message has this trailer, each with its value."""
    listed = await _run(
        repository, "log", f"--max-count={limit}", f"--format=%H %(trailers:key={key},valueonly,separator=%x20)",
        commit, "--", what="read the newest commits", on=commit,
    )  # fmt: skip
    pairs = (line.split() for line in listed.out.decode("utf-8", "replace").splitlines())
    return [(pair[0], pair[1]) for pair in pairs if len(pair) == 2]


async def gone(repository: Repository, base: str, current: str) -> Gone:
    """The commits up to ``base`` that ``current`` does not have."""
    spread = f"{current}..{base}"
    counted = await _run(repository, "rev-list", "--count", spread, "--", what="count commits", on=base)
    listed = await _run(
        repository, "log", f"--max-count={_SUBJECTS}", "--no-show-signature", "--format=%h %s", spread, "--",
        what="list commits", on=base,
    )  # fmt: skip
    return Gone(int(counted.line), tuple(listed.out.decode("utf-8", "replace").splitlines()))


async def attributes(repository: Repository, commit: str) -> Mapping[str, bytes]:
    """The ``.gitattributes`` files of a commit that say something about merging."""
    named = list((await survey(repository.objects, commit)).attributes)[:_ATTRIBUTE_FILES]
    found = {path: await repository.show(commit, path, _ATTRIBUTE_BYTES) for path in named}
    return {path: data for path, data in found.items() if data is not None and b"merge" in data}


@contextmanager
def _attributes_only(
    repository: Repository, attributes: Mapping[str, bytes]
) -> Iterator[tuple[Mapping[str, str], Path | None]]:
    """A working tree of these files alone: the environment and directory in which git reads them. Objects go to
    the mirror. Without such files the mirror itself does."""
    if not attributes:
        yield {}, None
        return
    with files.writing("read the merge rules", repository.mirror):
        scratch = tempfile.TemporaryDirectory(dir=repository.mirror, prefix="merge-")
    with scratch as name:
        own, tree = Path(name) / "git", Path(name) / "tree"
        with files.writing("read the merge rules", repository.mirror):
            for made in (own / "objects", own / "refs", tree):
                made.mkdir(parents=True)
            files.replace(own / "HEAD", b"ref: refs/heads/none\n")
            files.replace(own / "config", b"[core]\n\trepositoryformatversion = 0\n\tbare = false\n")
            for path, data in attributes.items():
                place = tree / path
                place.parent.mkdir(parents=True, exist_ok=True)
                files.replace(place, data)
        objects = str((repository.mirror / "objects").absolute())
        yield {"GIT_DIR": str(own), "GIT_WORK_TREE": str(tree), "GIT_OBJECT_DIRECTORY": objects}, tree


async def _run(
    repository: Repository,
    *args: str,
    what: str,
    on: str,
    expect: tuple[int, ...] = (0,),
    env: Mapping[str, str] | None = None,
    cwd: Path | None = None,
    limit: int = 64 << 20,
    stdin: bytes = b"",
) -> GitEnded:
    return await repository.git.run(
        *args,
        attempted=what,
        on=f"{repository.name}: {on}",
        git_dir=repository.mirror,
        env=env,
        cwd=cwd,
        stdin=stdin,
        expect=expect,
        limit=limit,
    )
