"""``airboss backup FILE``: one consistent copy of a home, also while a controller serves it."""

from __future__ import annotations

import argparse
import asyncio
import io
import os
import shutil
import socket
import sqlite3
import sys
import tarfile
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from importlib.metadata import version
from pathlib import Path
from typing import Any

from bot.local import archive
from fleet import files
from fleet.config import Secrets
from fleet.errors import Misused, Unavailable
from fleet.git.command import Git
from fleet.store import ledger, tree
from fleet.store.copying import copy_file
from fleet.store.core import Store
from fleet.store.migrations import HEAD

_HINT = "Choose another file, or check the disk."


def run(options: argparse.Namespace, home: Path) -> int:
    """The command."""
    return asyncio.run(backup(home, Path(options.file)))


async def backup(home: Path, file: Path) -> int:
    """Writes the copy and says what is in it. Raises as :func:`written` does."""
    await written(home, file)
    sys.stdout.write(
        f"{file} is written. It contains this home's keys and tokens: keep it as safe as the home.\n"
        f"Restore it into an empty home: airboss --home DIR restore {file.name}\n"
    )
    return 0


async def written(home: Path, file: Path) -> None:
    """Writes the copy. Raises ``Misused`` for a home without an SQLite store, or a file that exists;
    ``Unavailable`` when it cannot be written."""
    _check(home, file)
    with files.writing("write the backup", file, hint=_HINT):
        scratch = Path(await asyncio.to_thread(tempfile.mkdtemp, prefix=f".{file.name}.", dir=file.parent))
    try:
        with files.writing("write the backup", file, hint=_HINT):
            await _fill(home, scratch, file)
    finally:
        await asyncio.to_thread(shutil.rmtree, scratch, ignore_errors=True)


def _check(home: Path, file: Path) -> None:
    attempted = "back up the home"
    if file.exists():
        raise _exists(file)
    if url := Secrets.load(home).get("AIRBOSS_STORE"):
        kind = url.partition(":")[0]
        raise Misused(
            attempted=attempted,
            on=str(home),
            cause=f"its store is in {kind}, which this does not copy",
            hint="Copy the database with its own tool (pg_dump), and the home's files with it.",
        )
    if not (home / archive.STORE).exists():
        raise Misused(attempted=attempted, on=str(home), cause="it has no store: nothing ran here yet")


async def _fill(home: Path, scratch: Path, file: Path) -> None:
    await asyncio.to_thread(_copy_store, home / archive.STORE, scratch / archive.STORE)
    manifest = await _manifest(scratch / archive.STORE)
    repositories = [path for path in sorted((home / "repos").glob("*.git")) if path.is_dir()]
    for mirror in repositories:
        await _pack(mirror, scratch)
    whole = scratch / "whole"
    with files.Sink(whole) as sink:
        await asyncio.to_thread(_write, home, scratch, manifest, sink)
        await asyncio.to_thread(os.fsync, sink.fileno())
    try:
        os.link(whole, file)  # never over a file that came meanwhile
    except FileExistsError:
        raise _exists(file) from None
    except OSError:  # a file system without links, as on many a stick and network share
        if await asyncio.to_thread(file.exists):
            raise _exists(file) from None
        await asyncio.to_thread(files.move, whole, file)


def _exists(file: Path) -> Misused:
    return Misused(attempted="back up the home", on=str(file), cause="it exists", hint="Name a new file.")


def _copy_store(source: Path, copy: Path) -> None:
    try:
        copy_file(source, copy)
    except (sqlite3.Error, OSError) as error:
        raise Unavailable(attempted="copy the store", on=str(source), cause=str(error)) from error


async def _manifest(store_file: Path) -> archive.Manifest:
    with Store.open(f"sqlite:///{store_file}") as store:
        size = await store.read(ledger.size)
        root = await store.read(lambda tx: tree.root_at(tx, size))
        return archive.Manifest(
            format=archive.FORMAT,
            version=version("airboss"),
            schema=HEAD,
            instance=store.instance,
            host=socket.gethostname(),
            created_us=time.time_ns() // 1_000,
            ledger_size=size,
            ledger_root=root.hex(),
        )


async def _pack(mirror: Path, scratch: Path) -> None:
    """All objects of a mirror, whichever refs lead to them, as one pack; and its refs."""
    git, folder = Git(), scratch / mirror.name
    await asyncio.to_thread(folder.mkdir)
    refs = await git.run(
        "for-each-ref",
        "--format=%(objectname) %(refname)",
        attempted="list the refs",
        on=mirror.name,
        git_dir=mirror,
    )
    listed = folder / "listed"
    await git.run(
        "cat-file", "--batch-all-objects", "--batch-check=%(objectname)",
        attempted="list the objects", on=mirror.name, git_dir=mirror, stdout=listed, limit=8 << 30, timeout=3600.0,
    )  # fmt: skip
    await git.run(
        "pack-objects", "--quiet", "--stdout", "--delta-base-offset",
        attempted="pack the objects", on=mirror.name, git_dir=mirror, limit=1 << 40, timeout=3600.0,
        stdin=await asyncio.to_thread(listed.read_bytes), stdout=folder / archive.PACK,
    )  # fmt: skip
    await asyncio.to_thread(files.replace, folder / archive.REFS, refs.out)


def _write(home: Path, scratch: Path, manifest: archive.Manifest, sink: files.Sink) -> None:
    stream: Any = sink  # tarfile asks for a reader too, and only writes here
    with tarfile.open(fileobj=stream, mode="w|gz") as made:
        _add_bytes(made, archive.MANIFEST, manifest.to_bytes())
        made.add(scratch / archive.STORE, archive.STORE, filter=_owned)
        for name, path in _of_home(home):
            with _gone_meanwhile():
                made.add(path, name, recursive=False, filter=_owned)
        for folder in sorted(path for path in scratch.glob("*.git") if path.is_dir()):
            for part in (archive.PACK, archive.REFS):
                made.add(folder / part, f"repos/{folder.name}/{part}", filter=_owned)


def _of_home(home: Path) -> Iterator[tuple[str, Path]]:
    """Regular files only: a link could lead anywhere."""
    for name in archive.FILES:
        if (home / name).is_file():
            yield name, (home / name).resolve()
    for folder in archive.FOLDERS:
        for path in sorted((home / folder).rglob("*")):
            if path.is_file() and not path.is_symlink():
                yield path.relative_to(home).as_posix(), path


@contextmanager
def _gone_meanwhile() -> Iterator[None]:
    """Retention may remove a file between the list and the copy."""
    try:
        yield
    except FileNotFoundError:
        return


def _add_bytes(made: tarfile.TarFile, name: str, data: bytes) -> None:
    member = tarfile.TarInfo(name)
    member.size, member.mode, member.mtime = len(data), 0o600, time.time_ns() // 1_000_000_000
    made.addfile(member, io.BytesIO(data))


def _owned(member: tarfile.TarInfo) -> tarfile.TarInfo:
    """Without the names of logins, which another machine does not have."""
    member.uid = member.gid = 0
    member.uname = member.gname = ""
    return member
