"""The door of a slot: what starts through it outlives the link, and ends with the door."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from fleet.machines.slurm import door_source

PYTHON = [sys.executable, "-I", "-S", "-c"]


def opened(directory: Path, first: int = 60, later: int = 60) -> subprocess.Popen[bytes]:
    return subprocess.Popen([*PYTHON, door_source(), "door", str(first), str(later), str(directory)])


def bridge(directory: Path, *command: str, said: bytes = b"") -> bytes:
    argv = [*PYTHON, door_source(), "bridge", str(directory), *command]
    return subprocess.run(argv, input=said, capture_output=True, check=True, timeout=60).stdout


@pytest.fixture
def door(tmp_path: Path) -> Iterator[Path]:
    directory = tmp_path / "slots" / ("a-long-name-" * 15)  # longer than a socket's path may be
    process = opened(directory)
    yield directory
    process.send_signal(signal.SIGTERM)
    process.wait(60)


def test_bytes_pass_unchanged_and_a_command_learns_where_it_is(door: Path) -> None:
    every = bytes(range(256)) * 8_000
    assert bridge(door, "cat", said=every) == every
    assert bridge(door, "printf", "%s", "@") == str(door).encode()
    assert (door / "door").stat().st_mode & 0o077 == 0 == door.stat().st_mode & 0o077


def test_what_a_command_started_outlives_its_link(door: Path, tmp_path: Path) -> None:
    said = bridge(door, "sh", "-c", "setsid sleep 300 >&- 2>&- & echo $!")
    os.kill(int(said), 0)
    os.kill(int(said), signal.SIGKILL)


def test_without_a_command_everything_ends_and_a_door_that_nobody_uses_ends_too(tmp_path: Path) -> None:
    told = opened(tmp_path / "told")
    bridge(tmp_path / "told", "true")
    assert bridge(tmp_path / "told") == b""
    assert told.wait(60) == 0
    assert opened(tmp_path / "first", first=0).wait(60) == 0, "nobody came"
    later = opened(tmp_path / "later", later=0)
    bridge(tmp_path / "later", "true")
    assert later.wait(60) == 0, "nobody came any more"
