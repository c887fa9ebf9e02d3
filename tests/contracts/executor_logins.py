"""The logins that the executor contract runs on: ours, another one of this machine, and one behind a real sshd."""

from __future__ import annotations

import asyncio
import contextlib
import os
import pwd
import shutil
import tempfile
import uuid
from collections.abc import AsyncIterator, Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest

from fleet.machines.local import LocalExecutor
from fleet.machines.login import LoginExecutor
from fleet.machines.ssh import SshExecutor
from fleet.ports import Ended, Executor, Output, PipeEvent, PipeSpec
from tests.far_end.logins import agents_login
from tests.far_end.sshd import Sshd, running_sshd

NONCE = "0f" * 16

KINDS = ("local", pytest.param("other-login", marks=pytest.mark.needs_root), "ssh")
#: What `make test` takes: with root, another login on this machine stands for the controller's own, too.
QUICK_KINDS = KINDS[1:] if os.geteuid() == 0 else KINDS


@dataclass
class Login:
    """One login under test and what a test may do to it."""

    kind: str
    root: Path
    make: Callable[..., LoginExecutor]
    sshd: Sshd | None
    made: list[LoginExecutor] = field(default_factory=list)

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
async def opened(kind: str, sshd: Sshd | None = None, **options: Any) -> AsyncIterator[Login]:
    """A login of that kind with an empty root; what was started there is stopped in the end."""
    owner = agents_login() if kind == "other-login" else None
    with private_directory(owner) as directory:
        root = directory / ".airboss"

        def make(**more: Any) -> LoginExecutor:
            settings = {"root": str(root), **options, **more}
            if sshd and kind == "ssh":
                return ssh_executor(sshd, **settings)
            return LocalExecutor("near", run_as=owner.pw_name if owner else "", **settings)

        login = Login(kind, root, make, sshd if kind == "ssh" else None)
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
