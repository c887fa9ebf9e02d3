"""Git LFS: pointers in place of large files, and the objects that they stand for.

A machine sends the files themselves. The controller computes from their bytes what ``git add`` would have stored
there: it keeps each as an object by its hash, and puts the pointer into the tree. The objects reach the repository
before its branch moves.
"""

from __future__ import annotations

import asyncio
import hashlib
import re
import tempfile
from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from fleet import files
from fleet.errors import Refused, Unavailable
from fleet.git.repository import Repository
from fleet.git.shared import SharedRepository
from fleet.git.trees import TreeEntry, blobs, entries

LFS: Final = "lfs"
_POINTER: Final = re.compile(
    rb"version https://git-lfs\.github\.com/spec/v1\noid sha256:([0-9a-f]{64})\nsize ([0-9]{1,15})\n"
)
_POINTER_BYTES: Final = 1024
_PUSH_SECONDS: Final = 3600.0
_AT_ONCE: Final = 200


@dataclass(frozen=True, slots=True)
class Pointer:
    """What git stores in place of an object: the SHA-256 of its bytes, and their number."""

    oid: str
    size: int

    @property
    def text(self) -> bytes:
        """The pointer as ``git lfs`` writes it."""
        return f"version https://git-lfs.github.com/spec/v1\noid sha256:{self.oid}\nsize {self.size}\n".encode()


def read_pointer(data: bytes) -> Pointer | None:
    """The pointer that a file consists of; ``None`` for any other file, and for one with extensions."""
    found = _POINTER.fullmatch(data)
    return Pointer(found[1].decode(), int(found[2])) if found else None


async def with_pointers(repository: Repository, tree: str, paths: Collection[str]) -> str:
    """``tree`` with a pointer in place of each of these files, whose bytes are kept as objects.

    Symbolic links, empty files and pointers stay as they are, as with ``git lfs``.
    """
    if not paths:
        return tree
    found = await entries(repository, tree)
    listed = {path: found[path] for path in paths if path in found and found[path].mode.startswith("100")}
    rows = [
        f"{entry.mode} {blob}\t{path}\0"
        for path, entry in sorted(listed.items())
        if (blob := await _cleaned(repository, entry.id))
    ]
    if not rows:
        return tree
    attempted, on = "store large files", f"{repository.name}: {tree}"
    with tempfile.TemporaryDirectory(prefix="lfs-", dir=repository.mirror) as directory:
        env = {"GIT_INDEX_FILE": str(Path(directory) / "index")}
        index = "".join(rows).encode("utf-8", "surrogateescape")
        run, mirror = repository.git.run, repository.mirror
        await run("read-tree", tree, attempted=attempted, on=on, git_dir=mirror, env=env)
        await run(
            "update-index", "-z", "--index-info", attempted=attempted, on=on, git_dir=mirror, env=env, stdin=index
        )
        ended = await run("write-tree", attempted=attempted, on=on, git_dir=mirror, env=env)
    return ended.line


async def pointers(repository: Repository, tree: str, paths: Iterable[str]) -> dict[str, tuple[TreeEntry, Pointer]]:
    """Those of ``paths`` that are pointers in ``tree``."""
    found = await entries(repository, tree)
    wanted = {path: found[path] for path in paths if path in found and found[path].mode.startswith("100")}
    small = await _small(repository, [entry.id for entry in wanted.values()])
    read = ((path, entry, read_pointer(small.get(entry.id, b""))) for path, entry in wanted.items())
    return {path: (entry, pointer) for path, entry, pointer in read if pointer is not None}


async def is_known(repository: Repository, base: str, entry: TreeEntry, pointer: Pointer) -> bool:
    """Whether a pointer's object is here or in the repository, or the pointer is in the base's history."""
    if (await _here(repository, pointer)).is_file():
        return True
    if repository.path is not None and (await _of_repository(repository, pointer)).is_file():
        return True
    ended = await repository.git.run(
        "log", "--max-count=1", "--format=%H", f"--find-object={entry.id}", base, "--",
        attempted="look for a pointer", on=repository.name, git_dir=repository.mirror, timeout=600.0,
    )  # fmt: skip
    return bool(ended.line)


async def bring(repository: Repository, commit: str, wanted: Iterable[Pointer]) -> dict[Pointer, Path]:
    """Where these objects are on this machine; those of another machine's repository are fetched, with the rest of
    the commit's. What nobody has is left out, also where ``git-lfs`` is missing or cannot reach them."""
    asked = sorted(set(wanted), key=lambda each: each.oid)
    here = {each: path for each in asked if (path := await _here(repository, each)).is_file()}
    if repository.path is not None:
        theirs = {each: await _of_repository(repository, each) for each in asked if each not in here}
        return here | {each: path for each, path in theirs.items() if path.is_file()}
    if len(here) < len(asked):
        await repository.git.run(
            "lfs", "fetch", repository.remote, commit,
            attempted="fetch large files", on=repository.name, git_dir=repository.mirror,
            timeout=_PUSH_SECONDS, expect=(0, 1, 2, 128),
        )  # fmt: skip
    return {each: path for each in asked if (path := _kept(repository, each)).is_file()}


