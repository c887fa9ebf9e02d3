"""The controller's own files: whole or not at all, private, and each write can be made to fail."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from fleet import files
from fleet.errors import DiskFull, Unavailable
from fleet.faults import Fault, Point, injected
from fleet.git.command import Git


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
