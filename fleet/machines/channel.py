"""The controller's side of the runner's protocol: one multiplexed channel to one login.

A frame is two big-endian 32-bit lengths, a JSON header and a payload. Each call has a number and its own
credit in both directions, so one slow reader does not block the others.
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
from pathlib import Path
from typing import Any, Protocol

from fleet.errors import AirbossError, MachineFaulty, Malformed, Refused, Unavailable, Unreachable
from fleet.machines import answers
from fleet.supervise import OwnedTasks, alongside, end, own

log = logging.getLogger(__name__)

CHUNK = 1 << 16
WINDOW = 1 << 20
HEADER_LIMIT = 1 << 20
FRAME_LIMIT = 1 << 24
FRAME_COST = 256
"""Credit charged per frame with a payload, on top of its bytes: bounds the memory of many tiny frames."""
WAITING_LIMIT = 1 << 14
"""The most frames of one call that may wait for their reader."""
_STATES = {"pulse", "accepted", "stalled"}  # only the newest of these events matters
_ALLOWANCE = WINDOW + 2 * (CHUNK + FRAME_COST)  # the last frame and the call's end may exceed the window
_LENGTHS = struct.Struct(">II")


@dataclass(frozen=True, slots=True)
class Frame:
    """One message: a JSON object and its payload."""

    header: dict[str, Any]
    payload: bytes = b""

    def encode(self) -> bytes:
        """The bytes on the wire."""
        text = json.dumps(self.header).encode()
        return _LENGTHS.pack(len(text), len(self.payload)) + text + self.payload


class Framer:
    """Cuts a byte stream, in chunks of any size, into frames."""

    def __init__(self) -> None:
        self._buffer = bytearray()

    def feed(self, data: bytes) -> list[Frame]:
        """The frames that ``data`` completes. Raises ``Malformed`` when the bytes are not this protocol."""
        self._buffer += data
        frames = []
        start = 0
        while len(self._buffer) - start >= _LENGTHS.size:
            header, payload = _LENGTHS.unpack_from(self._buffer, start)
            if header > HEADER_LIMIT or payload > FRAME_LIMIT:
                raise self._malformed(f"a frame of {header + payload} bytes")
            body = start + _LENGTHS.size + header
            end = body + payload
            if len(self._buffer) < end:
                break
            try:
                head = answers.header(bytes(self._buffer[body - header : body]))
            except Malformed as error:
                raise self._malformed(error.cause) from error
            frames.append(Frame(head, bytes(self._buffer[body:end])))
            start = end
        del self._buffer[:start]
        return frames

    @staticmethod
    def _malformed(cause: str) -> Malformed:
        return Malformed(
            attempted="read from the runner",
            cause=cause,
            hint="check whether the login's shell start-up files print anything; without a terminal they must not",
        )


class ByteStream(Protocol):
    """The byte stream under a channel: a local process's standard streams, or SSH."""

    async def read(self) -> bytes:
        """Returns at least one byte; ``b""`` at the end. Raises ``OSError`` when the link breaks."""

    async def write(self, data: bytes) -> None:
        """Sends bytes, waiting while the far side is slow. Raises ``OSError`` when the link breaks."""

    async def close(self) -> None:
        """Closes the link immediately."""


class PrefixedStream:
    """A stream that first returns bytes read earlier."""

    def __init__(self, first: bytes, stream: ByteStream) -> None:
        self._first, self._stream = first, stream
        self.write, self.close = stream.write, stream.close

    async def read(self) -> bytes:
        """The early bytes first, then the stream's own."""
        if self._first:
            first, self._first = self._first, b""
            return first
        return await self._stream.read()


