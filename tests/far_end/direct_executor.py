"""An executor for tests of git: runs each command at once on this machine, as this login, without a runner."""

from __future__ import annotations

import asyncio
import os
import shutil
from collections.abc import AsyncIterator, Mapping, Sequence
from pathlib import Path

from fleet.errors import Unavailable
from fleet.exits import TimedOut, from_wait_status
from fleet.ports import Executor, LoginFacts, PipeEvent, PipeSpec, Ran


class DirectExecutor(Executor):
    """``root`` is the directory it may use. ``ran`` counts its commands: each is a trip to a machine."""

    def __init__(self, root: Path, machine: str = "here") -> None:
        self._root, self._machine, self.ran = root, machine, 0

    @property
    def machine(self) -> str:
        return self._machine

    @property
    def root(self) -> str:
        return str(self._root)

    async def facts(self) -> LoginFacts:
        self._root.mkdir(parents=True, exist_ok=True)
        return LoginFacts("me", os.getuid(), "", "", "", "linux", "3", 1, 0, 0, 0, False)

    async def run(
        self,
        argv: Sequence[str],
        *,
        cwd: str = "",
        env: Mapping[str, str] | None = None,
        stdin: bytes | Path = b"",
        stdout: Path | None = None,
        timeout: float = 60.0,
        limit: int = 1 << 20,
    ) -> Ran:
        self.ran += 1
        source = stdin.open("rb") if isinstance(stdin, Path) else None
        process = await asyncio.create_subprocess_exec(
            *argv,
            cwd=cwd or None,
            env={"PATH": os.environ["PATH"], "HOME": str(self._root)} | dict(env or {}),
            stdin=source or asyncio.subprocess.PIPE,
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.PIPE,
        )
        if source:
            source.close()
        try:
            async with asyncio.timeout(timeout):
                out, err = await process.communicate(stdin if isinstance(stdin, bytes) else None)
        except TimeoutError:
            process.kill()
            await process.wait()
            return Ran(TimedOut(int(timeout * 1e6)), b"", b"")
        assert process.returncode is not None
        if stdout:
            stdout.write_bytes(out[:limit])
            if len(out) > limit:
                raise Unavailable(attempted="run a command", on=self._machine, cause="too much output")
        code = process.returncode
        return Ran(from_wait_status(-code if code < 0 else code << 8), out[:limit], err[:limit])

    async def write_file(self, path: str, data: bytes, mode: int = 0o600) -> None:
        Path(path).write_bytes(data)

    async def read_file(self, path: str, limit: int) -> bytes:
        return Path(path).read_bytes()[:limit]

    async def remove_tree(self, path: str) -> None:
        shutil.rmtree(path, ignore_errors=True)

    async def start(self, spec: PipeSpec) -> None:
        raise NotImplementedError

    def attach(self, pipe: str, nonce: str, offset: int) -> AsyncIterator[PipeEvent]:
        raise NotImplementedError

    async def send(self, pipe: str, position: int, data: bytes, *, eof: bool = False) -> None:
        raise NotImplementedError

    async def stop(self, pipe: str, grace: float = 5.0) -> None:
        raise NotImplementedError

    async def tail(self, pipe: str, stream: str, limit: int) -> bytes:
        raise NotImplementedError

    async def forget(self, older_than_us: int) -> int:
        raise NotImplementedError

    async def close(self) -> None:
        return None
