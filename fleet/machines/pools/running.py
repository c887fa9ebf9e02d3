"""Runs a command of a provider: bounded in time and output, and never left behind."""

from __future__ import annotations

import asyncio
import contextlib
import os
import signal
from collections.abc import Mapping, Sequence
from typing import Final

from fleet.errors import Unavailable
from fleet.supervise import alongside
from fleet.untrusted import clean

_MOST_SAID: Final = 1 << 20
_MOST_COMPLAINT: Final = 4_096
_SHOWN: Final = 200


async def output(
    on: str, what: str, argv: Sequence[str], seconds: float, *, env: Mapping[str, str], said: bytes = b""
) -> bytes:
    """A command's output. Its process group is ended when it takes too long or nobody waits for it any more.

    Raises ``Unavailable`` when it fails in whatever way; ``on`` and ``what`` are whose it is and what it does.
    """
    loop = asyncio.get_running_loop()
    try:
        transport, protocol = await loop.subprocess_exec(
            lambda: asyncio.subprocess.SubprocessStreamProtocol(limit=1 << 16, loop=loop),
            *argv,
            stdin=asyncio.subprocess.PIPE,
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.PIPE,
            env=env,
            start_new_session=True,
        )
    except (OSError, ValueError) as error:
        raise failed(
            on, what, f"cannot be started: {argv[0]}: {getattr(error, 'strerror', None) or error}"
        ) from error
    process = asyncio.subprocess.Process(transport, protocol, loop)
    try:
        async with asyncio.timeout(seconds):
            out, complaint = await _talk(process, said)
            status = await process.wait()
    except TimeoutError:
        raise failed(on, what, f"did not end within {seconds:.0f} s") from None
    except _TooLongError:
        raise failed(on, what, f"printed more than {_MOST_SAID >> 20} MiB") from None
    finally:
        if process.returncode is None:
            with contextlib.suppress(ProcessLookupError):
                os.killpg(process.pid, signal.SIGKILL)
        transport.close()
    if status:
        words = clean(complaint.decode("utf-8", "replace"), _SHOWN).strip().replace("\n", " ")
        raise failed(on, what, f"exited with {status}: {words}" if words else f"exited with {status}")
    return out


def failed(on: str, what: str, why: str) -> Unavailable:
    """The error of a provider."""
    return Unavailable(attempted=what, on=on, cause=f"{what} {why}")


class _TooLongError(Exception):
    """A command says more than anybody would read."""


async def _talk(process: asyncio.subprocess.Process, said: bytes) -> tuple[bytes, bytes]:
    """Gives a process its input; its output, and the end of its complaints."""
    assert process.stdin and process.stdout and process.stderr
    process.stdin.write(said)
    process.stdin.close()
    async with alongside(_end_of(process.stderr), "what a provider complains of") as complaint:
        return await _all_of(process.stdout), await complaint


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
