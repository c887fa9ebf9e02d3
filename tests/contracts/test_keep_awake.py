"""While a process runs, the machine is kept awake by the system's own program; and no longer."""

from __future__ import annotations

import asyncio
import json
import os
import signal
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from fleet.exits import Exited
from fleet.machines.runner.awake import command
from tests.contracts.executor_logins import Login, alive, ends, follow, opened, pipe_spec, said

#: As systemd's program does: it takes options, then runs what follows them.
INHIBITOR = """#!/bin/sh
printf '%s ' "$$" "$@" > PLACE/said.new && mv PLACE/said.new PLACE/said
while [ "${1#--}" != "$1" ]; do shift; done
"$@"
"""


@pytest.fixture
def said_by(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Where the program, found first on PATH, says its process and arguments."""
    program = tmp_path / "systemd-inhibit"
    program.write_text(INHIBITOR.replace("PLACE", str(tmp_path)))
    program.chmod(0o755)
    monkeypatch.setenv("PATH", f"{tmp_path}:{os.environ['PATH']}")
    return tmp_path / "said"


@pytest.fixture
async def local(said_by: Path) -> AsyncIterator[Login]:
    async with opened("local") as login:
        yield login


async def kept_by(said_by: Path) -> int:
    async with asyncio.timeout(60):
        while not said_by.exists():
            await asyncio.sleep(0.01)
    pid, *options = said_by.read_text().split()
    assert options[:2] == ["--what=sleep:idle", "--who=airboss"]
    return int(pid)


async def test_a_machine_is_kept_awake_until_the_process_ends(local: Login, said_by: Path) -> None:
    executor, spec = local.executor(), pipe_spec("cat", stdin=True, keep_awake=True)
    await executor.start(spec)
    pid = await kept_by(said_by)
    assert alive(pid)
    await executor.send(spec.id, 0, b"done", eof=True)
    life = await follow(executor, spec.id)
    assert (life.output, life.ended.exit, life.ended.gone) == (b"done", Exited(0), True)
    assert not alive(pid)


async def test_it_ends_by_itself_when_the_supervisor_was_killed(local: Login, said_by: Path) -> None:
    executor, spec = local.executor(), pipe_spec("cat", stdin=True, keep_awake=True)
    await executor.start(spec)
    pid = await kept_by(said_by)
    os.kill(json.loads(await executor.read_file(f"pipes/{spec.id}/state.json", 1000))["pid"], signal.SIGKILL)
    await ends(pid)


async def test_nothing_keeps_a_machine_awake_that_is_not_to_be(local: Login, said_by: Path) -> None:
    executor, spec = local.executor(), pipe_spec("echo", "hello")
    await executor.start(spec)
    await said(executor, spec.id, b"hello")
    assert (await follow(executor, spec.id)).ended.exit == Exited(0)
    assert not said_by.exists()


def test_a_mac_has_a_program_of_its_own_and_relative_places_count_nothing(tmp_path: Path) -> None:
    for name in ("caffeinate", "systemd-inhibit"):
        (tmp_path / name).touch(0o755)
    assert command(7, ["", ".", str(tmp_path)]) == [str(tmp_path / "caffeinate"), "-i", "-w", "7"]
    (tmp_path / "caffeinate").unlink()
    assert command(7, [str(tmp_path)])[-1] == "7"
    assert command(7, [""]) == []
