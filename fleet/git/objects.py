"""Reads objects and refs through one ``git cat-file --batch-command`` that stays: no process a question.

What it may not do is remember what can change. Refs are looked up by git at each question, and an object that git
does not know makes it look for new packs: an answer is never older than its question. Only the bytes of objects are
kept here, and these follow from the id. A repository that was removed, made anew or configured differently gets a
new process and an empty memory.

The process is started at the first question. It ends after a minute without one, with its event loop, and when we
die, since its standard input closes then. One that dies, or is interrupted in an answer, is replaced; what it did
not answer is asked of a process of its own, whose words say what is wrong.
"""

from __future__ import annotations

import asyncio
import re
from collections import OrderedDict
from collections.abc import AsyncGenerator, AsyncIterator, Awaitable, Callable, Iterable, Sequence
from contextlib import asynccontextmanager
from copy import copy
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path
from typing import Final
from weakref import WeakKeyDictionary

from fleet.errors import Misused, Unavailable
from fleet.git.command import Git, is_object_id

#: No commit is as big as this.
COMMIT_BYTES: Final = 16 << 20
_IDLE_SECONDS: Final = 60.0
_ANSWER_SECONDS: Final = 120.0
_KEPT_BYTES: Final = 16 << 20
_KEPT_LARGEST: Final = 256 << 10
_MOST_AT_ONCE: Final = 5_000
_NAME: Final = re.compile(r"[^\s\x00-\x1f\x7f\ud800-\udfff]{1,400}")
_FOUND: Final = re.compile(rb"([0-9a-f]{40}) (blob|tree|commit|tag) ([0-9]+)\n")


class ObjectKind(StrEnum):
    """What an object is."""

    BLOB = "blob"
    TREE = "tree"
    COMMIT = "commit"
    TAG = "tag"


@dataclass(frozen=True, slots=True)
class ObjectFound:
    """An object that is there. ``data`` is empty unless it was asked for."""

    id: str
    kind: ObjectKind
    size: int
    data: bytes = b""


class _Cut(Exception):
    """The process ended, or did not answer, or said something else than an answer."""


class ObjectReader:
    """One git directory's objects and refs."""

    def __init__(self, git: Git, git_dir: Path) -> None:
        self._git, self._dir = copy(git), git_dir  # not the one that it is kept for: that would never go
        self._marks = (git_dir / "HEAD", git_dir / "config")
        self._identity: tuple[object, ...] = ()
        self._kept: OrderedDict[str, ObjectFound] = OrderedDict()
        self._kept_bytes = 0
        self._process: _Standing | None = None

    async def find(self, name: str) -> ObjectFound | None:
        """The object that a ref, or a revision such as ``ID^{tree}``, names; ``None``: there is none."""
        return (await self._ask("info", [name]))[0]

    async def known(self, names: Iterable[str]) -> list[ObjectFound]:
        """Those of these objects that are there, in the given order, each once."""
        return [found for found in await self._ask("info", list(dict.fromkeys(names))) if found is not None]

    async def read(self, ids: Iterable[str], limit: int) -> dict[str, ObjectFound]:
        """These objects with their bytes. Those that are missing, or are bigger than ``limit`` bytes, are left
        out."""
        wanted = list(dict.fromkeys(ids))
        self._look()
        found = {each: self._remembered(each) for each in wanted}
        unknown = [each for each, kept in found.items() if kept is None]
        sizes = {each.id: each.size for each in await self._ask("info", unknown) if each is not None}
        small = [each for each in unknown if sizes.get(each, limit + 1) <= limit]
        for read in await self._ask("contents", small):
            if read is not None:
                found[read.id] = read
                self._remember(read)
        return {each: read for each, read in found.items() if read is not None and read.size <= limit}

    # --- what is remembered ---------------------------------------------------------------------------

    def _look(self) -> None:
        """Forgets everything when this is not the repository that it was."""
        identity = tuple(part for path in self._marks for part in _stat(path))
        if identity != self._identity:
            self._identity = identity
            self._kept.clear()
            self._kept_bytes = 0
            if self._process is not None:
                self._process.end()
                self._process = None

    def _remembered(self, object_id: str) -> ObjectFound | None:
        if (kept := self._kept.get(object_id)) is not None:
            self._kept.move_to_end(object_id)
        return kept

    def _remember(self, found: ObjectFound) -> None:
        if found.size > _KEPT_LARGEST or found.id in self._kept:
            return
        self._kept[found.id] = found
        self._kept_bytes += found.size
        while self._kept_bytes > _KEPT_BYTES:
            self._kept_bytes -= self._kept.popitem(last=False)[1].size

    # --- asking ---------------------------------------------------------------------------------------

    async def _ask(self, verb: str, names: Sequence[str]) -> list[ObjectFound | None]:
        for name in names:
            if not _NAME.fullmatch(name):
                raise Misused(attempted="read an object", on=repr(name)[:80], cause="git could misread this name")
        found: list[ObjectFound | None] = []
        for at in range(0, len(names), _MOST_AT_ONCE):
            found += await self._ask_some(verb, names[at : at + _MOST_AT_ONCE])
        return found

    async def _ask_some(self, verb: str, names: Sequence[str]) -> list[ObjectFound | None]:
        self._look()
        questions = "".join(f"{verb} {name}\n" for name in names).encode()
        if self._process is None or not self._process.usable:
            self._process = _Standing(self._git, self._dir)
        try:
            async with self._process.answers(questions) as stream:
                return [await _answer(stream, verb) for _ in names]
        except _Cut:
            return await self._ask_once(verb, names, questions)

    async def _ask_once(self, verb: str, names: Sequence[str], questions: bytes) -> list[ObjectFound | None]:
        """Of a process of its own. Raises ``Unavailable`` with its words."""
        attempted, on = "read objects", str(self._dir)
        ended = await self._git.run(
            "cat-file", "--batch-command",
            attempted=attempted, on=on, git_dir=self._dir, stdin=questions, limit=1 << 30,
        )  # fmt: skip
        stream = asyncio.StreamReader()
        stream.feed_data(ended.out)
        stream.feed_eof()
        try:
            return [await _answer(stream, verb) for _ in names]
        except _Cut as error:
            raise Unavailable(attempted=attempted, on=on, cause=ended.err or "git did not answer") from error


