"""Puts the objects of Git LFS in place on a machine: in a worktree, and in a checkout for a gate.

The tree that is judged keeps its pointers; whoever works or tests sees the files. A machine keeps the objects that
it was sent, by their hash. Each copy is hashed there before it replaces its pointer. Where a gate runs, the
supervisor hashes it once more: nothing that another process wrote can take an object's place.
"""

from __future__ import annotations

import tarfile
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from fleet import files
from fleet.git import lfs
from fleet.git.attributes import large_files
from fleet.git.lfs import Pointer
from fleet.git.listed import SAME
from fleet.git.machine_git import MACHINE_ENV, TRANSFER_SECONDS, checked
from fleet.git.repository import Repository
from fleet.ports import Executor

_BATCH_BYTES: Final = 256 << 20
_UNUSED_DAYS: Final = "14"
_ANSWER_BYTES: Final = 16 << 20

# Parameters reach these scripts only as positional arguments, never as part of their text.

_PUT: Final = (
    r"""
set -eu
umask 022
store=$1 tree=$2 days=$3
"""
    + SAME
    + r"""
mkdir -p -- "$store"
own=$(mktemp -d "$store/new.XXXXXX")
trap 'rm -rf -- "$own"' EXIT
trap 'exit 1' HUP INT TERM
cd -- "$tree"
: > "$own/placed"
while IFS= read -r listed; do
    line
    if [ ! -f "./$path" ] || [ -L "./$path" ]; then continue; fi
    if ! pointer | cmp -s - "./$path"; then
        if same "./$path"; then printf 'placed %s\n' "$path"; printf '%s\0' "$path" >> "$own/placed"; fi
        continue
    fi
    if [ -f "$store/$oid" ]; then
        cp --reflink=auto -- "$store/$oid" "$own/file" 2> /dev/null || cp -- "$store/$oid" "$own/file"
        if same "$own/file"; then
            chmod "${mode#100}" "$own/file"
            mv -f -- "$own/file" "./$path"
            touch -- "$store/$oid"
            printf 'placed %s\n' "$path"
            printf '%s\0' "$path" >> "$own/placed"
            continue
        fi
        rm -f -- "$store/$oid"
    fi
    printf 'missing %s\n' "$oid"
done
# The agent's own git does not call these files changed.
[ ! -f .git/index ] || GIT_DIR="$tree/.git" git update-index --assume-unchanged -z --stdin < "$own/placed" || :
find "$store" -type f -mtime "+$days" -exec rm -f -- {} +
"""
)

_RECEIVE: Final = r"""
set -eu
umask 077
store=$1
mkdir -p -- "$store"
own=$(mktemp -d "$store/new.XXXXXX")
trap 'rm -rf -- "$own"' EXIT
trap 'exit 1' HUP INT TERM
tar -x -f - -C "$own"
for object in "$own"/*; do mv -f -- "$object" "$store/"; done
"""


@dataclass(frozen=True, slots=True)
class FilesPlaced:
    """The files of a tree in whose place their objects are, and those that are still pointers: nobody has their
    object."""

    paths: tuple[str, ...] = ()
    missing: tuple[str, ...] = ()


async def listing(repository: Repository, commit: str, base: str = "") -> bytes:
    """What a script on the machine is told of the large files of a commit. ``base``: see ``large_files``."""
    return _listed(await large_files(repository, commit, base))


async def put(  # noqa: PLR0917 - what to put where
    executor: Executor, repository: Repository, root: str, tree: str, commit: str, base: str = ""
) -> FilesPlaced:
    """Puts the objects in place of the pointers in a directory that has a commit's files. May be repeated.

    Only files that are pointers are replaced. Raises ``Unavailable`` where the machine cannot do it.
    """
    wanted = await large_files(repository, commit, base)
    if not wanted:
        return FilesPlaced()
    attempted, on = "put large files in place", f"{tree} on {executor.machine}"
    store, text = f"{root}/lfs", _listed(wanted)

    async def placed() -> list[tuple[str, str]]:
        argv = ["sh", "-c", _PUT, "put", store, tree, _UNUSED_DAYS]
        ran = await executor.run(argv, env=MACHINE_ENV, stdin=text, timeout=TRANSFER_SECONDS, limit=_ANSWER_BYTES)
        checked(ran, attempted, on)
        lines = ran.out.decode("utf-8", "replace").splitlines()
        return [(words[0], words[2]) for line in lines if (words := line.partition(" "))[2]]

    found = await placed()
    absent = {word for kind, word in found if kind == "missing"}
    if absent:
        here = await lfs.bring(repository, commit, {each for _, each in wanted.values() if each.oid in absent})
        for batch in _batches(here):
            with files.scratch(repository.mirror, "transfer-") as packed:
                with files.writing(attempted, packed), tarfile.open(packed, "w") as archive:
                    for pointer, path in batch:
                        archive.add(path, pointer.oid, recursive=False, filter=_without_owner)
                ran = await executor.run(
                    ["sh", "-c", _RECEIVE, "receive", store],
                    env=MACHINE_ENV,
                    stdin=packed,
                    timeout=TRANSFER_SECONDS,
                )
            checked(ran, attempted, on)
        found = await placed() if here else found
    done = {word for kind, word in found if kind == "placed"}
    gone = {word for kind, word in found if kind == "missing"}
    return FilesPlaced(
        tuple(path for path in wanted if path in done),
        tuple(path for path, (_, pointer) in wanted.items() if pointer.oid in gone),
    )


def _without_owner(member: tarfile.TarInfo) -> tarfile.TarInfo:
    """On the machine it belongs to the login that unpacks it."""
    member.uid = member.gid = 0
    member.uname = member.gname = ""
    return member


def _listed(wanted: Mapping[str, tuple[str, Pointer]]) -> bytes:
    rows = (f"{pointer.oid} {pointer.size} {mode} {path}\n" for path, (mode, pointer) in wanted.items())
    return "".join(rows).encode()


def _batches(here: Mapping[Pointer, Path]) -> Iterable[list[tuple[Pointer, Path]]]:
    """The objects in groups, so that no more than one group is packed on this disk at once."""
    batch: list[tuple[Pointer, Path]] = []
    size = 0
    for pointer, path in here.items():
        if batch and size + pointer.size > _BATCH_BYTES:
            yield batch
            batch, size = [], 0
        batch.append((pointer, path))
        size += pointer.size
    if batch:
        yield batch
