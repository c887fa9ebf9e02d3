"""What a restore takes from a file that somebody may have made by hand: what a backup has, and nothing else."""

from __future__ import annotations

import asyncio
import io
import sys
import tarfile
from collections.abc import Callable
from itertools import count
from pathlib import Path
from threading import current_thread, main_thread

import pytest

from bot.local import archive
from bot.local.backup import backup
from bot.local.restore import restore
from fleet.errors import DiskFull, Malformed, Misused, StoreUnavailable
from fleet.faults import Fault, Point, injected
from fleet.store.core import Store

Change = Callable[[tarfile.TarInfo, bytes], tuple[tarfile.TarInfo, bytes] | None]


@pytest.fixture
def home(tmp_path: Path) -> Path:
    """A home with a store, a key and a link to somebody else's file."""
    made = tmp_path / "home"
    (made / "keys").mkdir(parents=True)
    (made / "keys" / "receipt_ed25519").write_text("key")
    (made / "keys" / "elsewhere").symlink_to("/etc/passwd")
    (made / "fleet.toml").write_text('isolation = "unsafe-same-user"\n')
    (made / "airboss.log").write_text("words")
    with Store.open(f"sqlite:///{made / 'airboss.db'}"):
        pass
    return made


def changed(file: Path, change: Change) -> None:
    """Writes the archive anew, each member as ``change`` gives it."""
    with tarfile.open(file) as old:
        found = [(member, content.read()) for member in old if (content := old.extractfile(member))]
    with tarfile.open(file, "w:gz") as new:
        for member, data in found:
            kept = change(member, data)
            if kept is not None:
                kept[0].size = len(kept[1]) if kept[0].isreg() else 0
                new.addfile(kept[0], io.BytesIO(kept[1]))


def named(
    name: str, kind: bytes = tarfile.REGTYPE
) -> Callable[[tarfile.TarInfo, bytes], tuple[tarfile.TarInfo, bytes]]:
    """Gives the key another name or kind."""

    def change(member: tarfile.TarInfo, data: bytes) -> tuple[tarfile.TarInfo, bytes]:
        if member.name.startswith("keys/"):
            member.name, member.type, member.linkname = name, kind, "/etc/passwd"
        return member, data

    return change


async def test_a_home_comes_back_without_logs_and_links(home: Path, tmp_path: Path) -> None:
    file, other = tmp_path / "b", tmp_path / "new" / "home"
    assert await backup(home, file) == 0
    assert await restore(file, other) == 0
    assert sorted(path.name for path in other.iterdir()) == ["airboss.db", "fleet.toml", "keys"]
    assert [path.name for path in (other / "keys").iterdir()] == ["receipt_ed25519"]
    assert sorted(path.name for path in tmp_path.iterdir()) == ["b", "home", "new"]


@pytest.mark.parametrize(
    "change",
    [
        named("../outside"),
        named("/tmp/outside"),
        named("keys/../../outside"),
        named("control.sock"),
        named("repos/x.git/hooks/post-update"),
        named("keys/link", tarfile.SYMTYPE),
        named("keys/link", tarfile.LNKTYPE),
        named("keys/pipe", tarfile.FIFOTYPE),
        named("fleet.toml"),
        lambda member, data: None if member.name == archive.MANIFEST else (member, data),
        lambda member, data: None if member.name == archive.STORE else (member, data),
        lambda member, data: (member, data.replace(b'"format": 1', b'"format": 9')),
        lambda member, data: (member, data.replace(b'"ledger_size": 0', b'"ledger_size": 7')),
        lambda member, data: (member, b"[]" if member.name == archive.MANIFEST else data),
    ],
)
async def test_what_no_backup_has_is_refused_and_leaves_nothing(home: Path, tmp_path: Path, change: Change) -> None:
    file, other = tmp_path / "b", tmp_path / "other"
    await backup(home, file)
    changed(file, change)
    with pytest.raises(Malformed):
        await restore(file, other)
    assert list(other.iterdir()) == []
    assert not (tmp_path / "outside").exists()