class PendingCall:
    """One request in progress. Iterating yields its frames; the last one has ``done``."""

    def __init__(self, channel: Channel, number: int, attempted: str) -> None:
        self._channel, self.number, self._attempted = channel, number, attempted
        self._frames: deque[tuple[answers.Head, Frame]] = deque()
        self._unread = 0  # credit used by unread frames
        self._owed = 0  # credit of frames that were read, not yet given back
        self._news = asyncio.Event()
        self._credit = WINDOW
        self._failure: AirbossError | None = None
        self.finished = False

    def deliver(self, head: answers.Head, frame: Frame) -> None:
        """Takes a frame for this call. Raises ``MachineFaulty`` when the frame breaks the protocol."""
        if self.finished:
            raise self._faulty("it sent more for a request that it had already answered")
        if head.ev == "credit":
            self._credit += answers.record(answers.Credit, frame.header, self._channel.name, self._attempted).n
        elif head.ev in _STATES and self._frames and self._frames[-1][0].ev == head.ev:
            self._unread += _cost(frame) - _cost(self._frames[-1][1])
            self._frames[-1] = head, frame  # a reader that was away needs only the newest
        else:
            if not (head.ev or head.last):
                raise self._faulty("it sent a frame that is neither an event nor an answer")
            self._unread += _cost(frame)
            if self._unread > _ALLOWANCE or len(self._frames) >= WAITING_LIMIT:
                raise self._faulty("it sent more than its credit allows")
            self._frames.append((head, frame))
            self.finished = head.last
        self._news.set()

    def fail(self, error: AirbossError) -> None:
        """The link is gone; frames that arrived before are still returned."""
        self._failure = error
        self._news.set()

    async def next(self) -> Frame:
        """The next frame. Raises the runner's error (``Unavailable``, ``Refused``), or the link's (``Unreachable``,
        ``MachineFaulty``)."""
        while not self._frames:
            if self._failure is not None:
                raise self._failure
            self._news.clear()
            await self._news.wait()
        head, frame = self._frames.popleft()
        self._unread -= _cost(frame)
        if head.error:
            kind = Refused if head.error == "refused" else Unavailable
            raise kind(attempted=self._attempted, on=self._channel.name, cause=answers.cause(head.cause))
        self._owed += _cost(frame)
        if self._owed >= WINDOW // 4 and not self.finished:  # a frame for each frame would double the traffic
            owed, self._owed = self._owed, 0
            await self._channel.post(Frame({"op": "credit", "id": self.number, "n": owed}))
        return frame

    def _faulty(self, reason: str) -> MachineFaulty:
        return answers.faulty(self._channel.name, self._attempted, reason)

    async def done(self) -> Frame:
        """The last frame; skips all before it."""
        while "done" not in (frame := await self.next()).header:
            pass
        return frame

    async def write(self, data: bytes, *, last: bool) -> None:
        """Sends a chunk of this call's input when the far side has credit; ignored once the call is finished."""
        while self._credit <= 0 and not self.finished:
            if self._failure is not None:
                raise self._failure
            self._news.clear()
            await self._news.wait()
        if not self.finished:
            self._credit -= len(data)
            await self._channel.post(Frame({"op": "data", "id": self.number, "last": last}, data))


def _cost(frame: Frame) -> int:
    return len(frame.payload) + FRAME_COST if frame.payload else 0


