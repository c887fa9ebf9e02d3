"""The logins that the executor contract runs on: ours, another one of this machine, one behind a real sshd, and the
slots of pools: what a command acquired, and a job of a real Slurm cluster."""

from __future__ import annotations

import asyncio
import contextlib
import os
import pwd
import shutil
import sys
import tempfile
import uuid
from collections.abc import AsyncIterator, Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest

from fleet.config import PoolConfig, Secrets, SlotTarget
from fleet.machines.local import LocalExecutor
from fleet.machines.login import LoginExecutor
from fleet.machines.pools.command import CommandProvider
from fleet.machines.pools.slurm import SlurmProvider
from fleet.machines.slurm import SlurmExecutor
from fleet.machines.ssh import SshExecutor
from fleet.ports import Ended, Executor, Output, PipeEvent, PipeSpec
from tests.far_end.cluster import Cluster
from tests.far_end.farm import Farm
from tests.far_end.logins import agents_login
from tests.far_end.sshd import Sshd, running_sshd

NONCE = "0f" * 16

_MACHINES = ("local", pytest.param("other-login", marks=pytest.mark.needs_root), "ssh")
KINDS = (*_MACHINES, "command", "slurm")
#: What `make test` takes: with root, another login on this machine stands for the controller's own, too.
QUICK_KINDS = _MACHINES[1:] if os.geteuid() == 0 else _MACHINES


@dataclass
class Login:
    """One login under test and what a test may do to it."""

    kind: str
    root: Path
    make: Callable[..., LoginExecutor]
    sshd: Sshd | None
    made: list[LoginExecutor] = field(default_factory=list)

    def outside(self, pid: int) -> int:
        """The number here of a process that calls itself ``pid`` there: a job has a PID namespace of its own."""
        (found,) = self._outside(pid)
        return found

    def alive(self, pid: int) -> bool:
        """Whether the process that calls itself so there runs (a zombie does not)."""
        return any(map(alive, self._outside(pid)))

    def peak_kib(self, pid: int) -> int:
        """The most memory that it ever had (KiB)."""
        status = Path(f"/proc/{self.outside(pid)}/status").read_text()
        return int(status.partition("VmHWM:")[2].split()[0])

    async def ends(self, pid: int) -> None:
        """Waits until that process is gone."""
        async with asyncio.timeout(60):
            while self.alive(pid):  # nothing tells of a stranger's end
                await asyncio.sleep(0.01)

    def _outside(self, pid: int) -> list[int]:
        if self.kind != "slurm":
            return [pid]
        mark = str(self.root.parent).encode()
        of_job = {space for space, _, command in _namespaced() if mark in command}
        return [number for space, (number, *_, inner), _ in _namespaced() if inner == pid and space in of_job]

    def executor(self, **options: Any) -> LoginExecutor:
        """A further executor of the same login, with its own link."""
        executor = self.make(**options)
        self.made.append(executor)
        return executor


@contextlib.contextmanager
def private_directory(owner: pwd.struct_passwd | None = None) -> Iterator[Path]:
    """A directory that another login can reach too, which pytest's own is not."""
    directory = Path(tempfile.mkdtemp(prefix="airboss-"))
    if owner:
        os.chown(directory, owner.pw_uid, owner.pw_gid)
    try:
        yield directory
    finally:
        shutil.rmtree(directory, ignore_errors=True)


@contextlib.contextmanager
def far_end() -> Iterator[Sshd]:
    """An sshd that allows one session a connection: everything must fit into one channel."""
    with (
        tempfile.TemporaryDirectory(prefix="sshd-") as directory,
        running_sshd(Path(directory), max_sessions=1) as sshd,
    ):
        yield sshd


@contextlib.asynccontextmanager
async def opened(
    kind: str, sshd: Sshd | None = None, cluster: Cluster | None = None, **options: Any
) -> AsyncIterator[Login]:
    """A login of that kind with an empty root; what was started there is stopped in the end."""
    owner = agents_login() if kind == "other-login" else None
    async with contextlib.AsyncExitStack() as stack:
        directory = stack.enter_context(private_directory(owner))
        root = directory / ".airboss"
        job = await stack.enter_async_context(job_in(cluster, directory)) if cluster and kind == "slurm" else ""
        target = await stack.enter_async_context(slot_on(sshd, directory)) if sshd and kind == "command" else None

        def make(**more: Any) -> LoginExecutor:
            settings = {"root": str(root), **options, **more}
            if job:
                return SlurmExecutor("slot", job=job, door=str(directory / job), **settings)
            if sshd and target:
                return ssh_executor(sshd, **{**_reached(target), **settings})
            if sshd and kind == "ssh":
                return ssh_executor(sshd, **settings)
            return LocalExecutor("near", run_as=owner.pw_name if owner else "", **settings)

        login = Login(kind, root, make, sshd if kind in ("ssh", "command") else None)
        try:
            yield login
        finally:
            if (root / "pipes").is_dir():
                sweeper = login.executor()
                await asyncio.gather(
                    *(sweeper.stop(pipe.name, 0) for pipe in (root / "pipes").iterdir() if pipe.is_dir())
                )
            for executor in login.made:
                await executor.close()


