"""The controller's side of the runner's protocol: one multiplexed channel to one login.

A frame is two big-endian 32-bit lengths, a JSON header and a payload. Every call has a number and its own
credit in both directions, so a slow reader of one stream holds up no other.
"""

from __future__ import annotations

import asyncio
import contextlib
import itertools
import json
import logging
import struct
from collections import deque
from collections.abc import AsyncIterator
from dataclasses import dataclass
from typing import Any, Protocol

from fleet.errors import Malformed, Refused, Unavailable, Unreachable

log = logging.getLogger(__name__)

CHUNK = 1 << 16
WINDOW = 1 << 20
FRAME_LIMIT = 1 << 24
_LENGTHS = struct.Struct(">II")


@dataclass(frozen=True, slots=True)
class Frame:
    """One message: a JSON object and the bytes that go with it."""

    header: dict[str, Any]
    payload: bytes = b""

    def encode(self) -> bytes:
        """The bytes on the wire."""
        text = json.dumps(self.header).encode()
        return _LENGTHS.pack(len(text), len(self.payload)) + text + self.payload


class Framer:
    """Cuts a byte stream, in whatever chunks it comes, into frames."""

    def __init__(self) -> None:
        self._buffer = bytearray()

    def feed(self, data: bytes) -> list[Frame]:
        """The frames that ``data`` completes. Raises ``Malformed`` when the far end speaks another language."""
        self._buffer += data
        frames = []
        start = 0
        while len(self._buffer) - start >= _LENGTHS.size:
            header, payload = _LENGTHS.unpack_from(self._buffer, start)
            if header + payload > FRAME_LIMIT:
                raise self._malformed(f"a frame of {header + payload} bytes")
            body = start + _LENGTHS.size + header
            end = body + payload
            if len(self._buffer) < end:
                break
            try:
                head = json.loads(bytes(self._buffer[body - header : body]))
            except ValueError as error:
                raise self._malformed(str(error)) from error
            if not isinstance(head, dict):
                raise self._malformed("a header that is no object")
            frames.append(Frame(head, bytes(self._buffer[body:end])))
            start = end
        del self._buffer[:start]
        return frames

    @staticmethod
    def _malformed(cause: str) -> Malformed:
        return Malformed(
            attempted="read from the runner",
            cause=cause,
            hint="does the login's shell start-up print anything? It must stay silent without a terminal",
        )


class ByteStream(Protocol):
    """The link under a channel: a process's standard streams, here or behind SSH."""

    async def read(self) -> bytes:
        """What came, at least one byte; ``b""`` at the end. Raises ``OSError`` when the link breaks."""

    async def write(self, data: bytes) -> None:
        """Hands bytes over, waiting while the far side is slow. Raises ``OSError`` when the link breaks."""

    async def close(self) -> None:
        """Ends the link at once."""


class Call:
    """One request under way. Iterating gives its frames; the last has ``done``."""

    def __init__(self, channel: Channel, number: int, attempted: str) -> None:
        self._channel, self.number, self._attempted = channel, number, attempted
        self._frames: deque[Frame] = deque()
        self._news = asyncio.Event()
        self._credit = WINDOW
        self._failure: Exception | None = None
        self.finished = False

    def deliver(self, frame: Frame) -> None:
        """A frame for this call has come."""
        if frame.header.get("ev") == "credit":
            self._credit += int(frame.header["n"])
        else:
            self._frames.append(frame)
            self.finished = self.finished or "done" in frame.header or "error" in frame.header
        self._news.set()

    def fail(self, error: Exception) -> None:
        """The link is gone; what had come before is still handed out."""
        self._failure = error
        self._news.set()

    async def next(self) -> Frame:
        """The next frame. Raises what the runner answered: ``Unavailable``, ``Refused``; or ``Unreachable``."""
        while not self._frames:
            if self._failure is not None:
                raise self._failure
            self._news.clear()
            await self._news.wait()
        frame = self._frames.popleft()
        if "error" in frame.header:
            kind = Refused if frame.header["error"] == "refused" else Unavailable
            raise kind(attempted=self._attempted, on=self._channel.name, cause=str(frame.header.get("cause", "")))
        if frame.payload and not self.finished:
            await self._channel.post(Frame({"op": "credit", "id": self.number, "n": len(frame.payload)}))
        return frame

    async def done(self) -> Frame:
        """The last frame, passing over all before it."""
        while "done" not in (frame := await self.next()).header:
            pass
        return frame

    async def write(self, data: bytes, *, last: bool) -> None:
        """Sends a chunk of this call's input when the far side has room; a finished call takes nothing."""
        while self._credit <= 0 and not self.finished:
            if self._failure is not None:
                raise self._failure
            self._news.clear()
            await self._news.wait()
        if not self.finished:
            self._credit -= len(data)
            await self._channel.post(Frame({"op": "data", "id": self.number, "last": last}, data))


