"""The only place that writes the controller's own files, so that a test can make each write fail.

What a person reads or edits is replaced in one step. What streams in goes through :class:`Sink`. ``tests/walls.py``
finds every other write.
"""

from __future__ import annotations

import contextlib
import errno
import os
import shutil
import stat
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from io import FileIO
from pathlib import Path
from types import TracebackType

from fleet.errors import DiskFull, Misused, Unavailable
from fleet.faults import Point, fault


class Sink:
    """A new, empty file that takes bytes as they come. Only its owner can read it."""

    def __init__(self, path: Path) -> None:
        self._file = FileIO(str(path), "wb", opener=_private)

    def write(self, data: bytes | bytearray | memoryview) -> None:
        """Writes all of ``data``."""
        fault(Point.FILE_WRITE)
        rest = memoryview(data)
        while rest:
            rest = rest[self._file.write(rest) :]

    def fileno(self) -> int:
        """The descriptor, for a program that writes there itself."""
        return self._file.fileno()

    def close(self) -> None:
        self._file.close()

    def __enter__(self) -> Sink:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()


def replace(path: Path, data: bytes, *, mode: int = 0o600) -> None:
    """Replaces ``path`` by ``data``: a reader sees the old file or the new one, never half of one."""
    _replace(path, data, mode, durable=False)


def replace_durably(path: Path, data: bytes, *, mode: int = 0o600) -> None:
    """The same, and a power cut after it changes nothing."""
    _replace(path, data, mode, durable=True)


def create_durably(path: Path, data: bytes) -> None:
    """Makes a file that only its owner can read, and that a power cut leaves there; one that is there stays as it
    is. Of those who make it at once, one wins."""
    handle, name = tempfile.mkstemp(dir=path.parent, prefix=f"{path.name}.", suffix=".new")
    os.close(handle)
    fresh = Path(name)
    try:
        replace_durably(fresh, data)
        with contextlib.suppress(FileExistsError):
            os.link(fresh, path)
        _sync_directory(path.parent)
    finally:
        fresh.unlink()


def replace_in_order(steps: Sequence[Mapping[Path, bytes]], *, mode: int = 0o600) -> None:
    """Replaces files, those of a step once all before it are there to stay: a power cut leaves none of a step
    without them. One that has these bytes already is not written again.

    All are written before the first is synced, and a step is one sync of each directory: a sync of each file and
    directory in turn takes many times as long.
    """
    wanted = {path: data for step in steps for path, data in step.items() if not _has(path, data)}
    written: dict[Path, tuple[Path, int]] = {}
    try:
        for path, data in wanted.items():
            handle, name = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.")
            written[path] = Path(name), handle
            fault(Point.FILE_WRITE)
            with os.fdopen(handle, "wb", closefd=False) as file:
                file.write(data)
            os.fchmod(handle, mode)
        for _, handle in written.values():
            os.fsync(handle)
        for step in steps:
            for path in step.keys() & written.keys():
                written[path][0].replace(path)
            for folder in {path.parent for path in step}:
                _sync_directory(folder)
    finally:
        for partial, handle in written.values():
            os.close(handle)
            partial.unlink(missing_ok=True)


def copy_durably(source: Path, target: Path, *, mode: int) -> None:
    """Copies a file of any size: a reader finds all of it or none, also after a power cut."""
    handle, name = tempfile.mkstemp(dir=target.parent, prefix=f".{target.name[:20]}.")
    partial = Path(name)
    try:
        with source.open("rb") as read, os.fdopen(handle, "wb") as file:
            fault(Point.FILE_WRITE)
            shutil.copyfileobj(read, file, 1 << 20)
            os.fchmod(file.fileno(), mode)
            file.flush()
            os.fsync(file.fileno())
        partial.replace(target)
    except BaseException:
        partial.unlink(missing_ok=True)
        raise
    _sync_directory(target.parent)


def content(path: Path) -> bytes:
    """What is in a file that somebody else made. Raises ``OSError``, and ``Misused`` as :func:`demand_file`."""
    demand_file(path)
    return path.read_bytes()