async def deliver(repository: Repository, old: str, new: str) -> None:
    """Brings the objects of what changed between two commits to the repository. Repeating is harmless.

    Raises ``Refused`` where this machine cannot, and ``Unavailable`` where the repository does not take them.
    """
    if not (isinstance(repository, SharedRepository) or (repository.mirror / "lfs").is_dir()):
        return
    changed = [each.path for each in await repository.changed_paths(old, new) if each.status != "D"]
    named = {pointer.oid: pointer for _, pointer in (await pointers(repository, new, changed)).values()}
    ours = [pointer for pointer in named.values() if (await _here(repository, pointer)).is_file()]
    if repository.path is None:
        await push(repository, repository.remote, ours)
        return
    for pointer in ours:
        target = await _of_repository(repository, pointer)
        if not target.is_file():
            await asyncio.to_thread(_copy, _kept(repository, pointer), target, (await repository.opened()).umask)


async def share(repository: Repository, commit: str, owner: str) -> None:
    """Puts the objects of a commit of ours where other controllers get them, if there may be others."""
    if not isinstance(repository, SharedRepository) or not (repository.mirror / "lfs").is_dir():
        return
    for parent in (await repository.parents(commit))[:1]:
        changed = [each.path for each in await repository.changed_paths(parent, commit) if each.status != "D"]
        for _, pointer in (await pointers(repository, commit, changed)).values():
            if (path := _kept(repository, pointer)).is_file():
                await repository.packs.put_large(repository.name, pointer.oid, owner, path)


async def push(repository: Repository, remote: str, wanted: Iterable[Pointer]) -> None:
    """Sends objects to a remote with ``git lfs``. Hooks, filters and settings of others have no part in it."""
    oids = [pointer.oid for pointer in wanted]
    for at in range(0, len(oids), _AT_ONCE):
        ended = await repository.git.run(
            "-c", "lfs.locksverify=false", "lfs", "push", "--object-id", remote, *oids[at : at + _AT_ONCE],
            attempted="send large files", on=repository.name, git_dir=repository.mirror,
            timeout=_PUSH_SECONDS, expect=(0, 1, 2, 128),
        )  # fmt: skip
        if "is not a git command" in ended.err:
            raise Refused(
                attempted="send large files",
                on=repository.name,
                cause="git-lfs is not installed on the controller",
                hint="Install it there (Debian: apt-get install git-lfs), then /judge the task.",
            )
        if ended.code:
            raise Unavailable(attempted="send large files", on=repository.name, cause=ended.err[-400:])


async def _cleaned(repository: Repository, blob: str) -> str:
    """The blob of the pointer for a file, whose bytes are kept; empty for what is stored as it is."""
    small = (await _small(repository, [blob])).get(blob)
    if small is not None and (not small or read_pointer(small)):
        return ""
    attempted, on = "store a large file", f"{repository.name}: {blob}"
    with files.scratch(repository.mirror, "lfs-") as written:
        await repository.git.run(
            "cat-file", "blob", blob,
            attempted=attempted, on=on, git_dir=repository.mirror, stdout=written, timeout=900.0,
        )  # fmt: skip
        pointer = await asyncio.to_thread(_pointer_of, written)
        target = _kept(repository, pointer)
        if not target.is_file():
            await asyncio.to_thread(_copy, written, target)
    ended = await repository.git.run(
        "hash-object", "-w", "--stdin", attempted=attempted, on=on, git_dir=repository.mirror, stdin=pointer.text
    )
    return ended.line


async def _small(repository: Repository, ids: Iterable[str]) -> Mapping[str, bytes]:
    """The bytes of those blobs that are small enough for a pointer."""
    small = [each.id for each in await repository.objects.known(ids) if each.size < _POINTER_BYTES]
    return await blobs(repository, small, (len(small) + 1) * (_POINTER_BYTES + 100))


def _pointer_of(path: Path) -> Pointer:
    with path.open("rb") as file:
        oid = hashlib.file_digest(file, "sha256").hexdigest()
        return Pointer(oid, file.tell())


def _copy(source: Path, target: Path, umask: int = 0o022) -> None:
    """A whole file or none, durable, readable as git's own objects are."""
    with files.writing("store a large file", target):
        for folder in reversed(target.parents):
            if not folder.exists():
                folder.mkdir(exist_ok=True)
                folder.chmod(0o777 & ~umask | folder.stat().st_mode)
        files.copy_durably(source, target, mode=0o666 & ~umask)


async def _here(repository: Repository, pointer: Pointer) -> Path:
    """Where an object is in the mirror, if it is there or another controller shared it."""
    path = _kept(repository, pointer)
    if isinstance(repository, SharedRepository) and not path.is_file():
        await repository.packs.get_large(repository.name, pointer.oid, path)
    return path


def _kept(repository: Repository, pointer: Pointer) -> Path:
    return repository.mirror / _place(pointer)


async def _of_repository(repository: Repository, pointer: Pointer) -> Path:
    return (await repository.opened()).git_dir / _place(pointer)


def _place(pointer: Pointer) -> Path:
    return Path("lfs") / "objects" / pointer.oid[:2] / pointer.oid[2:4] / pointer.oid
