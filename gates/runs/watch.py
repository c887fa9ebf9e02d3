"""Follows one gate's process to its end: counts, hashes and keeps its output, across dropped links."""

from __future__ import annotations

import asyncio
import hashlib
from collections.abc import AsyncGenerator, Awaitable, Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

from fleet import files
from fleet.errors import DiskFull, Unreachable
from fleet.exits import Lost
from fleet.failpoints import failpoint
from fleet.files import Sink
from fleet.ports import Ended, Executor, Output, PipeSpec, Pulse, Stalled

#: How much of a gate's output is kept under ``AIRBOSS_HOME/gates``; the machine's spool has it all.
LOG_LIMIT = 50 << 20
HEAD_LIMIT = TAIL_LIMIT = 512 << 10
_PAUSE_SECONDS = 1.0
#: After how many tries without an answer a person should know.
_TRIES = 3


@dataclass(slots=True)
class GateOutput:
    """What was read of a gate's output: its first and last part, and the digest and size of the whole."""

    log: Sink
    path: Path
    size: int = 0
    digest: hashlib._Hash = field(default_factory=hashlib.sha256)
    head: bytearray = field(default_factory=bytearray)
    tail: bytearray = field(default_factory=bytearray)

    def take(self, output: Output) -> None:
        """Adds the new part of a spool piece; bytes read before are skipped.

        Raises ``DiskFull`` when it cannot be stored.
        """
        data = output.data[max(0, self.size - output.offset) :]
        if self.size < LOG_LIMIT:
            with _keeping(self.path):
                self.log.write(memoryview(data)[: LOG_LIMIT - self.size])
        self.size += len(data)
        self.digest.update(data)
        self.head += data[: max(0, HEAD_LIMIT - len(self.head))]
        self.tail += data
        del self.tail[:-TAIL_LIMIT]

    def text(self) -> str:
        """The first and the last part, or all when nothing is between them."""
        between = self.size - len(self.tail)
        middle = b"\n...\n" if between > len(self.head) else b""
        return (bytes(self.head[:between]) + middle + bytes(self.tail)).decode("utf-8", "replace")


@contextmanager
def _keeping(log: Path) -> Iterator[None]:
    try:
        yield
    except OSError as error:
        raise DiskFull(
            attempted="keep the gate's output",
            on=str(log),
            cause=error.strerror or str(error),
            hint="Free some disk space on the controller.",
        ) from error


def redact_log(log: Path, redact: Callable[[str], str] | None) -> None:
    """Removes secrets from a complete log. Raises ``DiskFull`` when it cannot be written."""
    if redact is None:
        return
    text = log.read_bytes().decode("utf-8", "surrogateescape")
    clean = redact(text)
    if clean == text:
        return
    with _keeping(log):
        files.replace(log, clean.encode("utf-8", "surrogateescape"))


async def watch(
    executor: Executor,
    spec: PipeSpec,
    log: Path,
    *,
    started: bool,
    patience: float,
    abandoned: Callable[[], bool] = lambda: False,
    tell: Callable[[str, str], Awaitable[None]] | None = None,
) -> tuple[Ended, GateOutput]:
    """Starts ``spec`` unless it was ``started`` before, and reads it to its end.

    After a dropped link it continues where it stopped. ``patience`` is how many seconds past the gate's own
    timeout to wait; after that the result is ``Lost``. ``tell`` hears what it waits for: what that was before, and
    what it is now (empty: nothing). Raises ``DiskFull`` when ``log`` cannot be written.
    """
    with _keeping(log):
        log.parent.mkdir(parents=True, exist_ok=True)
        file = Sink(log)
    with file:
        seen, waiting = GateOutput(file, log), _Waiting(executor.machine, abandoned, tell)
        try:
            async with asyncio.timeout((spec.timeout_us + spec.grace_us) / 1_000_000 + patience):
                if not started:
                    await _start_until_confirmed(executor, spec, waiting)
                    failpoint("gate-started")
                if abandoned():  # stopped before the process started
                    await executor.stop(spec.id)
                return await _read(executor, spec, seen, waiting), seen
        except TimeoutError:
            why = f"{executor.machine} reported no end within {patience:.0f} s after the gate's timeout"
        except _Abandoned:
            why = f"{executor.machine} is unreachable, and the task was stopped"
        finally:
            await waiting.over()
        return Ended(Lost(why), None, 0, 0, contained=False, gone=False), seen


class _Abandoned(Exception):
    """The task was stopped while the machine was unreachable: stop waiting."""


@dataclass(slots=True)
class _Waiting:
    """What a run waits for at its machine."""

    machine: str
    abandoned: Callable[[], bool]
    tell: Callable[[str, str], Awaitable[None]] | None
    tries: int = 0
    full: bool = False
    said: str = ""

    async def pause(self, error: Unreachable | None = None) -> None:
        """Until the next try. A link that breaks for a moment is no news."""
        if self.abandoned():
            raise _Abandoned
        self.tries += 1
        if error is not None and self.tries >= _TRIES:
            await self.say(f"waiting for the link to {self.machine}: {error.cause or error}")
        await asyncio.sleep(_PAUSE_SECONDS)

    async def over(self) -> None:
        """It waits for nothing."""
        self.tries, self.full = 0, False
        await self.say("")

    async def say(self, why: str) -> None:
        before, self.said = self.said, why
        if self.tell is not None and before != why:
            await self.tell(before, why)


async def _start_until_confirmed(executor: Executor, spec: PipeSpec, waiting: _Waiting) -> None:
    # If the answer was lost, the start may have happened; repeating it finds the first one.
    while True:
        try:
            await executor.start(spec)
        except Unreachable as error:
            await waiting.pause(error)
        else:
            return


async def _read(executor: Executor, spec: PipeSpec, seen: GateOutput, waiting: _Waiting) -> Ended:
    while True:
        away: Unreachable | None = None
        life = executor.attach(spec.id, spec.nonce, seen.size)
        try:
            async for event in life:
                match event:
                    case Output():
                        await waiting.over()
                        seen.take(event)
                    case Pulse() if not waiting.full:
                        await waiting.over()
                    case Stalled(why):
                        waiting.full = True
                        await waiting.say(f"waiting for room on the disk of {waiting.machine}: {why}")
                    case Ended():
                        return event
        except Unreachable as error:
            away = error
        finally:
            if isinstance(life, AsyncGenerator):
                await life.aclose()
        await waiting.pause(away)
