"""The ``Executor`` port over the runner's protocol; ``local`` and ``ssh`` make the link."""

from __future__ import annotations

import asyncio
import contextlib
import json
import logging
import time
from abc import ABC, abstractmethod
from collections.abc import AsyncIterator, Collection, Mapping, Sequence
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any, Final, TypedDict, TypeVar

from fleet.errors import MachineFaulty, NotUsable, TakenAway, Unreachable
from fleet.exits import Exit, TimedOut, from_wait_status
from fleet.faults import Point, fault
from fleet.files import Sink, writing
from fleet.machines import answers
from fleet.machines.bootstrap import CODE, shipment
from fleet.machines.channel import CHUNK, ByteStream, Channel, PrefixedStream, fed, feed
from fleet.ports import Accepted, LoginFacts, LoginOffers, Output, PipeEvent, PipeSpec, Pulse, Ran, Stalled
from fleet.supervise import alongside

T = TypeVar("T")

log = logging.getLogger(__name__)

_MOST_NOISE: Final = 1 << 16
"""The longest line, in bytes, before the runner is up."""
_HERE: Final = b"here"
_SOURCES: Final = b"sources"


class LoginSettings(TypedDict, total=False):
    """What every executor may be given. ``keepalive`` is (seconds between pings, missed answers that mean a dead
    link). ``path`` is put before PATH for everything this login runs."""

    root: str
    python: str
    path: Sequence[str]
    keepalive: tuple[float, int]
    connect_timeout: float


