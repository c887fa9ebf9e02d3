"""The lines on the control socket: a client, its requests, its user."""

from __future__ import annotations

import asyncio
import json
import socket
import struct
import sys
from base64 import b64encode
from collections.abc import Awaitable
from pathlib import Path
from typing import Any, Final, TypeVar

import msgspec

from bot.local.client import LINE_LIMIT
from bot.local.sockets import short
from fleet.errors import Misused, StoreUnavailable
from fleet.logins import login_name
from gates.people import Person, console_chat, console_person

T = TypeVar("T")
VERSION: Final = 1
_PEERCRED_LINUX = struct.Struct("3i")
_XUCRED_DARWIN = struct.Struct("IIh")


async def in_time(answer: Awaitable[T], limit_s: float = 20.0) -> T:
    """An answer about what is wrong, which must come also where a server hangs, or takes only some of what it is
    asked. Raises ``StoreUnavailable``."""
    try:
        async with asyncio.timeout(limit_s):
            return await answer
    except TimeoutError:
        cause = f"it has not answered this for {limit_s:.0f} s; airboss.log says what waits for it"
        raise StoreUnavailable(attempted="read the store", cause=cause) from None


class Peer:
    """One client: who it is, by the kernel's word, and the way to answer it. ``chat``: that person's own.

    ``listed``: a configuration, and whom that has for this client.
    """

    def __init__(self, writer: asyncio.StreamWriter) -> None:
        login = login_name(_uid(writer.get_extra_info("socket")))
        self.person = console_person(login)
        self.chat = console_chat(self.person)
        self._writer = writer
        self._last = ""
        self.listed: tuple[object, Person | None] | None = None

    async def out(self, text: str) -> None:
        """Prints on the client's side; a line equal to the last one is not repeated."""
        if text and text == self._last:
            return
        self._last = text
        await self._write({"v": VERSION, "out": text})

    async def shown(self, data: bytes) -> None:
        """What a terminal shows; empty: it is open."""
        await self._write({"v": VERSION, "shown": b64encode(data).decode("ascii")})

    async def end(self, status: int, **more: Any) -> None:
        """The last answer to a request; of ``more``, what says something."""
        await self._write({"v": VERSION, "end": status, **{key: value for key, value in more.items() if value}})

    async def _write(self, answer: dict[str, Any]) -> None:
        try:
            line = msgspec.json.encode(answer)
        except UnicodeEncodeError:  # a path whose bytes are no text
            line = json.dumps(answer).encode()
        self._writer.write(line + b"\n")
        await self._writer.drain()


async def read_line(reader: asyncio.StreamReader) -> bytes:
    """The next request; empty when the client went. Raises ``Misused`` when it is too long."""
    try:
        return await reader.readline()
    except ValueError as error:
        raise malformed(f"the line is longer than {LINE_LIMIT} bytes", "Send less at once.") from error


async def gone(reader: asyncio.StreamReader) -> None:
    """Returns when the client has gone."""
    while await reader.read(4096):
        pass


class Asker:
    """The client of a request that may wait: whether it is still there."""

    def __init__(self, reader: asyncio.StreamReader) -> None:
        self._reader = reader

    @property
    def went(self) -> bool:
        """Whether it has gone. What it sent meanwhile is read first."""
        return self._reader.at_eof()


def read_request(line: bytes) -> dict[str, Any]:
    """A request of this version. Raises ``Misused`` for anything else."""
    try:
        try:
            request = msgspec.json.decode(line)
        except msgspec.DecodeError:  # a name whose bytes are no text is half a letter in JSON
            request = json.loads(line)
    except (ValueError, RecursionError) as error:
        raise malformed("the line is not JSON", "Send one object per line.") from error
    if not isinstance(request, dict):
        raise malformed("the line is not a JSON object", "Send one object per line.")
    if request.get("v") != VERSION:
        raise malformed(
            f"this controller uses version {VERSION}, not {str(request.get('v'))[:20]!r}",
            "Use the airboss command of the same version.",
        )
    return request


def number_of(value: object) -> int:
    """A whole number; 0 for anything else."""
    return value if isinstance(value, int) and not isinstance(value, bool) else 0


def malformed(cause: str, hint: str) -> Misused:
    """The error for a request that is none."""
    return Misused(attempted="read a request on the control socket", cause=cause, hint=hint)


def somebody_answers(path: Path) -> bool:
    """Whether a process listens on this socket."""
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as probe:
        probe.settimeout(2)
        try:
            with short(path) as reachable:
                probe.connect(reachable)
        except OSError:
            return False
        return True


def _uid(peer: socket.socket) -> int:
    """The uid of whoever is at the other end, by the kernel's word."""
    if sys.platform == "darwin":
        _, uid, _ = _XUCRED_DARWIN.unpack_from(peer.getsockopt(0, 1, 76))  # SOL_LOCAL, LOCAL_PEERCRED, xucred
        return int(uid)
    _, uid, _ = _PEERCRED_LINUX.unpack(peer.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, _PEERCRED_LINUX.size))
    return int(uid)