async def _answer(stream: asyncio.StreamReader, verb: str) -> ObjectFound | None:
    """One answer: ``ID KIND SIZE``, with ``contents`` the bytes after it. Anything else on a line is no object."""
    try:
        line = await stream.readuntil(b"\n")
        if (found := _FOUND.fullmatch(line)) is None:
            return None
        size = int(found[3])
        data = (await stream.readexactly(size + 1))[:-1] if verb == "contents" else b""
    except (asyncio.IncompleteReadError, asyncio.LimitOverrunError, OSError) as error:
        raise _Cut from error
    return ObjectFound(found[1].decode(), ObjectKind(found[2].decode()), size, data)


class _Standing:
    """One ``git cat-file`` of one event loop. Once it was ended it is not used again."""

    def __init__(self, git: Git, git_dir: Path) -> None:
        self._git, self._dir = git, git_dir
        self._loop = asyncio.get_running_loop()
        self._turn = asyncio.Lock()
        self._ended = False
        self._process: asyncio.subprocess.Process | None = None
        self._transport: asyncio.SubprocessTransport | None = None
        self._idle: asyncio.TimerHandle | None = None
        self._life: AsyncGenerator[None, None] | None = None

    @property
    def usable(self) -> bool:
        running = self._process is None or self._process.returncode is None
        return running and not self._ended and self._loop is asyncio.get_running_loop()

    @asynccontextmanager
    async def answers(self, questions: bytes) -> AsyncIterator[asyncio.StreamReader]:
        """Asks, and gives the stream of answers to read: all of them. Raises ``_Cut``.

        An answer that is not read to its end, for whatever reason, ends the process: the rest of it would be taken
        for the next one's.
        """
        async with self._turn:
            whole = False
            try:
                async with asyncio.timeout(_ANSWER_SECONDS):
                    process = await self._started()
                    assert process.stdin is not None and process.stdout is not None
                    process.stdin.write(questions)
                    yield process.stdout
                whole = True
            except (TimeoutError, OSError) as error:
                raise _Cut from error
            finally:
                if whole:
                    self._rest()
                else:
                    self.end()

    async def _started(self) -> asyncio.subprocess.Process:
        if self._ended:
            raise _Cut
        if self._idle is not None:
            self._idle.cancel()
        if self._process is None:
            self._transport, protocol = await self._loop.subprocess_exec(
                lambda: asyncio.subprocess.SubprocessStreamProtocol(limit=1 << 20, loop=self._loop),
                *self._git.command, "cat-file", "--batch-command",
                env={**self._git.env, "GIT_DIR": str(self._dir.absolute())},
                stdin=asyncio.subprocess.PIPE, stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.DEVNULL,
                start_new_session=True,
            )  # fmt: skip
            self._process = asyncio.subprocess.Process(self._transport, protocol, self._loop)
            self._life = _until_the_loop_ends(self.end, self._process.wait)
            await anext(self._life)
        return self._process

    def _rest(self) -> None:
        self._idle = self._loop.call_later(_IDLE_SECONDS, self.end)

    def end(self) -> None:
        """Ends the process, at once."""
        self._ended = True
        if self._idle is not None:
            self._idle.cancel()
        if self._transport is not None and not self._loop.is_closed():
            self._transport.close()


async def _until_the_loop_ends(
    end: Callable[[], None], wait: Callable[[], Awaitable[int]]
) -> AsyncGenerator[None, None]:
    """An event loop that ends closes its generators: the only word that it gives."""
    try:
        yield
    finally:
        end()
        await wait()


def _stat(path: Path) -> tuple[int, ...]:
    """What changes when a file is replaced by another one, or written anew."""
    try:
        found = path.stat()
    except OSError:
        return ()
    return found.st_dev, found.st_ino, found.st_ctime_ns


_readers: WeakKeyDictionary[Git, dict[Path, ObjectReader]] = WeakKeyDictionary()


def reader(git: Git, git_dir: Path) -> ObjectReader:
    """The reader of a git directory, one for each."""
    of_git = _readers.setdefault(git, {})
    if git_dir not in of_git:
        of_git[git_dir] = ObjectReader(git, git_dir)
    return of_git[git_dir]


# --- what is in the bytes -------------------------------------------------------------------------------


def header(commit: bytes, name: str) -> list[str]:
    """The ids under ``tree`` or ``parent`` in a commit's header."""
    lines = commit.partition(b"\n\n")[0].split(b"\n")
    ids = (
        line.partition(b" ")[2].decode("ascii", "replace")
        for line in lines
        if line.startswith(name.encode() + b" ")
    )
    return [each for each in ids if is_object_id(each)]