class LoginExecutor(ABC):
    """One login on one machine. Connects on first use, and again after the link is lost.

    ``channels_opened`` counts the links opened.
    """

    def __init__(
        self,
        machine: str,
        *,
        root: str = "",
        python: str = "python3",
        path: Sequence[str] = (),
        keepalive: tuple[float, int] = (4.0, 2),
        connect_timeout: float = 20.0,
    ) -> None:
        self._machine, self._root, self._python, self._path = machine, root, python, list(path)
        self._keepalive, self._connect_timeout = keepalive, connect_timeout
        self._channel: Channel | None = None
        self._connecting = asyncio.Lock()
        self.takes_compiled = True  # until this login says otherwise
        self._lost = ""
        self.channels_opened = 0

    @property
    def machine(self) -> str:
        """The machine's name in ``fleet.toml``."""
        return self._machine

    @property
    def root(self) -> str:
        """Absolute path of our directory under this login; known after the first call."""
        return self._root

    @property
    @abstractmethod
    def where(self) -> str:
        """The machine and login, for error messages."""

    @abstractmethod
    async def _open(self) -> ByteStream:
        """Starts the serve command on the machine. Raises ``Unreachable`` or ``Unavailable``."""

    @abstractmethod
    async def _complaint(self, stream: ByteStream) -> str:
        """What the far side wrote to standard error, for when the runner did not start."""

    # --- the link

    async def _link(self) -> Channel:
        """The channel. The first caller opens it; others wait."""
        fault(Point.MACHINE_CALL)
        async with self._connecting:
            if self._lost:
                raise TakenAway(attempted="reach the machine", on=self.where, cause=self._lost)
            if self._channel is None or self._channel.closed is not None:
                if self._channel is not None:
                    await self._channel.close()
                    self._channel = None
                self._channel = await self._connect()
            return self._channel

    async def _connect(self) -> Channel:
        is_in = False
        try:
            async with asyncio.timeout(self._connect_timeout):
                stream = await self._open()
                is_in = True
                try:
                    rest = await self._install(stream)
                    interval, misses = self._keepalive
                    channel = Channel(self.where, PrefixedStream(rest, stream), interval=interval, misses=misses)
                    try:
                        self._root = await channel.ready
                    except BaseException as error:
                        said = (await self._complaint(stream)).strip() if isinstance(error, Unreachable) else ""
                        await channel.close()
                        if said:
                            raise self._not_started(said.rpartition("\n")[2]) from error
                        raise
                except BaseException:
                    await stream.close()
                    raise
        except TimeoutError as error:
            if is_in:
                cause = f"it lets us in, but its login said nothing for {self._connect_timeout:.0f} s"
                hint = "the login's shell start-up files must not wait, nor read standard input"
                raise self._not_started(cause, hint) from error
            raise Unreachable(
                attempted="reach the machine",
                on=self.where,
                cause=f"no answer within {self._connect_timeout:.0f} s",
                hint="check that it is awake and on the network",
            ) from error
        except OSError as error:
            if not is_in:
                raise self._not_started(str(error)) from error
            raise Unreachable(attempted="reach the machine", on=self.where, cause=str(error)) from error
        self.channels_opened += 1
        log.debug("channel %d to %s opened", self.channels_opened, self.where)
        return channel

    async def _install(self, stream: ByteStream) -> bytes:
        """Runs the bootstrap; returns bytes already read that belong to the channel."""
        rest = b""
        if self.takes_compiled:
            async with self._shipping(stream, compiled=True):
                line, rest = await self._greeting(stream, b"")
            if line == _HERE:
                return rest
            self.takes_compiled = False
        async with self._shipping(stream, compiled=False):
            line, rest = await self._greeting(stream, rest)
        if line != _HERE:
            raise self._faulty("start the runner", "it asked for the runner's sources twice")
        return rest

    def _shipping(self, stream: ByteStream, *, compiled: bool) -> contextlib.AbstractAsyncContextManager[object]:
        return alongside(_ship(stream, compiled), f"ship the runner to {self.where}")

    async def _greeting(self, stream: ByteStream, buffer: bytes) -> tuple[bytes, bytes]:
        """The line with which the bootstrap answers, and what was read after it. Lines before it are those of the
        login's start-up files, and do no harm."""
        noise = b""
        while b"\n" in buffer or (data := await stream.read()):
            if b"\n" not in buffer:
                buffer += data
            while b"\n" in buffer:
                line, buffer = buffer.split(b"\n", 1)
                if line in (_HERE, _SOURCES):
                    return line, buffer
                noise += line + b"\n"
            if len(noise) + len(buffer) > _MOST_NOISE:
                raise answers.faulty(
                    self.where,
                    "start the runner",
                    f"the login printed {len(noise) + len(buffer):,} bytes first: {(noise + buffer)[:100]!r}",
                    "its shell start-up files must print little without a terminal",
                )
        complaint = (await self._complaint(stream)).strip() or noise.decode(errors="replace").strip()
        raise self._not_started(complaint.replace(CODE, "…")[-300:] or "the command ended without output")

    def _not_started(self, cause: str, hint: str = "") -> NotUsable:
        needs = f"the login must be able to run {self._python} (3.9 or later), and to write its home"
        return NotUsable(
            attempted="start the runner", on=self.where, cause=answers.cause(cause), hint=hint or needs
        )

    async def close(self) -> None:
        """Closes the link; what runs on the machine continues."""
        if self._channel is not None:
            await self._channel.close()
            self._channel = None

    def lose(self, why: str) -> None:
        """The machine was taken away: from now on everything raises ``TakenAway``."""
        self._lost = f"it was taken away: {why}"

    # --- the port

    async def facts(self) -> LoginFacts:
        """Connects if necessary and returns facts about the login and machine."""
        return await self._ask("facts", LoginFacts, attempted="look at the machine")

    async def offers(self, programs: Mapping[str, Sequence[str]]) -> LoginOffers:
        """Looks for these programs; see the port."""
        asked = {label: list(argv) for label, argv in programs.items()}
        found = await self._ask(
            "offers", LoginOffers, attempted="see what the machine offers", programs=asked, path=self._path
        )
        known = asked.keys() & found.programs.keys()
        return replace(found, programs={label: found.programs[label] for label in known})

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
        attempted = f"run {argv[0]}"
        out, err, written = bytearray(), bytearray(), 0
        async with channel.call("run", attempted=attempted, **request) as call, fed(call, stdin):
            with Sink(stdout) if stdout is not None else contextlib.nullcontext() as file:
                while "done" not in (frame := await call.next()).header:
                    event = answers.running(frame.header, self.where, attempted)
                    if isinstance(event, answers.RunErr):
                        err += frame.payload
                    elif file is None or stdout is None:
                        out += frame.payload
                    else:
                        written += len(frame.payload)
                        self._within(written, limit, attempted)
                        with writing("keep what the machine sends", stdout):
                            await asyncio.to_thread(file.write, frame.payload)
                    self._within(max(len(out), len(err)), limit, attempted)
        ended = answers.record(answers.RunEnded, frame.header, self.where, attempted)
        exit_: Exit = TimedOut(int(timeout * 1e6)) if ended.timeout else from_wait_status(ended.status)
        return Ran(exit_, bytes(out), bytes(err))

    async def write_file(self, path: str, data: bytes, mode: int = 0o600) -> None:
        """Writes ``path`` atomically and creates parent directories; a relative path is under ``root``."""
        channel = await self._link()
        async with channel.call("write", attempted="write a file", path=path, mode=mode) as call:
            await feed(call, data)
            answers.record(answers.Done, (await call.done()).header, self.where, "write a file")

    async def read_file(self, path: str, limit: int) -> bytes:
        """The first ``limit`` bytes of a file. Raises ``Unavailable`` when it does not exist."""
        return await self._stream("read", limit, attempted="read a file", path=path)

    async def remove_tree(self, path: str) -> None:
        """Removes a directory under ``root`` with its content; a missing one is fine."""
        await self._ask("remove", answers.Done, attempted="remove a directory", path=path)

    async def take_tree(self, store: str, place: str, wanted: str) -> str:
        """Takes a kept checkout; see the port."""
        words: dict[str, Any] = {"store": store, "place": place, "wanted": wanted}
        return (await self._ask("take_tree", answers.TreeTaken, attempted="take a kept checkout", **words)).tree

    async def move_tree(self, place: str, change: Path) -> None:
        """Changes a checkout that was taken; see the port."""
        channel, attempted = await self._link(), "move a kept checkout"
        async with channel.call("move_tree", attempted=attempted, place=place) as call, fed(call, change):
            answers.record(answers.Done, (await call.done()).header, self.where, attempted)

    async def put_back_tree(self, store: str, place: str, tree: str) -> None:
        """Keeps or removes a checkout; see the port."""
        words: dict[str, Any] = {"store": store, "place": place, "tree": tree}
        await self._ask("put_back_tree", answers.Done, attempted="keep a checkout", **words)

    async def start(self, spec: PipeSpec) -> None:
        """Starts the process, unless ``spec.id`` was started before."""
        body, attempted = json.dumps(asdict(spec)).encode(), f"start {spec.id}"
        await self._ask("start", answers.Done, body, attempted=attempted, path=self._path)

    async def attach(self, pipe: str, nonce: str, offset: int) -> AsyncIterator[PipeEvent]:
        """Follows the pipe from byte ``offset`` of its spool; see the port."""
        attempted = f"follow {pipe}"
        channel = await self._link()
        async with channel.call("attach", attempted=attempted, pipe=pipe, offset=offset) as call:
            while True:
                frame = await call.next()
                match answers.following(frame.header, self.where, attempted):
                    case answers.OutAt(offset=at):
                        if at != offset:
                            raise self._faulty(attempted, f"it sent output from byte {at}, expected byte {offset}")
                        offset += len(frame.payload)
                        yield Output(at, frame.payload)
                    case answers.AcceptedTo(position=position):
                        yield Accepted(position)
                    case answers.StalledBy(why=why):
                        yield Stalled(answers.cause(why))
                    case answers.Beat():
                        yield Pulse(time.time_ns() // 1000)
                    case answers.End() as end:
                        yield answers.judge(pipe, nonce, end, frame.payload)
                        return

    async def send(self, pipe: str, position: int, data: bytes, *, eof: bool = False) -> int:
        """Appends input from byte ``position`` of all input on, but no repeat; answers how many bytes there are."""
        pieces = [data[at : at + CHUNK] for at in range(0, len(data), CHUNK)] or [b""]
        for index, piece in enumerate(pieces):
            last = eof and index == len(pieces) - 1
            arguments = {"pipe": pipe, "position": position + index * CHUNK, "eof": last}
            known = await self._ask("send", answers.InputKnown, piece, attempted=f"send to {pipe}", **arguments)
        return known.size

    async def stop(self, pipe: str, grace: float = 5.0) -> None:
        """Sends TERM, waits ``grace`` seconds, sends KILL, until the whole process tree has ended. A missing pipe
        is fine."""
        await self._ask("stop", answers.Done, attempted=f"stop {pipe}", pipe=pipe, grace=grace)

    async def tail(self, pipe: str, stream: str, limit: int) -> bytes:
        """The last ``limit`` bytes of the ``out`` or ``err`` spool."""
        return await self._stream("tail", limit, attempted=f"read {pipe}", pipe=pipe, stream=stream)

    async def forget(self, older_than_us: int, keep: Collection[str] = ()) -> int:
        """Retention: removes pipes that ended before that time, except ``keep``; returns how many."""
        arguments: dict[str, Any] = {"older_than_us": older_than_us, "keep": sorted(keep)}
        answer = await self._ask("forget", answers.Forgotten, attempted="clean up", **arguments)
        return answer.count

    async def _ask(
        self, operation: str, kind: type[T], payload: bytes = b"", *, attempted: str, **arguments: Any
    ) -> T:
        """A request whose answer is one record."""
        channel = await self._link()
        frame = await channel.ask(operation, payload, attempted=attempted, **arguments)
        return answers.record(kind, frame.header, self.where, attempted)

    async def _stream(self, operation: str, limit: int, *, attempted: str, **arguments: Any) -> bytes:
        data = bytearray()
        channel = await self._link()
        async with channel.call(operation, attempted=attempted, limit=limit, **arguments) as call:
            while "done" not in (frame := await call.next()).header:
                answers.record(answers.Data, frame.header, self.where, attempted)
                data += frame.payload
                self._within(len(data), limit, attempted)
        return bytes(data)

    def _within(self, size: int, limit: int, attempted: str) -> None:
        """Checks the limit that the runner was given: the far end must not fill the controller's memory."""
        if size > limit:
            raise self._faulty(attempted, f"it sent more than the {limit} bytes requested")

    def _faulty(self, attempted: str, reason: str) -> MachineFaulty:
        return answers.faulty(self.where, attempted, reason)


async def _ship(stream: ByteStream, compiled: bool) -> None:
    """Sends the runner; a command that already ended explains itself in its output."""
    with contextlib.suppress(OSError):
        await stream.write(shipment(compiled))
