"""The ``Executor`` for a login on the controller's own machine: the controller's, or another through ``run_as``."""

from __future__ import annotations

import asyncio
import contextlib
import os
import pwd
import re
import shutil
from typing import Unpack

from fleet.errors import Misused
from fleet.logins import account as own_account
from fleet.logins import login_name
from fleet.machines.bootstrap import serve_command
from fleet.machines.channel import ByteStream
from fleet.machines.login import LoginExecutor, LoginSettings

_NAME = re.compile(r"[a-z_][a-z0-9_.-]{0,31}\$?")

#: For another login: the controller's own PATH lists programs that only the controller may run.
_LOGIN_PATH = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin:/opt/homebrew/bin"


class LocalExecutor(LoginExecutor):
    """Runs the runner as a child process; as ``run_as`` when that is another login."""

    def __init__(self, machine: str, *, run_as: str = "", **settings: Unpack[LoginSettings]) -> None:
        super().__init__(machine, **settings)
        if run_as and not _NAME.fullmatch(run_as):
            raise Misused(attempted="use a login", on=machine, cause=f"{run_as!r} is not a login name")
        own = login_name()
        self._login = run_as or own
        self._other = self._login != own

    @property
    def where(self) -> str:
        """The machine and login, for error messages."""
        return f"{self._login}@{self.machine}"

    async def _open(self) -> ByteStream:
        try:
            account = pwd.getpwnam(self._login) if self._other else own_account()
        except KeyError as error:
            raise Misused(
                attempted="use a login",
                on=self.where,
                cause="this login does not exist on this machine",
                hint=f"create it (as root: useradd --create-home {self._login}) or correct fleet.toml",
            ) from error
        command = [*become(self._login), *await self._serve()]
        # Only the login's own defaults: the controller's environment holds secrets.
        env = {
            "HOME": account.pw_dir,
            "USER": self._login,
            "LOGNAME": self._login,
            "PATH": _LOGIN_PATH if self._other else os.environ.get("PATH", _LOGIN_PATH),
            "LANG": os.environ.get("LANG", "C.UTF-8"),
        }
        loop = asyncio.get_running_loop()
        transport, protocol = await loop.subprocess_exec(
            lambda: asyncio.subprocess.SubprocessStreamProtocol(limit=1 << 16, loop=loop),
            *command,
            stdin=asyncio.subprocess.PIPE,
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.PIPE,
            env=env,
            cwd="/",
            start_new_session=True,
        )
        return _ProcessStream(asyncio.subprocess.Process(transport, protocol, loop), transport)

    async def _serve(self) -> list[str]:
        """What the login runs to become ``serve``."""
        return await asyncio.to_thread(serve_command, self._python, self._root, self.takes_compiled)

    async def _complaint(self, stream: ByteStream) -> str:
        assert isinstance(stream, _ProcessStream)
        return await stream.complaint()


def become(login: str) -> list[str]:
    """The command before a command that runs as this login; none for our own."""
    if login == login_name() or (account := pwd.getpwnam(login)).pw_uid == os.geteuid():
        return []
    if os.geteuid() != 0:
        return ["sudo", "-n", "-H", "-u", login, "--"]
    if shutil.which("setpriv"):
        return ["setpriv", "--reuid", login, "--regid", str(account.pw_gid), "--init-groups", "--"]
    if shutil.which("runuser"):
        return ["runuser", "-u", login, "--"]
    return ["sudo", "-n", "-H", "-u", login, "--"]


class _ProcessStream:
    """A child process's standard input and output."""

    def __init__(self, process: asyncio.subprocess.Process, transport: asyncio.SubprocessTransport) -> None:
        assert process.stdin and process.stdout and process.stderr
        self.process, self._transport = process, transport
        self._stdin, self._stdout, self._stderr = process.stdin, process.stdout, process.stderr

    async def read(self) -> bytes:
        return await self._stdout.read(1 << 18)

    async def write(self, data: bytes) -> None:
        self._stdin.write(data)
        await self._stdin.drain()

    async def complaint(self) -> str:
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(2):
                return (await self._stderr.read(4096)).decode(errors="replace")
        return ""

    async def close(self) -> None:
        """Closes the runner's input, which ends its loop; kills one that is frozen.

        ``wait`` returns only after the output is read to the end, and nothing reads it here: hence the second pipe
        read.
        """
        self._stdin.close()
        try:
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(2):
                    await self.process.wait()
        finally:
            with contextlib.suppress(PermissionError):  # sudo runs as root
                self._transport.close()
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(2):
                await self.process.wait()
