"""The runner as a file that is built and shipped, and what it must do whatever it is sent."""

from __future__ import annotations

import ast
import asyncio
import graphlib
import hmac
import importlib.util
import json
import math
import os
import select
import shutil
import signal
import struct
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from fleet.errors import MachineFaulty, Unavailable
from fleet.machines.bootstrap import pack, runner_sources, serve_command, shipment
from fleet.machines.channel import Channel
from fleet.machines.local import LocalExecutor
from fleet.machines.login_session import relay_command
from fleet.machines.runner.facts import LINUX, MARK
from fleet.machines.runner.follow import AttachJob
from fleet.machines.runner.forks import Forks, StartJob
from fleet.machines.runner.frames import frame, whole_frames
from fleet.machines.runner.image import build
from fleet.machines.runner.jobs import ROOM, Link, RunnerJob
from fleet.machines.runner.other_login import KILL
from fleet.machines.runner.pipes import status

PACKAGE = Path(__file__).parents[2] / "fleet/machines/runner"
ISOLATED = [sys.executable, "-I", "-S", "-E"]


def test_the_same_modules_give_the_same_shipment(tmp_path: Path) -> None:
    copy = tmp_path / "runner"
    copy.mkdir()
    for module in sorted(PACKAGE.glob("*.py"), reverse=True):
        shutil.copyfile(module, copy / module.name)
        os.utime(copy / module.name, (1, 1))
        (copy / module.name).chmod(0o600)
    assert pack(copy) == pack(PACKAGE) == shipment(compiled=False)
    (copy / "frames.py").write_text("")
    assert pack(copy) != pack(PACKAGE)


def test_no_shell_can_change_the_installing_command() -> None:
    for command in (serve_command("python3", "/root"), relay_command("python3", "/root")):
        assert not [word for word in command if "'" in word or "\n" in word], "csh takes no two lines in quotes"
        assert command[5].count("~") > 10, "what stands for the ends of lines is in no program"
        compile(command[5].partition('"""')[2].rpartition('"""')[0].replace("~", "\n"), "command", "exec")


def supervised(root: Path, pipe: str, *argv: str) -> bytes:
    """What a supervisor reads of a run."""
    spec: dict[str, Any] = {"id": pipe, "root": str(root), "argv": argv, "cwd": "/", "env": {}, "around": {}}
    spec |= {"stdin": False, "merge": False, "contain": False, "walls": None, "limits": None, "alone": None}
    spec |= {"proxy": None, "timeout_us": 0, "grace_us": 0, "keep_awake": False, "expect_trees": [], "beside": []}
    text = json.dumps(spec | {"large": [], "submodules": []}).encode()
    return struct.pack(">I", len(text)) + text + b"nonce"


class Started(Link):
    """A link on which runs are started; ``said`` are the answers."""

    def __init__(self, root: Path) -> None:
        super().__init__(str(root))
        self.forks = Forks(build(json.loads(runner_sources())))

    def start(self, pipe: str, *argv: str) -> dict[str, Any]:
        told = supervised(Path(self.root), pipe, *argv or ["true"])
        self.jobs[1] = job = StartJob(self, 1, self.forks, told)
        while 1 in self.jobs:
            time.sleep(0.01)
            job.step(time.monotonic())
        ((said, _),) = whole_frames(self.outgoing)
        return said


def ended(root: Path, pipe: str) -> bytes:
    while not (record := root / "pipes" / pipe / "exit").exists():
        time.sleep(0.01)
    return record.read_bytes()


def test_a_supervisor_is_forked_from_a_process_that_read_the_runner_from_standard_input_alone(
    tmp_path: Path,
) -> None:
    link = Started(tmp_path)
    try:
        assert [link.start(pipe).get("ok") for pipe in ("p", "q", "p")] == ["started", "started", "found"]
        for pipe in ("p", "q"):
            line, signature = ended(tmp_path, pipe).splitlines()
            assert json.loads(line)["status"] == 0
            assert hmac.new(b"nonce", line, "sha256").hexdigest() == signature.decode()
        assert not [path for path in tmp_path.rglob("*") if path.suffix in (".py", ".pyc", ".pyz")]
    finally:
        link.forks.end()


def test_the_process_that_supervisors_are_forked_from_is_replaced_once_it_was_ended_or_stopped(
    tmp_path: Path,
) -> None:
    link = Started(tmp_path)
    try:
        assert link.start("p")["ok"] == "started"
        first = link.forks.pid
        os.kill(first, signal.SIGKILL)
        os.waitid(os.P_PID, first, os.WEXITED | os.WNOWAIT)
        assert link.start("q")["ok"] == "started"
        second = link.forks.pid
        assert second != first
        os.kill(second, signal.SIGSTOP)
        link.jobs[1] = job = StartJob(link, 1, link.forks, supervised(tmp_path, "r", "true"))
        job.step(job.deadline)
        ((said, _),) = whole_frames(link.outgoing)
        assert said["error"] == "unavailable" and "no answer" in said["cause"]
        assert link.start("r")["ok"] == "started"
    finally:
        link.forks.end()
    assert json.loads(ended(tmp_path, "r").splitlines()[0])["status"] == 0, "it goes on without it"