class Channel:
    """Calls over one byte stream. When it breaks, every call in progress raises ``Unreachable``. When its bytes are
    not the runner's protocol, the link is closed and every call in progress raises ``MachineFaulty``.

    After ``interval`` seconds of silence it sends a ping. After ``misses`` unanswered pings the far side counts as
    gone, whether frozen or cut off.
    """

    def __init__(self, name: str, stream: ByteStream, *, interval: float, misses: int) -> None:
        self.name = name
        self.closed: AirbossError | None = None
        self.ready: asyncio.Future[str] = asyncio.get_running_loop().create_future()
        self._stream, self._interval, self._misses = stream, interval, misses
        self._numbers = itertools.count(1)
        self._calls: dict[int, PendingCall] = {}
        self._turn = asyncio.Lock()
        self._heard = False
        self._highest = 0  # the newest call's number
        self._late = 0  # credit for frames of cancelled calls that may still arrive
        self._background = OwnedTasks()
        self._tasks = [
            own(self._receive(), f"receive from {name}"),
            own(self._watch(), f"watch the link to {name}"),
        ]

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
    ) -> AsyncIterator[PendingCall]:
        """Starts a request; leaving the block early cancels it."""
        call = PendingCall(self, next(self._numbers), attempted)
        self._highest = call.number
        self._calls[call.number] = call
        try:
            await self.post(Frame({"op": operation, "id": call.number, **arguments}, payload))
            yield call
        finally:
            del self._calls[call.number]
            if not call.finished and self.closed is None:
                self._late += _ALLOWANCE
                self._post_in_background(Frame({"op": "cancel", "id": call.number}))

    async def ask(self, operation: str, payload: bytes = b"", *, attempted: str, **arguments: Any) -> Frame:
        """A request with a single answer frame."""
        async with self.call(operation, payload, attempted=attempted, **arguments) as call:
            return await call.done()

    async def close(self) -> None:
        """Closes the link; calls in progress raise ``Unreachable``."""
        self._break("the link was closed")
        await end(*self._tasks)
        await self._background.end()
        await self._stream.close()

    def _post_in_background(self, frame: Frame) -> None:
        """Sends a frame without waiting: a cancelled caller must not wait for a slow far side."""

        async def send() -> None:
            with contextlib.suppress(Unavailable):
                await self.post(frame)

        self._background.begin(send(), f"send to {self.name}")

    def _break(self, cause: str) -> None:
        self._end(Unreachable(attempted="reach the runner", on=self.name, cause=cause))

    def _end(self, error: AirbossError) -> None:
        if self.closed is not None:
            return
        log.debug("channel to %s ended: %s", self.name, error)
        self.closed = error
        for call in self._calls.values():
            call.fail(self.closed)
        if not self.ready.done():
            self.ready.set_exception(self.closed)
            self.ready.exception()  # marks it as retrieved; a waiter still gets it

    async def _receive(self) -> None:
        framer = Framer()
        try:
            while data := await self._stream.read():
                self._heard = True
                for frame in framer.feed(data):
                    self._dispatch(frame)
            self._break("the far side closed the link")
        except OSError as error:
            self._break(str(error) or "the link broke")
        except Malformed as error:
            await self._give_up(answers.faulty(self.name, error.attempted, error.cause, error.hint))
        except MachineFaulty as error:
            await self._give_up(error)
        except Exception as error:
            log.exception("reading from %s failed", self.name)
            await self._give_up(answers.faulty(self.name, "read from the runner", f"internal error: {error}"))

    async def _give_up(self, error: MachineFaulty) -> None:
        log.warning("%s is faulty: %s", self.name, error.cause)
        self._end(error)
        await self._stream.close()

    def _dispatch(self, frame: Frame) -> None:
        head = answers.record(answers.Head, frame.header, self.name, "read from the runner")
        if head.ev == "ready":
            ready = answers.record(answers.Greeting, frame.header, self.name, "start the runner")
            if self.ready.done():
                raise answers.faulty(self.name, "read from the runner", "it greeted twice")
            self.ready.set_result(ready.root)
        elif (call := self._calls.get(head.id)) is not None:
            call.deliver(head, frame)
        elif head.id > self._highest:
            raise answers.faulty(
                self.name, "read from the runner", f"it answered request {head.id}, which was never sent"
            )
        elif head.id:
            self._late -= max(_cost(frame), FRAME_COST)
            if self._late < 0:
                raise answers.faulty(
                    self.name, "read from the runner", f"it keeps answering request {head.id}, which has ended"
                )

    async def _watch(self) -> None:
        """Counts silent intervals, not seconds, so a suspended controller does not declare machines dead."""
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
            self._post_in_background(Frame({"op": "ping", "id": 0}))


@contextlib.asynccontextmanager
async def fed(call: PendingCall, data: bytes | Path) -> AsyncIterator[None]:
    """Sends a call's input in the background of the block, if there is any."""
    if not data:
        yield
        return
    async with alongside(feed(call, data), "feed a command"):
        yield


async def feed(call: PendingCall, data: bytes | Path) -> None:
    """Sends a call's whole input."""
    if isinstance(data, bytes):
        for at in range(0, len(data), CHUNK):
            await call.write(data[at : at + CHUNK], last=False)
    else:
        with data.open("rb") as file:
            while piece := await asyncio.to_thread(file.read, CHUNK):
                await call.write(piece, last=False)
    await call.write(b"", last=True)
