"""A provider of slots that is any three commands."""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import signal
from collections.abc import Mapping, Sequence
from typing import Final

from fleet.config import PoolConfig, Secrets, SlotTarget
from fleet.config.slots import target_of
from fleet.config.values import duration_us
from fleet.errors import Unavailable
from fleet.untrusted import clean

_MOST_SAID: Final = 1 << 20
_MOST_COMPLAINT: Final = 4_096
_SHOWN: Final = 200
_RELEASE_S: Final = 900.0
_INVENTORY_S: Final = 60.0
_OWN_ENV: Final = ("PATH", "HOME", "USER", "LANG", "SSH_AUTH_SOCK")


class CommandProvider:
    """Runs the pool's commands as the controller's login. Each gets ``AIRBOSS_POOL``, those for one slot also
    ``AIRBOSS_SLOT``, and the variables of ``.env`` that the pool names; nothing else of the controller's."""

    def __init__(self, pool: str, config: PoolConfig, secrets: Secrets) -> None:
        self._pool, self._config, self._secrets = pool, config, secrets

    async def acquire(self, name: str) -> SlotTarget:
        """Runs ``acquire``; its output is one JSON object."""
        seconds = duration_us(self._config.acquire_within) / 1_000_000
        said = await self._run("acquire", self._config.acquire, seconds, name)
        target = target_of(said)
        if isinstance(target, str):
            raise self._failed("acquire", f"printed no slot: {clean(target, _SHOWN)}")
        return target

    async def release(self, name: str, target: str) -> None:
        """Runs ``release``, with what ``acquire`` printed as its input."""
        await self._run("release", self._config.release, _RELEASE_S, name, target)

    async def names(self) -> frozenset[str] | None:
        """Runs ``inventory``; its output is a JSON list of names."""
        if self._config.inventory is None:
            return None
        said = await self._run("inventory", self._config.inventory, _INVENTORY_S)
        try:
            names = json.loads(said)
        except (ValueError, RecursionError) as error:
            raise self._failed("inventory", "printed no JSON") from error
        if not isinstance(names, list) or not all(isinstance(name, str) for name in names):
            raise self._failed("inventory", "printed no list of names")
        return frozenset(names)

    async def _run(self, what: str, argv: Sequence[str], seconds: float, slot: str = "", said: str = "") -> bytes:
        """A command's output. Its process group is ended when it takes too long or nobody waits for it any more."""
        loop = asyncio.get_running_loop()
        try:
            transport, protocol = await loop.subprocess_exec(
                lambda: asyncio.subprocess.SubprocessStreamProtocol(limit=1 << 16, loop=loop),
                *argv,
                stdin=asyncio.subprocess.PIPE,
                stdout=asyncio.subprocess.PIPE,
                stderr=asyncio.subprocess.PIPE,
                env=self._env(slot),
                start_new_session=True,
            )
        except (OSError, ValueError) as error:
            raise self._failed(what, str(error)) from error
        process = asyncio.subprocess.Process(transport, protocol, loop)
        try:
            async with asyncio.timeout(seconds):
                out, complaint = await _talk(process, said.encode())
                status = await process.wait()
        except TimeoutError:
            raise self._failed(what, f"did not end within {seconds:.0f} s") from None
        except _TooLongError:
            raise self._failed(what, f"printed more than {_MOST_SAID >> 20} MiB") from None
        finally:
            if process.returncode is None:
                with contextlib.suppress(ProcessLookupError):
                    os.killpg(process.pid, signal.SIGKILL)
            transport.close()
        if status:
            words = clean(complaint.decode("utf-8", "replace"), _SHOWN).strip().replace("\n", " ")
            raise self._failed(what, f"exited with {status}: {words}" if words else f"exited with {status}")
        return out

    def _env(self, slot: str) -> Mapping[str, str]:
        env = {name: value for name in _OWN_ENV if (value := os.environ.get(name))}
        env |= {
            name: self._secrets.require(name, f"run the commands of pool {self._pool}") for name in self._config.env
        }
        return {**env, "AIRBOSS_POOL": self._pool, **({"AIRBOSS_SLOT": slot} if slot else {})}

    def _failed(self, what: str, why: str) -> Unavailable:
        return Unavailable(attempted=what, on=f"pool {self._pool}", cause=f"{what} {why}")


class _TooLongError(Exception):
    """A command says more than anybody would read."""


async def _talk(process: asyncio.subprocess.Process, said: bytes) -> tuple[bytes, bytes]:
    """Gives a process its input; its output, and the end of its complaints."""
    assert process.stdin and process.stdout and process.stderr
    process.stdin.write(said)
    process.stdin.close()
    out, complaint = await asyncio.gather(_all_of(process.stdout), _end_of(process.stderr))
    return out, complaint


async def _all_of(stream: asyncio.StreamReader) -> bytes:
    data = bytearray()
    while piece := await stream.read(1 << 16):
        data += piece
        if len(data) > _MOST_SAID:
            raise _TooLongError
    return bytes(data)


async def _end_of(stream: asyncio.StreamReader) -> bytes:
    data = b""
    while piece := await stream.read(1 << 16):
        data = (data + piece)[-_MOST_COMPLAINT:]
    return data
