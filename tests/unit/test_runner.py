"""The runner as a file that is built and shipped, and what it must do whatever it is sent."""

from __future__ import annotations

import ast
import asyncio
import graphlib
import io
import json
import os
import shutil
import struct
import subprocess
import sys
import zipfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from fleet.errors import Unavailable
from fleet.machines.bootstrap import pack, serve_command, shipment
from fleet.machines.channel import Channel
from fleet.machines.runner.frames import frame, whole_frames
from fleet.machines.runner.image import build, members

PACKAGE = Path(__file__).parents[2] / "fleet/machines/runner"
ISOLATED = [sys.executable, "-I", "-S", "-E"]


def test_the_same_modules_give_the_same_archive(tmp_path: Path) -> None:
    """The name on a machine is the content's hash: a new checkout must not be a new runner."""
    copy = tmp_path / "runner"
    copy.mkdir()
    for module in sorted(PACKAGE.glob("*.py"), reverse=True):
        shutil.copyfile(module, copy / module.name)
        os.utime(copy / module.name, (1, 1))
        (copy / module.name).chmod(0o600)
    assert pack(copy) == pack(PACKAGE) == shipment().archive
    (copy / "frames.py").write_text("")
    assert pack(copy) != pack(PACKAGE)


def test_the_archive_is_read_as_zipfile_reads_it() -> None:
    archive = shipment().archive
    with zipfile.ZipFile(io.BytesIO(archive)) as reader:
        expected = {name: reader.read(name) for name in reader.namelist()}
    assert dict(members(archive)) == expected and "runner/supervise.py" in expected
    assert list(expected) == sorted(expected)


def test_no_shell_can_change_the_installing_command() -> None:
    assert not [word for word in serve_command("python3", "/root") if "'" in word]


@pytest.fixture(params=["archive", "image"])
def runner(request: pytest.FixtureRequest, tmp_path: Path) -> Path:
    """The file as it is shipped, and as a machine keeps it compiled."""
    archive = shipment().archive
    content = archive if request.param == "archive" else build(archive, "runner.pyz")
    path = tmp_path / ("runner.pyz" if request.param == "archive" else "runner.pyc")
    path.write_bytes(content)
    return path


def test_one_file_runs_by_itself(runner: Path, tmp_path: Path) -> None:
    """What the process list shows is that file's name and what it does."""
    said = subprocess.run([*ISOLATED, runner], capture_output=True, text=True, check=False, cwd=tmp_path)
    assert (said.returncode, said.stderr) == (1, "usage: runner serve ROOT | supervise ID\n")
    spec: dict[str, Any] = {
        "id": "p",
        "root": str(tmp_path),
        "argv": ["cat", f"/proc/{os.getpid()}/stat"],
        "cwd": "/",
        "env": {},
    }
    spec |= {"stdin": False, "merge": False, "contain": False, "timeout_us": 0, "grace_us": 0, "expect_tree": None}
    text = json.dumps(spec).encode()
    started = subprocess.run(
        [*ISOLATED, runner, "supervise", "p"],
        input=struct.pack(">I", len(text)) + text + b"nonce",
        capture_output=True,
        check=True,
    )
    assert json.loads(started.stdout) == {"ok": "started"}


def test_an_image_is_the_same_each_time() -> None:
    """Else every new link would write it anew."""
    archive = shipment().archive
    script = "import sys; sys.path.insert(0, sys.argv[1]); from runner.image import build;"
    script += "sys.stdout.buffer.write(build(sys.stdin.buffer.read(), 'x'))"
    argv = [sys.executable, "-I", "-c", script, str(PACKAGE.parent)]
    images = {subprocess.run(argv, input=archive, capture_output=True, check=True).stdout for _ in range(3)}
    assert len(images) == 1


def test_frames_are_taken_whole_from_any_pieces() -> None:
    sent: list[tuple[dict[str, Any], bytes]] = [
        ({"id": 1, "op": "ping"}, b""),
        ({"id": 2}, b"\0" * 300),
        ({}, b"x"),
    ]
    wire = b"".join(frame(*each) for each in sent)
    for size in (1, 7, 64, len(wire)):
        buffer, seen = bytearray(), []
        for at in range(0, len(wire), size):
            buffer += wire[at : at + size]
            seen += list(whole_frames(buffer))
        assert seen == sent and not buffer


class Pipes:
    """A runner's standard streams as a link."""

    def __init__(self, process: asyncio.subprocess.Process) -> None:
        assert process.stdin and process.stdout
        self.process, self.stdin, self.stdout = process, process.stdin, process.stdout

    async def read(self) -> bytes:
        return await self.stdout.read(1 << 16)

    async def write(self, data: bytes) -> None:
        self.stdin.write(data)
        await self.stdin.drain()

    async def close(self) -> None:
        self.stdin.close()
        await self.process.wait()


async def test_a_request_that_cannot_be_handled_is_its_own_end_and_not_the_links(
    runner: Path, tmp_path: Path
) -> None:
    (tmp_path / "root/pipes/p").mkdir(parents=True)
    (tmp_path / "root/pipes/p/out").touch()
    process = await asyncio.create_subprocess_exec(
        *ISOLATED,
        str(runner),
        "serve",
        str(tmp_path / "root"),
        stdin=asyncio.subprocess.PIPE,
        stdout=asyncio.subprocess.PIPE,
    )
    channel = Channel("near", Pipes(process), interval=60, misses=2)
    try:
        assert await channel.ready == str(tmp_path / "root")
        for operation in ("read", "nonsense", "start"):
            with pytest.raises(Unavailable):
                await channel.ask(operation, attempted="try")
        with pytest.raises(Unavailable):
            await channel.ask("attach", attempted="try", pipe="p", offset="soon")
        assert (await channel.ask("facts", attempted="look")).header["uid"] == os.getuid()
    finally:
        await channel.close()


def calls(tree: ast.AST) -> Iterator[ast.Call]:
    return (node for node in ast.walk(tree) if isinstance(node, ast.Call))


def test_nothing_signals_everybody_outside_a_namespace() -> None:
    """``kill(-1)`` there means every process of this login, here and in the tests' own machine: read, never run."""
    everybody = {}
    for module in PACKAGE.glob("*.py"):
        for function in ast.walk(ast.parse(module.read_text())):
            if isinstance(function, ast.FunctionDef):
                for call in calls(function):
                    if ast.unparse(call.func) in ("os.kill", "attempt") and "-1" in map(ast.unparse, call.args):
                        everybody[module.name, function.name] = (function, call)
    ((where, (function, call)),) = everybody.items()
    assert where == ("containment.py", "contain")
    (guard,) = (
        node for node in ast.walk(function) if isinstance(node, ast.If) and "getpid" in ast.unparse(node.test)
    )
    assert ast.unparse(guard.test) == "os.getpid() != 1"
    assert isinstance(guard.body[-1], ast.Raise) and guard.lineno < call.lineno
    (handler,) = (
        node.handlers[0] for node in ast.walk(function) if isinstance(node, ast.Try) and guard in node.body
    )
    assert ast.unparse(handler.body[-1]) == "os._exit(0)"


def test_the_runners_modules_import_each_other_one_way() -> None:
    """Types included: a circle would have to be loaded, understood and changed as one."""
    arrows: dict[str, set[str]] = {}
    for module in PACKAGE.glob("*.py"):
        found = (node for node in ast.walk(ast.parse(module.read_text())) if isinstance(node, ast.ImportFrom))
        arrows[module.stem] = {node.module for node in found if node.level and node.module}
    graphlib.TopologicalSorter(arrows).prepare()
