"""The mirrors of submodules: each repository's own, beside that of the repository that records it.

What is fetched is a commit without its history. It is copied, with its files, into the repository's mirror, so that
this one alone has all that fills a checkout.
"""

from __future__ import annotations

import asyncio
import hashlib
import re
import shutil
from collections.abc import Collection, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final
from weakref import WeakKeyDictionary

from fleet import files
from fleet.errors import OriginAway, RepositoryUnusable, Unavailable
from fleet.git.command import CLEAN_ENV, GitEnded, without_credentials
from fleet.git.mirror_lock import forget_beginning, one_process
from fleet.git.objects import ObjectKind, ObjectReader
from fleet.git.origin import local_path
from fleet.git.repository import BROKEN, Repository

_FETCH_SECONDS: Final = 900.0
#: What a repository says of a commit that it does not have, or does not give without a name.
_NOT_THERE: Final = re.compile(
    r"not our ref|unadvertised object|couldn't find remote ref|no such remote ref|did not send all necessary",
    re.IGNORECASE,
)
#: What git says of locks that a killed one left behind.
_LOCKED: Final = re.compile(r"Unable to create '[^']*\.lock'|cannot lock ref")


@dataclass(frozen=True, slots=True)
class SubmoduleSource:
    """Where a recorded submodule comes from. ``nearer``: where on this machine it may be, too."""

    path: str
    commit: str
    address: str
    nearer: Sequence[str]


async def bring(repository: Repository, source: SubmoduleSource) -> str:
    """The tree of a submodule's commit, which is in the mirror from here on.

    Raises ``RepositoryUnusable`` for a commit that its repository does not have, ``OriginAway`` where that does not
    answer.
    """
    if tree := await tree_of(repository, source.commit):
        return tree
    name = hashlib.sha256(source.address.encode()).hexdigest()[:32]
    place = repository.mirror / "submodules" / f"{name}.git"
    async with _turns.setdefault(repository.objects, asyncio.Lock()):
        try:
            return await _fetch(repository, place, source)
        except Unavailable as error:
            if not (BROKEN.search(error.cause) or _LOCKED.search(error.cause)):
                raise
            await asyncio.to_thread(shutil.rmtree, place, ignore_errors=True)
            return await _fetch(repository, place, source)


_turns: WeakKeyDictionary[ObjectReader, asyncio.Lock] = WeakKeyDictionary()


async def answers(repository: Repository, source: SubmoduleSource) -> None:
    """Raises ``OriginAway`` where the submodule's repository does not answer. Nothing is fetched."""
    said = ""
    for address in (*source.nearer, source.address):
        ended = await _git_there(repository, source, "ls-remote", "--", _where(address), "HEAD")
        if ended.code == 0:
            return
        said = ended.err
    raise _unreached(repository, source, said)


async def _fetch(repository: Repository, place: Path, source: SubmoduleSource) -> str:
    """Brings the commit into the mirror at ``place``, from the first address that has it, and from there into that
    of the repository. Returns its tree."""
    await _mirrored(repository, place)
    async with one_process(place):
        said = ""
        for address in (*source.nearer, source.address):
            found, said = await _fetched(repository, place, source, address)
            if found and (tree := await _copied(repository, place, source.commit)):
                return tree
    raise _unreached(repository, source, said) if said else _not_there(repository, source)


async def _mirrored(repository: Repository, place: Path) -> None:
    if (place / "objects" / "info").is_dir():
        return
    with files.writing("make the mirror of a submodule", place):
        place.parent.mkdir(parents=True, exist_ok=True)
        forget_beginning(place)
    await repository.git.run(
        "init", "--quiet", "--bare", "--template=", "--object-format=sha1", "--", str(place),
        attempted="make the mirror of a submodule", on=str(place),
    )  # fmt: skip