@contextlib.asynccontextmanager
async def job_in(cluster: Cluster, directory: Path) -> AsyncIterator[str]:
    """The name of a job that is a slot, with its door in the directory."""
    config = PoolConfig(provider="slurm", python=sys.executable, labels=["any"], home=str(directory))
    provider, name = SlurmProvider("big", config), f"airboss-{uuid.uuid4().hex[:8]}"
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("SLURM_CONF", str(cluster.directory / "slurm.conf"))
        target = await provider.acquire(name)
        try:
            yield name
        finally:
            await provider.release(name, target.model_dump_json())


@contextlib.asynccontextmanager
async def slot_on(sshd: Sshd, directory: Path) -> AsyncIterator[SlotTarget]:
    """What the commands of a pool say of a slot."""
    farm = Farm.at(directory / "farm", sshd)
    config = PoolConfig(**farm.pool(labels=["any"]))
    provider = CommandProvider("farm", config, Secrets({}))
    target = await provider.acquire("farm-1")
    try:
        yield target
    finally:
        await provider.release("farm-1", target.model_dump_json())
        assert farm.slots == []


def _reached(target: SlotTarget) -> dict[str, Any]:
    return {"host": target.host, "port": target.port, "user": target.user, "host_key": target.host_key}


def ssh_executor(sshd: Sshd, **options: Any) -> SshExecutor:
    """An executor for that server, pinned to its key unless ``options`` say otherwise."""
    settings: dict[str, Any] = {
        "host": "127.0.0.1",
        "port": sshd.port,
        "user": sshd.user,
        "host_key": sshd.host_key,
        "identity": str(sshd.identity),
    }
    return SshExecutor("far", **{**settings, **options})


def pipe_spec(*argv: str, **options: Any) -> PipeSpec:
    """A pipe with a fresh id."""
    settings: dict[str, Any] = {"id": f"t1.1-{uuid.uuid4().hex}", "nonce": NONCE, "cwd": "/", "grace_us": 200_000}
    return PipeSpec(argv=argv, **{**settings, **options})


@dataclass
class Life:
    """Everything a pipe told."""

    output: bytes
    events: list[PipeEvent]
    ended: Ended


async def follow(executor: Executor, pipe: str, offset: int = 0, nonce: str = NONCE) -> Life:
    """Attaches until the end; checks that no byte is missing or repeated on the way."""
    output = bytearray()
    events: list[PipeEvent] = []
    async for event in executor.attach(pipe, nonce, offset):
        if isinstance(event, Output):
            assert event.offset == offset + len(output)
            output += event.data
        else:
            events.append(event)
    assert isinstance(events[-1], Ended)
    return Life(bytes(output), events, events[-1])


async def run_pipe(executor: LoginExecutor, spec: PipeSpec) -> Life:
    """Starts and follows."""
    await executor.start(spec)
    return await follow(executor, spec.id)


async def said(executor: LoginExecutor, pipe: str, needle: bytes) -> bytes:
    """Follows until the output holds ``needle``; answers the output."""
    output = b""
    async for event in executor.attach(pipe, NONCE, 0):
        if isinstance(event, Output):
            output += event.data
            if needle in output:
                return output
        assert not isinstance(event, Ended), (event, output)
    raise AssertionError(output)


def _namespaced() -> Iterator[tuple[str, list[int], bytes]]:
    """Processes in PID namespaces below this one: the namespace, their numbers, their command."""
    for entry in Path("/proc").glob("[0-9]*"):
        with contextlib.suppress(OSError):
            status = (entry / "status").read_text()
            numbers = [int(word) for word in status.partition("NSpid:")[2].partition("\n")[0].split()]
            if len(numbers) > 1:
                yield os.readlink(entry / "ns/pid"), numbers, (entry / "cmdline").read_bytes()


def alive(pid: int) -> bool:
    """Whether that process runs (a zombie does not)."""
    with contextlib.suppress(OSError):
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] not in "ZX"
    return False


async def ends(pid: int) -> None:
    """Waits until that process is gone."""
    async with asyncio.timeout(60):
        while alive(pid):  # nothing tells of a stranger's end
            await asyncio.sleep(0.01)
