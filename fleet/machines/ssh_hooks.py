"""A Unix socket on another machine that leads to this controller, over an SSH connection of its own.

The key for it needs one right there, to forward: ``restrict,port-forwarding,command="/bin/false"``. sshd makes the
socket for its login alone, so whoever opens it is that login, or root.
"""

from __future__ import annotations

import contextlib
from collections.abc import AsyncIterator, Awaitable, Callable
from typing import Final

import asyncssh

from fleet.errors import Unavailable, Unreachable
from fleet.machines.hook_streams import Answering
from fleet.machines.ssh import SshExecutor

TRIES: Final = 10
"""So many names are tried: the socket of a connection that was cut may still be there."""


@contextlib.asynccontextmanager
async def forwarded(
    executor: SshExecutor, path: str, answer: Answering
) -> AsyncIterator[Callable[[], Awaitable[None]]]:
    """Listens there while the block runs; gives a function that returns when the connection has ended.

    Raises ``Unreachable`` like a link to the machine, and ``Unavailable`` when sshd
    makes no socket there.
    """
    connection = await executor.connected()

    async def served(reader: asyncssh.SSHReader[bytes], writer: asyncssh.SSHWriter[bytes]) -> None:
        try:
            await answer(reader, writer)
        finally:
            writer.close()

    try:
        for name in [path, *(f"{path}.{number}" for number in range(1, TRIES))]:
            try:
                await connection.start_unix_server(lambda: served, name, encoding=None)
                break
            except asyncssh.ChannelListenError:
                continue
            except asyncssh.Error as error:
                raise Unreachable(attempted="listen for hooks", on=executor.where, cause=str(error)) from error
        else:
            raise Unavailable(
                attempted="listen for hooks",
                on=f"{executor.where}:{path}",
                cause="sshd there makes no socket",
                hint="Its key needs port-forwarding, the folder must be there, and old sockets must go.",
            )
        yield connection.wait_closed
    finally:
        await executor.close()