def demand_file(path: Path) -> None:
    """Raises ``Misused`` for a named pipe, a socket or a device: whoever reads it may wait for ever."""
    with contextlib.suppress(OSError):
        mode = path.stat().st_mode
        if not stat.S_ISREG(mode) and not stat.S_ISDIR(mode):
            raise Misused(
                attempted="read a file",
                on=str(path),
                cause="it is a named pipe, a socket or a device",
                hint="Put an ordinary file there.",
            )


def move(path: Path, target: Path) -> None:
    """Renames a file or a directory, within one file system."""
    fault(Point.FILE_WRITE)
    path.rename(target)


def lock_file(path: Path) -> int:
    """A descriptor of a file to lock, which is made if it is missing."""
    return os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)


@contextlib.contextmanager
def scratch(directory: Path, prefix: str) -> Iterator[Path]:
    """An empty file that goes when the block ends. Raises as :func:`writing` does."""
    with writing("make a temporary file", directory):
        fault(Point.FILE_WRITE)
        handle, name = tempfile.mkstemp(prefix=prefix, dir=directory)
    os.close(handle)
    try:
        yield Path(name)
    finally:
        with contextlib.suppress(FileNotFoundError):
            os.unlink(name)  # noqa: PTH108 - one local call; a thread for it costs more


def room_with_pipe(prefix: str, folder: str, pipe: str) -> tuple[Path, int]:
    """A temporary directory that only we can read, with an empty folder in it and a named pipe; and a descriptor by
    which we hold that open for writing. Raises as :func:`writing` does."""
    with writing("make a temporary directory", Path(tempfile.gettempdir())):
        fault(Point.FILE_WRITE)
        room = Path(tempfile.mkdtemp(prefix=f"{prefix}{os.getpid()}-"))
        try:
            (room / folder).mkdir()
            os.mkfifo(room / pipe, 0o600)
            # For both, or this would wait for a reader.
            return room, os.open(room / pipe, os.O_RDWR | os.O_NONBLOCK | os.O_CLOEXEC)
        except BaseException:
            shutil.rmtree(room, ignore_errors=True)
            raise


def remove_dead_rooms(prefix: str, pipe: str) -> None:
    """Removes the directories of :func:`room_with_pipe` whose processes have ended without doing so, once nobody
    waits for their pipes any more."""
    for room in Path(tempfile.gettempdir()).glob(f"{prefix}*"):
        if not _lives(room.name.removeprefix(prefix).partition("-")[0]):
            with contextlib.suppress(OSError):
                os.close(os.open(room / pipe, os.O_RDWR | os.O_NONBLOCK | os.O_CLOEXEC))
            shutil.rmtree(room, ignore_errors=True)


def _lives(pid: str) -> bool:
    try:
        os.kill(int(pid), 0)
    except (ValueError, OverflowError, ProcessLookupError):
        return False
    except PermissionError:
        return True
    return True


@contextlib.contextmanager
def writing(attempted: str, path: Path, *, hint: str = "") -> Iterator[None]:
    """Raises ``DiskFull`` where the disk is full, and ``Unavailable`` where a file cannot be written otherwise."""
    try:
        yield
    except OSError as error:
        full = error.errno in (errno.ENOSPC, errno.EDQUOT)
        remedy = "Free some disk space on the controller." if full else hint or "Check who owns the directory."
        raise (DiskFull if full else Unavailable)(
            attempted=attempted,
            on=str(path),
            cause=error.strerror or str(error),
            hint=remedy,
        ) from error


def _replace(path: Path, data: bytes, mode: int, *, durable: bool) -> None:
    handle, name = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.")
    partial = Path(name)
    try:
        with os.fdopen(handle, "wb") as file:
            fault(Point.FILE_WRITE)
            file.write(data)
            os.fchmod(file.fileno(), mode)
            if durable:
                file.flush()
                os.fsync(file.fileno())
        partial.replace(path)
    except BaseException:
        partial.unlink(missing_ok=True)
        raise
    if durable:
        _sync_directory(path.parent)


def _has(path: Path, data: bytes) -> bool:
    with contextlib.suppress(OSError):
        return path.read_bytes() == data
    return False


def _sync_directory(path: Path) -> None:
    directory = os.open(path, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(directory)
    finally:
        os.close(directory)


def _private(path: str, flags: int) -> int:
    return os.open(path, flags, 0o600)