class Channel:
    """Calls over one byte stream. When it breaks, every call under way raises ``Unreachable``.

    A ping goes out when nothing came for ``interval`` seconds; ``misses`` of them without an answer and the
    far side counts as gone, be it frozen or cut off.
    """

    def __init__(self, name: str, stream: ByteStream, *, interval: float, misses: int) -> None:
        self.name = name
        self.closed: Exception | None = None
        self.ready: asyncio.Future[str] = asyncio.get_running_loop().create_future()
        self._stream, self._interval, self._misses = stream, interval, misses
        self._numbers = itertools.count(1)
        self._calls: dict[int, Call] = {}
        self._turn = asyncio.Lock()
        self._heard = False
        self._tasks = [asyncio.create_task(self._receive()), asyncio.create_task(self._watch())]

    async def post(self, frame: Frame) -> None:
        """Sends one frame."""
        if self.closed is not None:
            raise self.closed
        try:
            async with self._turn:
                await self._stream.write(frame.encode())
        except OSError as error:
            self._break(str(error) or "the link broke")
            assert self.closed is not None
            raise self.closed from error

    @contextlib.asynccontextmanager
    async def call(
        self, operation: str, payload: bytes = b"", *, attempted: str, **arguments: Any
    ) -> AsyncIterator[Call]:
        """Begins a request; leaving the block early takes it back."""
        call = Call(self, next(self._numbers), attempted)
        self._calls[call.number] = call
        try:
            await self.post(Frame({"op": operation, "id": call.number, **arguments}, payload))
            yield call
        finally:
            del self._calls[call.number]
            if not call.finished and self.closed is None:
                with contextlib.suppress(Unreachable):
                    await self.post(Frame({"op": "cancel", "id": call.number}))

    async def ask(self, operation: str, payload: bytes = b"", *, attempted: str, **arguments: Any) -> Frame:
        """A request whose answer is one frame."""
        async with self.call(operation, payload, attempted=attempted, **arguments) as call:
            return await call.done()

    async def close(self) -> None:
        """Ends the link; calls under way raise ``Unreachable``."""
        self._break("the link was closed")
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        await self._stream.close()

    def _break(self, cause: str) -> None:
        if self.closed is not None:
            return
        log.debug("channel to %s ended: %s", self.name, cause)
        self.closed = Unreachable(attempted="reach the runner", on=self.name, cause=cause)
        for call in self._calls.values():
            call.fail(self.closed)
        if not self.ready.done():
            self.ready.set_exception(self.closed)
            self.ready.exception()  # whoever waits gets it; nobody waiting is no fault

    async def _receive(self) -> None:
        framer = Framer()
        try:
            while data := await self._stream.read():
                self._heard = True
                for frame in framer.feed(data):
                    self._dispatch(frame)
            self._break("the far side ended the link")
        except (OSError, Malformed) as error:
            self._break(str(error) or "the link broke")

    def _dispatch(self, frame: Frame) -> None:
        if frame.header.get("ev") == "ready":
            if not self.ready.done():
                self.ready.set_result(str(frame.header["root"]))
        elif (call := self._calls.get(frame.header.get("id", 0))) is not None:
            call.deliver(frame)

    async def _watch(self) -> None:
        """Counts silent intervals rather than seconds, so that a controller that slept blames nobody."""
        missed = 0
        while self.closed is None:
            self._heard = False
            await asyncio.sleep(self._interval)
            if self._heard:
                missed = 0
                continue
            missed += 1
            if missed > self._misses:
                self._break(f"no answer for {missed * self._interval:.0f} s")
                await self._stream.close()
                return
            ping = asyncio.create_task(self.post(Frame({"op": "ping", "id": 0})))
            ping.add_done_callback(lambda task: task.cancelled() or task.exception())
