"""The ``Executor`` port over the runner's protocol; how the link is made is left to ``local`` and ``ssh``."""

from __future__ import annotations

import asyncio
import contextlib
import hashlib
import hmac
import json
import logging
import time
from abc import ABC, abstractmethod
from collections.abc import AsyncIterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from fleet.errors import Unavailable, Unreachable
from fleet.exits import Exit, Lost, TimedOut, from_wait_status
from fleet.faults import Point, fault
from fleet.machines.bootstrap import shipment
from fleet.machines.channel import CHUNK, ByteStream, Call, Channel
from fleet.ports import Accepted, Ended, LoginFacts, Output, PipeEvent, PipeSpec, Pulse, Ran, Stalled

log = logging.getLogger(__name__)


class LoginExecutor(ABC):
    """One login on one machine. Connects when first needed, and again when the link was lost.

    ``keepalive`` is (seconds between pings, missed answers that count as a dead link). ``path`` goes before
    PATH for everything this login runs. ``channels_opened`` counts the links made, for people and tests.
    """

    def __init__(
        self,
        machine: str,
        *,
        root: str = "",
        python: str = "python3",
        path: Sequence[str] = (),
        keepalive: tuple[float, int] = (5.0, 2),
        connect_timeout: float = 20.0,
    ) -> None:
        self._machine, self._root, self._python, self._path = machine, root, python, list(path)
        self._keepalive, self._connect_timeout = keepalive, connect_timeout
        self._channel: Channel | None = None
        self._connecting = asyncio.Lock()
        self.channels_opened = 0

    @property
    def machine(self) -> str:
        """The machine's name in ``fleet.toml``."""
        return self._machine

    @property
    def root(self) -> str:
        """Absolute path of our directory under this login, known after the first call."""
        return self._root

    @property
    @abstractmethod
    def where(self) -> str:
        """The machine and login, for error messages."""

    @abstractmethod
    async def _open(self) -> ByteStream:
        """Starts the serve command on the machine. Raises ``Unreachable``, ``Refused`` or ``Unavailable``."""

    @abstractmethod
    async def _complaint(self, stream: ByteStream) -> str:
        """What the far side wrote to standard error, for the case that the runner did not come up."""

    # --- the link

    async def _link(self) -> Channel:
        """The channel, made by whoever comes first while the others wait."""
        fault(Point.MACHINE_CALL)
        async with self._connecting:
            if self._channel is None or self._channel.closed is not None:
                if self._channel is not None:
                    await self._channel.close()
                    self._channel = None
                self._channel = await self._connect()
            return self._channel

    async def _connect(self) -> Channel:
        try:
            async with asyncio.timeout(self._connect_timeout):
                stream = await self._open()
                try:
                    rest = await self._install(stream)
                    interval, misses = self._keepalive
                    channel = Channel(self.where, Primed(rest, stream), interval=interval, misses=misses)
                    try:
                        self._root = await channel.ready
                    except BaseException:
                        await channel.close()
                        raise
                except BaseException:
                    await stream.close()
                    raise
        except TimeoutError as error:
            raise Unreachable(
                attempted="reach the machine",
                on=self.where,
                cause=f"no answer within {self._connect_timeout:.0f} s",
                hint="is it awake and on the network?",
            ) from error
        except OSError as error:
            raise Unreachable(attempted="reach the machine", on=self.where, cause=str(error)) from error
        self.channels_opened += 1
        log.debug("channel %d to %s opened", self.channels_opened, self.where)
        return channel

    async def _install(self, stream: ByteStream) -> bytes:
        """Sees the bootstrap through; answers the bytes that already belong to the channel."""
        buffer = b""
        while data := await stream.read():
            buffer += data
            while b"\n" in buffer:
                line, buffer = buffer.split(b"\n", 1)
                if line == b"here":
                    return buffer
                if line == b"need":
                    log.debug("installing the runner on %s", self.where)
                    await stream.write(shipment().archive)
                elif line.startswith(b"fail "):
                    raise Unavailable(
                        attempted="install the runner", on=self.where, cause=line[5:].decode(errors="replace")
                    )
                else:
                    raise Unavailable(
                        attempted="start the runner",
                        on=self.where,
                        cause=f"the login said {line[:100]!r} first",
                        hint="its shell start-up must print nothing when there is no terminal",
                    )
        complaint = await self._complaint(stream)
        raise Unavailable(
            attempted="start the runner",
            on=self.where,
            cause=complaint.strip()[-300:] or "the command ended without a word",
            hint=f"the login must be able to run {self._python} (3.9 or later)",
        )

    async def close(self) -> None:
        """Drops the link; what runs on the machine goes on."""
        if self._channel is not None:
            await self._channel.close()
            self._channel = None

    # --- the port

    async def facts(self) -> LoginFacts:
        """Connects if need be, and says who and what answers."""
        answer = (await (await self._link()).ask("facts", attempted="look at the machine")).header
        return LoginFacts(**{name: answer[name] for name in LoginFacts.__dataclass_fields__})

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
        """Runs a short command to its end; see the port."""
        channel = await self._link()
        request: dict[str, Any] = {
            "argv": list(argv),
            "cwd": cwd,
            "env": dict(env or {}),
            "path": self._path,
            "stdin": bool(stdin),
            "strict": stdout is not None,
            "timeout": timeout,
            "limit": limit,
        }
        collected = {"out": bytearray(), "err": bytearray()}
        async with channel.call("run", attempted=f"run {argv[0]}", **request) as call:
            feeding = asyncio.create_task(_feed(call, stdin)) if stdin else None
            try:
                with stdout.open("wb") if stdout is not None else contextlib.nullcontext() as file:
                    while "done" not in (frame := await call.next()).header:
                        stream = str(frame.header["ev"])
                        if file is not None and stream == "out":
                            await asyncio.to_thread(file.write, frame.payload)
                        else:
                            collected[stream] += frame.payload
            finally:
                if feeding is not None:
                    feeding.cancel()
                    await asyncio.gather(feeding, return_exceptions=True)
        if frame.header["timeout"]:
            exit_: Exit = TimedOut(int(timeout * 1e6))
        else:
            exit_ = from_wait_status(int(frame.header["status"]))
        return Ran(exit_, bytes(collected["out"]), bytes(collected["err"]))

    async def write_file(self, path: str, data: bytes, mode: int = 0o600) -> None:
        """Writes ``path`` atomically, parents included; a relative path is under ``root``."""
        channel = await self._link()
        async with channel.call("write", attempted="write a file", path=path, mode=mode) as call:
            await _feed(call, data)
            await call.done()

    async def read_file(self, path: str, limit: int) -> bytes:
        """The first ``limit`` bytes of a file. Raises ``Unavailable`` when there is none."""
        return await self._stream("read", attempted="read a file", path=path, limit=limit)

    async def remove_tree(self, path: str) -> None:
        """Removes a directory under ``root`` and all below it; none there is fine."""
        await (await self._link()).ask("remove", attempted="remove a directory", path=path)

    async def start(self, spec: PipeSpec) -> None:
        """Starts the process, or finds that ``spec.id`` was started before."""
        body = {
            "id": spec.id,
            "nonce": spec.nonce,
            "argv": list(spec.argv),
            "cwd": spec.cwd,
            "env": dict(spec.env),
            "bare_env": spec.bare_env,
            "stdin": spec.stdin,
            "merge": spec.merge,
            "contain": spec.contain,
            "timeout_us": spec.timeout_us,
            "grace_us": spec.grace_us,
            "expect_tree": list(spec.expect_tree) if spec.expect_tree else None,
        }
        channel = await self._link()
        await channel.ask("start", json.dumps(body).encode(), attempted=f"start {spec.id}", path=self._path)

    async def attach(self, pipe: str, nonce: str, offset: int) -> AsyncIterator[PipeEvent]:
        """The pipe's life from byte ``offset`` of its spool on; see the port."""
        channel = await self._link()
        async with channel.call("attach", attempted=f"follow {pipe}", pipe=pipe, offset=offset) as call:
            while True:
                frame = await call.next()
                match frame.header:
                    case {"ev": "out", "offset": int(at)}:
                        yield Output(at, frame.payload)
                    case {"ev": "accepted", "position": int(position)}:
                        yield Accepted(position)
                    case {"ev": "stalled", "why": str(why)}:
                        yield Stalled(why)
                    case {"ev": "pulse"}:
                        yield Pulse(time.time_ns() // 1000)
                    case {"ev": "end"}:
                        yield judge(pipe, nonce, frame.header, frame.payload)
                        return

    async def send(self, pipe: str, position: int, data: bytes, *, eof: bool = False) -> None:
        """Appends input that begins at byte ``position`` of all input; a repeat is found and ignored."""
        channel = await self._link()
        pieces = [data[at : at + CHUNK] for at in range(0, len(data), CHUNK)] or [b""]
        for index, piece in enumerate(pieces):
            last = eof and index == len(pieces) - 1
            place = position + index * CHUNK
            await channel.ask("send", piece, attempted=f"send to {pipe}", pipe=pipe, position=place, eof=last)

    async def stop(self, pipe: str, grace: float = 5.0) -> None:
        """TERM, ``grace`` seconds, KILL, until no process of the tree is left. None there is fine."""
        await (await self._link()).ask("stop", attempted=f"stop {pipe}", pipe=pipe, grace=grace)

    async def tail(self, pipe: str, stream: str, limit: int) -> bytes:
        """The last ``limit`` bytes of the ``out`` or ``err`` spool."""
        return await self._stream("tail", attempted=f"read {pipe}", pipe=pipe, stream=stream, limit=limit)

    async def forget(self, older_than_us: int) -> int:
        """Retention: removes pipes that ended longer ago than that; answers how many."""
        channel = await self._link()
        answer = await channel.ask("forget", attempted="clean up", older_than_us=older_than_us)
        return int(answer.header["count"])

    async def _stream(self, operation: str, *, attempted: str, **arguments: Any) -> bytes:
        data = bytearray()
        channel = await self._link()
        async with channel.call(operation, attempted=attempted, **arguments) as call:
            while "done" not in (frame := await call.next()).header:
                data += frame.payload
        return bytes(data)


class Primed:
    """A stream of which some bytes were read before their reader came."""

    def __init__(self, first: bytes, stream: ByteStream) -> None:
        self._first, self._stream = first, stream
        self.write, self.close = stream.write, stream.close

    async def read(self) -> bytes:
        """The early bytes, then the stream's own."""
        if self._first:
            first, self._first = self._first, b""
            return first
        return await self._stream.read()


async def _feed(call: Call, data: bytes | Path) -> None:
    if isinstance(data, bytes):
        for at in range(0, len(data), CHUNK):
            await call.write(data[at : at + CHUNK], last=False)
    else:
        with data.open("rb") as file:
            while piece := await asyncio.to_thread(file.read, CHUNK):
                await call.write(piece, last=False)
    await call.write(b"", last=True)


def judge(pipe: str, nonce: str, header: Mapping[str, Any], record: bytes) -> Ended:
    """What an exit record is worth: nothing, unless signed with the nonce, for this pipe, and alone."""

    def lost(why: str) -> Ended:
        return Ended(Lost(why), None, 0, 0, contained=False, gone=False)

    if header["missing"]:
        return lost(str(header["missing"]))
    if not header["recorded"]:
        return lost("the supervisor is gone and left no exit record")
    if header["doubled"]:
        return lost("there is an exit record that the supervisor did not write")
    lines = record.split(b"\n")
    if len(lines) != 3 or lines[2]:
        return lost("the exit record is not one record")
    signed = hmac.new(nonce.encode(), lines[0], hashlib.sha256).hexdigest()
    if not hmac.compare_digest(signed.encode(), lines[1]):
        return lost("the exit record does not carry the supervisor's proof")
    body = json.loads(lines[0])
    if body["pipe"] != pipe:
        return lost("the exit record belongs to another pipe")
    exit_: Exit
    if body["how"] == "timeout":
        exit_ = TimedOut(int(body["timeout_us"]))
    elif body["how"] == "unavailable":
        exit_ = Lost(f"never started: {body['unavailable']}")
    elif body["status"] is None:
        exit_ = Lost("the process that watched over the command was killed")
    else:
        exit_ = from_wait_status(int(body["status"]))
    return Ended(
        exit_,
        body["status"],
        int(body["started_us"]),
        int(body["ended_us"]),
        contained=bool(body["contained"]),
        gone=bool(body["gone"]),
        tree=str(body["tree"]),
        unavailable=str(body["unavailable"]),
    )