@pytest.mark.parametrize(
    "damage", [lambda data: data[: len(data) // 2], lambda data: b"no archive", lambda data: b""]
)
async def test_half_a_file_is_refused(home: Path, tmp_path: Path, damage: Callable[[bytes], bytes]) -> None:
    file, other = tmp_path / "b", tmp_path / "other"
    await backup(home, file)
    file.write_bytes(damage(file.read_bytes()))
    with pytest.raises((Malformed, Misused, StoreUnavailable)):
        await restore(file, other)
    assert list(other.iterdir()) == []
    other.joinpath(".restore").mkdir()  # as a restore that was killed leaves it
    good = tmp_path / "good"
    await backup(home, good)
    assert await restore(good, other) == 0


async def test_what_cannot_be_backed_up_is_said(home: Path, tmp_path: Path) -> None:
    with pytest.raises(Misused, match="no store"):
        await backup(tmp_path, tmp_path / "b")
    (home / ".env").touch(mode=0o600)
    (home / ".env").write_text("AIRBOSS_STORE=postgresql://x@/y\n")
    with pytest.raises(Misused, match="pg_dump"):
        await backup(home, tmp_path / "b")
    with pytest.raises(Misused, match="no such file"):
        await restore(tmp_path / "missing", tmp_path / "empty")
    assert await asyncio.to_thread((tmp_path / "b").exists) is False


async def test_a_restore_without_room_leaves_nothing(home: Path, tmp_path: Path) -> None:
    file, other = tmp_path / "b", tmp_path / "other"
    await backup(home, file)
    for first in count(1):
        try:
            with injected(Fault(Point.FILE_WRITE, first=first)):
                await restore(file, other)
        except DiskFull:
            assert list(other.iterdir()) == []
        else:
            break
    assert first > len(list(other.iterdir())) * 2, "each part is written, and goes to its place"


async def test_a_restore_that_was_killed_between_two_parts_is_done_again_and_never_over_a_home_in_use(
    home: Path, tmp_path: Path
) -> None:
    file, other = tmp_path / "b", tmp_path / "other"
    await backup(home, file)
    await restore(file, other)
    whole = sorted(path.name for path in other.iterdir())
    moving = other / ".restoring"

    def killed() -> None:
        moving.mkdir(exist_ok=True)
        (other / "fleet.toml").rename(moving / "fleet.toml")  # the last one
        (other / "keys" / "receipt_ed25519").unlink()

    killed()
    assert await restore(file, other) == 0
    assert sorted(path.name for path in other.iterdir()) == whole
    assert (other / "keys" / "receipt_ed25519").read_text() == "key"
    moving.mkdir()  # it was killed at its very end
    with pytest.raises(Misused, match="it is not empty"):
        await restore(file, other)
    assert {path.name for path in other.iterdir()} >= set(whole)
    killed()
    (other / "serve.lock").touch()
    with pytest.raises(Misused, match="it is not empty"):
        await restore(file, other)
    assert (moving / "fleet.toml").exists() and (other / "airboss.db").exists()


async def test_a_disk_without_links_takes_a_backup(home: Path, tmp_path: Path) -> None:
    def no_links(event: str, _: tuple[object, ...]) -> None:
        if event == "os.link" and current_thread() is main_thread() and links:
            raise PermissionError("Operation not permitted")

    links = [1]
    sys.addaudithook(no_links)
    try:
        assert await backup(home, tmp_path / "b") == 0
        with pytest.raises(Misused, match="it exists"):
            await backup(home, tmp_path / "b")
    finally:
        links.clear()
    assert await restore(tmp_path / "b", tmp_path / "other") == 0
    assert sorted(path.name for path in tmp_path.iterdir()) == ["b", "home", "other"]