async def _fetched(repository: Repository, place: Path, source: SubmoduleSource, address: str) -> tuple[bool, str]:
    """Fetches the commit, without its history; where that is not given, everything that has a name there.

    Says whether it is there now, and what git said where the address did not answer.
    """
    everything = ("+refs/heads/*:refs/heads/*", "+refs/tags/*:refs/tags/*")
    alone = (f"+{source.commit}:refs/airboss/{source.commit}",)
    for options, wanted in ((("--depth=1",), alone), ((), everything)):
        ended = await _git_there(
            repository, source, "-c", "fetch.unpackLimit=1",
            "fetch", "--quiet", "--no-tags", "--no-write-fetch-head", "--no-recurse-submodules", *options, "--",
            _where(address), *wanted, git_dir=place,
        )  # fmt: skip
        there = await _git_there(repository, source, "cat-file", "-e", f"{source.commit}^{{tree}}", git_dir=place)
        if there.code == 0:
            return True, ""
        if ended.code and not _NOT_THERE.search(ended.err):
            return False, ended.err or f"git ended with status {ended.code}"
    return False, ""


async def _git_there(
    repository: Repository, source: SubmoduleSource, *args: str, git_dir: Path | None = None
) -> GitEnded:
    """Runs git, which may ask the repository of a submodule: by a path of this machine only where that may be."""
    local = repository.path is not None
    return await repository.git.run(
        *args,
        attempted="fetch a submodule", on=f"{repository.name}: {source.path}", git_dir=git_dir,
        timeout=_FETCH_SECONDS, expect=(0, 1, 128),
        env={"GIT_ALLOW_PROTOCOL": CLEAN_ENV["GIT_ALLOW_PROTOCOL"] if local else "ssh:https"},
    )  # fmt: skip


def _where(address: str) -> str:
    return str(local_path(address) or address)


def _not_there(repository: Repository, source: SubmoduleSource) -> RepositoryUnusable:
    recorded = f"the submodule {source.path!r} is recorded at {source.commit}"
    return RepositoryUnusable(
        attempted="fetch a submodule",
        on=repository.name,
        cause=f"{recorded}, which {without_credentials(source.address)} does not have",
        hint="Push that commit there, or record another one.",
    )


def _unreached(repository: Repository, source: SubmoduleSource, said: str) -> OriginAway:
    commit, address = source.commit, without_credentials(source.address)
    return OriginAway(
        attempted="fetch a submodule",
        on=repository.name,
        cause=f"the submodule {source.path!r} at {commit} could not be fetched from {address}: {said}",
        hint="Check the address in .gitmodules, the network and the controller's own access to it.",
    )


async def _copied(repository: Repository, place: Path, commit: str) -> str:
    """Copies the commit and its files into the repository's mirror, and returns its tree. Its ref there names that:
    what looks at the history of refs must not meet a commit without one."""
    attempted, on = "take in a submodule", f"{repository.name}: {commit}"
    with files.scratch(repository.mirror, "submodule-") as packed:
        await _pack(repository, place, [commit], packed, attempted)
        await repository.git.run(
            "index-pack", "--stdin", attempted=attempted, on=on, git_dir=repository.mirror, stdin=packed,
            timeout=_FETCH_SECONDS,
        )  # fmt: skip
    found = await repository.objects.find(f"{commit}^{{tree}}")
    if found is None:
        return ""
    await repository.git.run(
        "update-ref", _ref(commit), found.id, attempted=attempted, on=on, git_dir=repository.mirror
    )
    return found.id


async def _pack(
    repository: Repository, git_dir: Path, commits: Collection[str], target: Path, attempted: str
) -> None:
    on = f"{repository.name}: {', '.join(commits)}"[:200]
    with files.scratch(repository.mirror, "submodule-") as names:
        await repository.git.run(
            "rev-list", "--no-walk", "--objects", *commits, "--",
            attempted=attempted, on=on, git_dir=git_dir, stdout=names, timeout=_FETCH_SECONDS,
        )  # fmt: skip
        await repository.git.run(
            "pack-objects", "--quiet", "--stdout", "--delta-base-offset",
            attempted=attempted, on=on, git_dir=git_dir, stdin=names, stdout=target, timeout=_FETCH_SECONDS,
        )  # fmt: skip


async def tree_of(repository: Repository, commit: str) -> str:
    """The tree of a submodule's commit; empty for one that was never brought."""
    found = await repository.objects.find(_ref(commit))
    return found.id if found is not None and found.kind is ObjectKind.TREE else ""


def _ref(commit: str) -> str:
    return f"refs/airboss/submodules/{commit}"


async def write_objects(repository: Repository, commits: Collection[str], target: Path) -> None:
    """Writes a pack of these commits with their files, without what came before them."""
    await _pack(repository, repository.mirror, commits, target, "send submodules")
