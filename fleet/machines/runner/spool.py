"""A process's output on its way to a file, and its input on its way from one.

Where a run has no walls, it can write to both files. What really passed is counted and hashed here, for the record.
"""

from __future__ import annotations

import os

from .files import CHUNK, read_path

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Callable

    from .files import Json


class PassedBytes:
    """Counts and hashes bytes that passed."""

    def __init__(self) -> None:
        import hashlib  # the process is running by now

        self.bytes = 0
        self.hash = hashlib.sha256()

    def add(self, data: bytes) -> None:
        self.bytes += len(data)
        self.hash.update(data)

    def told(self) -> Json:
        return {"bytes": self.bytes, "sha256": self.hash.hexdigest()}


class Spool:
    """One output stream on its way to a file; keeps what the disk did not take."""

    def __init__(self, source: int, path: str) -> None:
        self.source = source
        self.passed = PassedBytes()
        os.set_blocking(source, False)
        self.file = os.open(path, os.O_WRONLY | os.O_APPEND)
        self.pending = b""
        self.retry_at = 0.0
        self.backoff = 0.05
        self.stalled = ""
        self.ended = False  # nothing more to read; pending bytes may still be unwritten

    def step(self, now: float) -> None:
        """Reads once and writes it. Holds at most one chunk."""
        if not self.pending and not self.ended:
            try:
                self.pending = os.read(self.source, CHUNK)
                self.ended = not self.pending
            except BlockingIOError:
                return
            except OSError:
                self.ended = True
        try:
            while self.pending:
                count = os.write(self.file, self.pending)
                self.passed.add(self.pending[:count])
                self.pending = self.pending[count:]
            self.stalled, self.backoff = "", 0.05
        except OSError as error:
            self.stalled = error.strerror or str(error)
            self.retry_at, self.backoff = now + self.backoff, min(1.0, self.backoff * 2)

    def size(self) -> int:
        return os.fstat(self.file).st_size

    def close(self) -> None:
        os.close(self.source)
        os.close(self.file)


class Feed:
    """The process's input, from a file that the controller appends to. ``stdin`` is -1 once closed."""

    def __init__(self, stdin: int, path: str, end: str) -> None:
        os.set_blocking(stdin, False)
        self.stdin, self.end = stdin, end
        self.file = os.open(path, os.O_RDONLY)
        self.pending = b""
        self.passed = PassedBytes()

    @property
    def accepted(self) -> int:
        return self.passed.bytes

    def step(self, write_status: Callable[[], None]) -> None:
        """Writes what the process accepts, and calls ``write_status`` after each piece."""
        try:
            while self.stdin >= 0:
                if not self.pending:
                    self.pending = os.pread(self.file, CHUNK, self.accepted)
                if not self.pending:
                    end = read_path(self.end)
                    if end and end.isdigit() and self.accepted >= int(end):
                        self.close()
                    return
                count = os.write(self.stdin, self.pending)
                self.passed.add(self.pending[:count])
                self.pending = self.pending[count:]
                write_status()
        except BlockingIOError:
            return
        except OSError:
            self.close()

    def close(self) -> None:
        """Closes the process's input."""
        if self.stdin >= 0:
            os.close(self.stdin)
            os.close(self.file)
        self.stdin, self.pending = -1, b""
