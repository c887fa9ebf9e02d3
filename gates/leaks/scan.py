"""Kingfisher's process. It takes a third of a second to load its rules, so it may do that before there is a text.

It searches a directory, into which the text is put. Before it looks there, it reads a list of accounts to leave
out: a pipe of ours, empty, that ends once the text is there. Its report must say that it read all of it.
"""

from __future__ import annotations

import asyncio
import os
import shutil
from asyncio.subprocess import PIPE, Process
from contextlib import suppress
from functools import cache
from pathlib import Path
from typing import Final

import msgspec
from msgspec import Struct

from fleet import files, processes
from fleet.errors import AirbossError, Unavailable
from fleet.supervise import OwnedTasks, own

_ARGV: Final = (
    *("--format", "jsonl", "--jobs", "1", "--quiet"),
    *("--no-validate", "--no-update-check", "--no-extract-archives", "--no-dedup"),
    *("--no-ignore", "--no-ignore-if-contains"),
)
_ENDED: Final = (0, 200)  # without finds, with finds
_SECONDS: Final = 300.0
_KEPT_SECONDS: Final = 60.0
_QUICK_SECONDS: Final = 15.0
_PREFIX: Final = "airboss-search-"
_PIPE: Final = "none"
_ENVIRONMENT: Final = ("HOME", "PATH", "XDG_CACHE_HOME")


class _Stats(Struct, frozen=True):
    blobs_scanned: int = 0
    bytes_scanned: int = 0


class _Input(Struct):
    stats: _Stats = _Stats()


class _Audit(Struct):
    repositories: list[_Input] = []


class _Audited(Struct):
    audit: _Audit | None = None


_DECODER = msgspec.json.Decoder(_Audited)


class SecretSearch:
    """One process, for one text."""

    def __init__(self, process: Process, room: Path, gate: int) -> None:
        self._process, self._room, self._gate = process, room, gate

    @classmethod
    async def begin(cls) -> SecretSearch:
        """Starts it. Raises ``Unavailable`` or ``DiskFull``."""
        try:
            import kingfisher

            program = kingfisher.get_binary_path()
        except (ImportError, OSError) as error:
            raise _unavailable(str(error)) from error
        _tidy()
        room, gate = files.room_with_pipe(_PREFIX, "in", _PIPE)
        kept = {name: os.environ[name] for name in _ENVIRONMENT if name in os.environ}
        kept["TMPDIR"] = str(room)  # what it puts there stays when it is ended
        argv = (program, "scan", str(room / "in"), "--skip-aws-account-file", str(room / _PIPE), *_ARGV)
        try:
            process = await processes.start(*argv, stdout=PIPE, stderr=PIPE, env=kept)
        except BaseException as error:
            _remove(room, gate)
            if isinstance(error, OSError):
                raise _unavailable(str(error)) from error
            raise
        return cls(process, room, gate)

    async def of(self, data: bytes) -> bytes:
        """The lines of its report on this text. Raises ``Unavailable`` when it cannot be searched, ``DiskFull``."""
        process = self._process
        try:
            await asyncio.to_thread(self._put, data)
            self._let_go()
            async with asyncio.timeout(_SECONDS):
                out, said = await process.communicate()
        except TimeoutError as error:
            raise _unavailable(f"no answer in {_SECONDS:.0f} s") from error
        finally:
            await self.end()
        if process.returncode not in _ENDED:
            words = said[-300:].decode("utf-8", "replace").strip()
            raise _unavailable(f"exit status {process.returncode}: {words}")
        read = [each.stats for row in out.splitlines() for each in _inputs(row)]
        if [(each.blobs_scanned, each.bytes_scanned) for each in read] != [(1, len(data))]:
            raise _unavailable(f"of {len(data)} bytes it read {sum(each.bytes_scanned for each in read)}")
        return out

    async def end(self) -> None:
        """Ends it, and removes what it was given. Safe to call twice."""
        try:
            if self._process.returncode is None:
                await asyncio.shield(processes.end(self._process))
        finally:
            self._let_go()
            _remove(self._room, self._gate)

    def _put(self, data: bytes) -> None:
        attempted = "search the change for secrets"
        with files.writing(attempted, self._room), files.Sink(self._room / "in" / "text") as text:
            text.write(data)
            files.replace(self._room / _PIPE, b"")  # it may not have come to the pipe yet

    def _let_go(self) -> None:
        if self._gate >= 0:
            os.close(self._gate)
        self._gate = -1


class SecretSearches:
    """Gives a process for each text; one may stand ready for the next."""

    def __init__(self) -> None:
        self._ready: asyncio.Task[SecretSearch] | None = None
        self._tasks = OwnedTasks()
        self._quick: set[str] = set()  # agents that were done soon after their last session began

    def session_began(self, agent: str) -> None:
        """Prepares for an agent that is usually quick: the process has its rules by the time that it is done.
        Beside one that works for long it would end again without a text."""
        if agent in self._quick:
            self.prepare()

    def session_took(self, agent: str, seconds: float) -> None:
        """So long it was from the session's begin to the end of a turn; ``inf``: it did not complete it."""
        if seconds < _QUICK_SECONDS:
            self._quick.add(agent)
        else:
            self._quick.discard(agent)

    def prepare(self) -> None:
        """There will soon be a text: a process loads its rules, and waits a minute for it."""
        if self._ready is None:
            self._ready = ready = own(SecretSearch.begin(), "load the rules for secrets")
            asyncio.get_running_loop().call_later(_KEPT_SECONDS, self._expire, ready)

    async def of(self, data: bytes) -> bytes:
        """As :meth:`SecretSearch.of`, by the process that stands ready, or by a new one."""
        if (ready := await self._taken()) is not None:
            with suppress(Unavailable):  # if it died meanwhile, another does it; otherwise that one says the same
                return await ready.of(data)
        return await (await SecretSearch.begin()).of(data)

    async def close(self) -> None:
        """Ends what stands ready."""
        await self._tasks.end()
        await self._put_away()

    def _expire(self, ready: asyncio.Task[SecretSearch]) -> None:
        if self._ready is ready:
            self._tasks.begin(self._put_away(), "end what stands ready to search")

    async def _put_away(self) -> None:
        if (ready := await self._taken()) is not None:
            await ready.end()

    async def _taken(self) -> SecretSearch | None:
        ready, self._ready = self._ready, None
        if ready is not None:
            with suppress(AirbossError):
                return await ready
        return None


@cache
def _tidy() -> None:
    """Once: a controller that was killed left its room."""
    files.remove_dead_rooms(_PREFIX, _PIPE)


def _inputs(row: bytes) -> list[_Input]:
    audit = _DECODER.decode(row).audit
    return [] if audit is None else audit.repositories


def _remove(room: Path, gate: int) -> None:
    if gate >= 0:
        os.close(gate)
    shutil.rmtree(room, ignore_errors=True)


def _unavailable(cause: str) -> Unavailable:
    return Unavailable(
        attempted="search the change for secrets",
        on="kingfisher",
        cause=cause,
        hint="Run make install again: it comes with the package kingfisher-bin.",
    )