def test_a_supervisor_runs_on_where_nobody_reads_that_it_has_begun(tmp_path: Path) -> None:
    link = Started(tmp_path)
    try:
        job = StartJob(link, 1, link.forks, supervised(tmp_path, "p", "true"))
        os.close(job.out)  # the controller was killed, and ``serve`` has ended
        os.set_blocking(job.stdin, True)
        os.write(job.stdin, job.told)
        job.close_stdin()
        assert json.loads(ended(tmp_path, "p").splitlines()[0])["status"] == 0
    finally:
        link.forks.end()


def test_who_follows_a_pipe_is_woken_by_the_end_of_its_supervisor(tmp_path: Path) -> None:
    link, directory = Started(tmp_path), str(tmp_path / "pipes" / "p")
    try:
        assert link.start("p", "sleep", "300")["ok"] == "started"
        link.jobs[2] = job = AttachJob(link, 2, directory, 0)
        job.step(time.monotonic())
        job.wake = math.inf
        if LINUX:
            ((watched, _),) = job.interest()
            while not (main := status(directory)["main"]):
                time.sleep(0.01)
            os.kill(main, signal.SIGKILL)
            assert select.select([watched], [], [], 60)[0]
            job.woken()
            assert job.wake == 0 and job.interest() == [], "or the loop would not wait any more"
            while 2 in link.jobs:
                job.step(max(time.monotonic(), job.wake))
            assert [head["ev"] for head, _ in whole_frames(link.outgoing) if "ev" in head][-1] == "end"
    finally:
        link.forks.end()


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


def test_pipes_that_end_together_share_a_look_at_all_processes(tmp_path: Path) -> None:
    """What was seen before a pipe's end says nothing about it."""
    link = Link(str(tmp_path))
    left = {name: subprocess.Popen(["sleep", "300"], env={**os.environ, MARK: name}) for name in ("one", "two")}
    try:
        ended = time.monotonic()
        found = {name: link.left_by(name, ended) for name in ("one", "two", "three")}
        wanted = {name: [process.pid] for name, process in left.items() if LINUX}
        assert found == {"one": [], "two": [], "three": [], **wanted}
        looked, later, link.look_after = link.looked_at, time.monotonic(), time.monotonic() + 60
        assert link.left_by("one", later) is None and link.looked_at == looked
        left["one"].kill()
        left["one"].wait()
        link.look_after = time.monotonic()
        assert link.left_by("one", later) == [] and link.left_by("two", later) == wanted.get("two", [])
    finally:
        for process in left.values():
            process.kill()
            process.wait()


def test_a_request_that_waits_for_room_on_the_link_goes_on_once_there_is_some(tmp_path: Path) -> None:
    link, now = Link(str(tmp_path)), time.monotonic()
    jobs = [RunnerJob(link, number) for number in (1, 2)]
    jobs[1].credit = 0
    link.outgoing += bytes(ROOM)
    assert not jobs[0].may_talk()
    jobs[0].wait_to_talk(now)
    link.wake_waiting()
    assert jobs[0].wake > now
    link.outgoing.clear()
    jobs[1].wait_to_talk(now)
    link.wake_waiting()
    assert jobs[0].wake == 0 and jobs[1].wake > now, "the other waits for credit"


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


async def test_a_request_that_cannot_be_handled_is_its_own_end_and_not_the_links(tmp_path: Path) -> None:
    (tmp_path / "root/pipes/p").mkdir(parents=True)
    (tmp_path / "root/pipes/p/out").touch()
    process = await asyncio.create_subprocess_exec(
        *serve_command(sys.executable, str(tmp_path / "root")),
        stdin=asyncio.subprocess.PIPE,
        stdout=asyncio.subprocess.PIPE,
    )
    link = Pipes(process)
    await link.write(shipment())
    assert [await link.stdout.readline() for _ in range(2)] == [b"\n", b"here\n"]
    channel = Channel("near", link, interval=60, misses=2)
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
    alone, freeze = everybody.pop(("alone.py", "end_others"))
    assert ast.unparse(freeze) == "attempt(os.kill, -1, signal.SIGSTOP)"
    assert f"me != 0 and {ast.unparse(freeze)}" in ast.unparse(alone), "root is never the login of one run"
    assert "os.getuid() and os.kill(-1" in KILL
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


def other_python(directory: Path) -> Path:
    """A Python that says to have other bytecode than this one."""
    script = directory / "python"
    magic = importlib.util.MAGIC_NUMBER.hex()
    script.write_text(
        f'#!/bin/sh\nfor word; do shift; [ "$word" = {magic} ] && word=00000000; set -- "$@" "$word"; done\n'
        f'exec {sys.executable} "$@"\n'
    )
    script.chmod(0o755)
    return script


async def test_a_machine_with_another_python_compiles_the_runner_itself(tmp_path: Path) -> None:
    machine = LocalExecutor("near", root=str(tmp_path / "root"), python=str(other_python(tmp_path)))
    try:
        for takes_compiled in (True, False):
            assert machine.takes_compiled is takes_compiled
            ran = await machine.run(["echo", "here"])
            assert ran.out == b"here\n", "a supervisor gets the image that was compiled there"
            await machine.close()
    finally:
        await machine.close()


async def test_a_login_that_asks_for_the_runner_again_and_again_is_faulty(tmp_path: Path) -> None:
    script = tmp_path / "python"
    script.write_text("#!/bin/sh\necho sources; echo sources; cat > /dev/null\n")
    script.chmod(0o755)
    machine = LocalExecutor("near", root=str(tmp_path / "root"), python=str(script))
    try:
        with pytest.raises(MachineFaulty, match="sources twice"):
            await machine.facts()
    finally:
        await machine.close()
