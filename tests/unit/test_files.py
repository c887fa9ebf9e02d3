"""The controller's own files: whole or not at all, private, and each write can be made to fail."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path

import pytest

from bot.reload import digest_of
from fleet import files
from fleet.config import Secrets, load_fleet
from fleet.errors import DiskFull, Misused, Unavailable
from fleet.faults import Fault, Point, injected
from fleet.git.command import Git
from gates.receipts.sshsig import load_or_create


@pytest.mark.parametrize("replace", [files.replace, files.replace_durably])
def test_a_write_that_fails_leaves_the_old_file_and_nothing_beside_it(
    tmp_path: Path, replace: Callable[..., None]
) -> None:
    path = tmp_path / "a"
    replace(path, b"old")
    assert path.stat().st_mode & 0o777 == 0o600
    with injected(Fault(Point.FILE_WRITE)), pytest.raises(OSError, match="No space left"):
        replace(path, b"new")
    assert path.read_bytes() == b"old"
    assert list(tmp_path.iterdir()) == [path]
    replace(path, b"new", mode=0o644)
    assert (path.read_bytes(), path.stat().st_mode & 0o777) == (b"new", 0o644)


def test_files_that_need_each_other_are_replaced_in_order_and_only_where_they_differ(tmp_path: Path) -> None:
    signature, signers, statement = (tmp_path / name for name in ("a.sig", "signers", "a"))
    steps = [{signature: b"of one", signers: b"us"}, {statement: b"one"}]
    for first in (1, 2, 3):
        with injected(Fault(Point.FILE_WRITE, first=first)), pytest.raises(OSError, match="No space left"):
            files.replace_in_order(steps)
        assert list(tmp_path.iterdir()) == [], "none of them"
    files.replace_in_order(steps, mode=0o644)
    assert {path.name: path.read_bytes() for path in tmp_path.iterdir()} == {
        "a.sig": b"of one",
        "signers": b"us",
        "a": b"one",
    }
    assert statement.stat().st_mode & 0o777 == 0o644
    before = signers.stat().st_ino
    files.replace_in_order([{signature: b"of two", signers: b"us"}, {statement: b"two"}])
    assert (signature.read_bytes(), statement.read_bytes(), signers.stat().st_ino) == (b"of two", b"two", before)
    signature.unlink()
    signature.mkdir()
    with pytest.raises(OSError, match="directory"):
        files.replace_in_order([{signature: b"of three"}, {statement: b"three"}])
    assert statement.read_bytes() == b"two", "not before its signature"
    assert sorted(path.name for path in tmp_path.iterdir()) == ["a", "a.sig", "signers"]


def test_a_sink_writes_everything_and_only_its_owner_reads_it(tmp_path: Path) -> None:
    with files.Sink(tmp_path / "a") as sink:
        sink.write(b"x" * 3_000_000)
        with injected(Fault(Point.FILE_WRITE)), pytest.raises(OSError, match="No space left"):
            sink.write(b"y")
    assert (tmp_path / "a").stat().st_size == 3_000_000
    assert (tmp_path / "a").stat().st_mode & 0o777 == 0o600


def test_a_full_disk_is_told_apart_from_a_file_that_cannot_be_written(tmp_path: Path) -> None:
    with (
        pytest.raises(DiskFull, match=r"could not keep it .*Free some disk space"),
        files.writing("keep it", tmp_path),
    ):
        Path("/dev/full").write_bytes(b"x")
    unowned = files.writing("keep it", tmp_path, hint="Ask the owner.")
    with pytest.raises(Unavailable, match="Ask the owner") as caught, unowned:
        (tmp_path / "none" / "a").write_bytes(b"x")
    assert not isinstance(caught.value, DiskFull)


async def test_git_that_finds_the_disk_full_says_so_by_its_type(tmp_path: Path) -> None:
    for out in (tmp_path / "full", tmp_path / "injected"):
        if out.name == "full":
            out.symlink_to("/dev/full")
        fault = Fault(Point.FILE_WRITE, first=1 if out.name == "injected" else 2)
        with injected(fault), pytest.raises(DiskFull, match="could not list"):
            await Git().run("help", "-a", attempted="list commands", stdout=out)


def test_a_full_disk_leaves_no_half_made_temporary_file(tmp_path: Path) -> None:
    full, scratch = injected(Fault(Point.FILE_WRITE)), files.scratch(tmp_path, "x-")
    with full, pytest.raises(DiskFull, match="temporary file"), scratch:
        raise AssertionError("it cannot be made")
    assert not list(tmp_path.iterdir())


@pytest.mark.timeout(30)
def test_a_pipe_or_a_device_in_place_of_a_file_of_the_home_is_said_and_not_waited_for(tmp_path: Path) -> None:
    (tmp_path / "keys").mkdir()
    places: dict[str, Callable[[], object]] = {
        ".env": lambda: Secrets.load(tmp_path),
        "fleet.toml": lambda: load_fleet(tmp_path / "fleet.toml"),
        "keys/receipt_ed25519": lambda: load_or_create(tmp_path),
    }
    for name, read in places.items():
        os.mkfifo(tmp_path / name)
        with pytest.raises(Misused, match="a named pipe, a socket or a device"):
            read()
        (tmp_path / name).unlink()
        (tmp_path / name).symlink_to("/dev/zero")
        with pytest.raises(Misused, match="a named pipe, a socket or a device"):
            read()
    assert digest_of(tmp_path / "fleet.toml") == ""
