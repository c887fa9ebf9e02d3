"""``airboss restore FILE``: fills an empty home from a backup, here or on another machine."""

from __future__ import annotations

import argparse
import asyncio
import os
import shutil
import socket
import sys
import tarfile
from pathlib import Path
from typing import IO, Final

from bot import words
from bot.local import archive
from fleet import files
from fleet.config import load_fleet
from fleet.config.home import FLEET_FILE
from fleet.errors import AirbossError, Misused
from fleet.git.command import Git
from fleet.store import ledger, tree
from fleet.store.core import Store

_STAGE: Final = ".restore"
_MOVING: Final = ".restoring"
"""What the stage is called while its parts go to their places."""
_CHUNK: Final = 1 << 20
_ATTEMPTED: Final = "restore the home"


def run(options: argparse.Namespace, home: Path) -> int:
    """The command."""
    return asyncio.run(restore(Path(options.file), home))


async def restore(file: Path, home: Path) -> int:
    """Fills ``home`` and says how to go on. Raises ``Misused`` for a home that is not empty, ``Malformed`` for a
    file that is no backup; then nothing is left behind. A restore that was cut off may be repeated."""
    await asyncio.to_thread(_check, home)
    stage, umask = home / _STAGE, os.umask(0o077)
    try:
        with files.writing(_ATTEMPTED, home):
            manifest = await asyncio.to_thread(_unpack, file, stage)
            await _check_store(stage / archive.STORE, manifest)
            for folder in sorted((stage / "repos").glob("*.git")):
                await _repository(folder)
            await asyncio.to_thread(_move, stage, home)
    except BaseException:
        await asyncio.to_thread(_clear, home)
        raise
    finally:
        os.umask(umask)
    sys.stdout.writelines(f"{line}\n" for line in _how_to_go_on(home, manifest))
    return 0


def _check(home: Path) -> None:
    home.mkdir(mode=0o700, parents=True, exist_ok=True)
    _clear(home)
    left = sorted(path.name for path in home.iterdir() if path.name not in (_STAGE, _MOVING))
    if left:
        cause = f"it is not empty: {words.some(left, 5)}"
        raise Misused(attempted=_ATTEMPTED, on=str(home), cause=cause, hint="Name an empty directory.")
    home.chmod(0o700)


def _clear(home: Path) -> None:
    """Removes what a restore that was cut off left: the home was empty before its parts went to their places. Not
    once anything else is there: it was used since."""
    ours = {*archive.FILES, *archive.FOLDERS, "repos", archive.STORE}
    there = {path.name for path in home.iterdir()} - {_STAGE, _MOVING}
    if (home / _MOVING).exists() and any((home / _MOVING).iterdir()) and there <= ours:
        for name in there:
            if (home / name).is_dir():
                shutil.rmtree(home / name, ignore_errors=True)
            else:
                (home / name).unlink()
        there.clear()
    for name in () if there else (_STAGE, _MOVING):  # the second one last: with it, this can be done again
        shutil.rmtree(home / name, ignore_errors=True)


def _unpack(file: Path, stage: Path) -> archive.Manifest:
    stage.mkdir(mode=0o700)
    manifest: archive.Manifest | None = None
    try:
        with tarfile.open(file, mode="r:gz") as made:
            for member in made:
                place, content = archive.wanted(member), made.extractfile(member)
                assert content is not None, "a regular file has content"
                if manifest is None:
                    if place.name != archive.MANIFEST:
                        raise archive.unreadable("it has no manifest")
                    manifest = archive.Manifest.from_bytes(content.read(_CHUNK))
                    continue
                _keep(content, stage, stage / place)
    except FileNotFoundError as error:
        raise Misused(attempted="read the backup", on=str(file), cause="there is no such file") from error
    except (tarfile.TarError, EOFError, OSError) as error:
        if isinstance(error, OSError) and error.errno is not None:
            raise
        raise archive.unreadable(str(error)) from error
    if manifest is None or not (stage / archive.STORE).exists():
        raise archive.unreadable("it has no store")
    return manifest


def _keep(content: IO[bytes], stage: Path, path: Path) -> None:
    path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    if path.exists():
        raise archive.unreadable(f"it contains {path.relative_to(stage)} twice")
    with files.Sink(path) as sink:
        while data := content.read(_CHUNK):
            sink.write(data)


async def _check_store(store_file: Path, manifest: archive.Manifest) -> None:
    """Opens the copied store, which upgrades it, and compares its ledger with what the manifest says."""
    with Store.open(f"sqlite:///{store_file}") as store:
        size = await store.read(ledger.size)
        whole = size == manifest.ledger_size and store.instance == manifest.instance
        if not whole or (await store.read(lambda tx: tree.root_at(tx, size))).hex() != manifest.ledger_root:
            raise archive.unreadable("its ledger is not the one that its manifest names")


async def _repository(folder: Path) -> None:
    """Makes a mirror of a pack and a list of refs."""
    git, on = Git(), folder.name
    pack, refs = folder / archive.PACK, folder / archive.REFS
    await git.run(
        "init", "--quiet", "--bare", "--template=", "--object-format=sha1", str(folder), attempted=_ATTEMPTED, on=on
    )
    if pack.stat().st_size:
        kept = folder / "objects" / "pack" / "pack-restored.pack"
        await asyncio.to_thread(kept.parent.mkdir, parents=True, exist_ok=True)
        await asyncio.to_thread(files.move, pack, kept)
        await git.run("index-pack", str(kept), attempted=_ATTEMPTED, on=on, timeout=3600.0)
    else:
        await asyncio.to_thread(pack.unlink)
    lines = (await asyncio.to_thread(refs.read_text)).splitlines()
    updates = "".join(f"create {ref} {commit}\n" for commit, _, ref in (line.partition(" ") for line in lines))
    if updates:
        await git.run("update-ref", "--stdin", stdin=updates.encode(), attempted=_ATTEMPTED, on=on, git_dir=folder)
    await asyncio.to_thread(refs.unlink)


def _move(stage: Path, home: Path) -> None:
    """``fleet.toml`` comes last: a home without one is not served."""
    moving = home / _MOVING
    files.move(stage, moving)
    for path in sorted(moving.iterdir(), key=lambda path: path.name == FLEET_FILE):
        files.move(path, home / path.name)
    shutil.rmtree(moving, ignore_errors=True)


def _how_to_go_on(home: Path, manifest: archive.Manifest) -> list[str]:
    when = words.day(manifest.created_us)
    lines = [
        f"{home} is as it was at {when} on {manifest.host} ({manifest.ledger_size} events).",
        "Start it with airboss serve. If machines or branches know more than this backup, it starts read-only and "
        "says how to go on. Never run it beside the controller it was copied from.",
    ]
    host = socket.gethostname()
    try:
        people = load_fleet(home / FLEET_FILE).people
    except AirbossError as error:
        return [*lines, f"fleet.toml needs your attention: {error}"]
    if host != manifest.host and any(id_.startswith(f"console:{manifest.host}:") for p in people for id_ in p.ids):
        lines.append(
            f"Its console people are people of {manifest.host}. "
            f"Add yours: airboss people add NAME --role ROLE --id console:{host}:LOGIN"
        )
    return lines
